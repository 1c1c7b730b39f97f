/**
 * A decision in the making: the rollout as it will be, and the journal of how it got there. Lives for one call of the
 * engine; what it was made from is never touched.
 */
import type { HostTrack, JournalEntry, Rollout, Stage } from "../model/rollout.ts";
import { Evidence } from "./evidence.ts";
import type { Context } from "./types.ts";
import { stageName } from "./words.ts";

export class Draft {
  readonly before: Rollout;
  readonly context: Context;
  readonly evidence: Evidence;
  readonly #journal: JournalEntry[] = [];
  readonly #index: Map<string, number>;
  #hosts: HostTrack[] | null = null;
  #rollout: Rollout;
  #moved = false;
  /** What was last answered about all hosts, by question. */
  readonly #answers = new Map<(draft: Draft) => unknown, unknown>();

  constructor(rollout: Rollout, context: Context) {
    this.before = rollout;
    this.context = context;
    this.evidence = new Evidence(rollout, context);
    this.#rollout = rollout;
    this.#index = new Map(rollout.hosts.map((track, at) => [track.host, at]));
  }

  get rollout(): Rollout {
    return this.#rollout;
  }

  get journal(): readonly JournalEntry[] {
    return this.#journal;
  }

  get changed(): boolean {
    return this.#rollout !== this.before;
  }

  /** Something changed that a decision may stand on: more than what hosts are said to wait for. */
  get moved(): boolean {
    return this.#moved;
  }

  /**
   * What a question about all hosts has for an answer, kept until something of the rollout changes but words: asked anew
   * for each of a thousand waiting hosts, it would cost a million looks.
   */
  ofAll<T>(question: (draft: Draft) => T): T {
    if (!this.#answers.has(question)) this.#answers.set(question, question(this));
    return this.#answers.get(question) as T;
  }

  set(patch: Partial<Omit<Rollout, "change" | "hosts" | "stage">>): void {
    this.#move();
    this.#rollout = { ...this.#rollout, ...patch };
  }

  /** Keeps the object when the track stays as it is, so that "nothing changed" can be seen. */
  track(host: string, patch: Partial<HostTrack>): void {
    const at = this.#index.get(host);
    const track = at === undefined ? undefined : this.#rollout.hosts[at];
    if (at === undefined || track === undefined || !differs(track, patch)) return;
    if (Object.keys(patch).some((key) => key !== "waitingFor")) this.#move();
    this.#own()[at] = { ...track, ...patch };
  }

  add(tracks: readonly HostTrack[]): void {
    if (tracks.length === 0) return;
    this.#move();
    const hosts = this.#own();
    for (const track of tracks) this.#index.set(track.host, hosts.push(track) - 1);
  }

  /** The draft's own list of tracks: copied once, or a step over a thousand hosts would copy it a thousand times. */
  #own(): HostTrack[] {
    if (this.#hosts === null) {
      this.#hosts = [...this.#rollout.hosts];
      this.#rollout = { ...this.#rollout, hosts: this.#hosts };
    }
    return this.#hosts;
  }

  stage(stage: Stage): void {
    if (JSON.stringify(stage) === JSON.stringify(this.#rollout.stage)) return;
    this.#move();
    this.#rollout = { ...this.#rollout, stage };
  }

  /** Something moved forward: the progress deadline counts anew. */
  progress(): void {
    this.set({ progressAtMs: this.context.now });
  }

  note(reason: string, message: string, actor = "engine"): void {
    this.#move();
    const change = this.before.change + this.#journal.length + 1;
    this.#journal.push({
      rollout: this.before.id,
      change,
      atMs: this.context.now,
      epoch: this.context.epoch,
      actor,
      stage: stageName(this.#rollout.stage),
      reason,
      message,
    });
    this.#rollout = { ...this.#rollout, change };
  }

  #move(): void {
    this.#moved = true;
    this.#answers.clear();
  }

  /** The rollout with its change counted; the very object that came in when nothing changed. */
  seal(): Rollout {
    if (this.changed && this.#rollout.change === this.before.change) {
      this.#rollout = { ...this.#rollout, change: this.before.change + 1 };
    }
    return this.#rollout;
  }
}

function differs(track: HostTrack, patch: Partial<HostTrack>): boolean {
  return (Object.keys(patch) as (keyof HostTrack)[]).some((key) => patch[key] !== track[key]);
}
