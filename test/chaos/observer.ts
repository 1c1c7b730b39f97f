/** Looks at the cluster all the time, and has each look judged: invariants from outside, epochs from the logs. */
import { setTimeout as wait } from "node:timers/promises";
import type { Commander } from "./commands.ts";
import { maxOut, SERVICE } from "./documents.ts";
import { Epochs } from "./epochs.ts";
import { Invariants } from "./invariants.ts";
import type { Judgements } from "./invariants.ts";
import type { Journal } from "./journal.ts";
import type { Seen } from "./losses.ts";
import type { Strikes } from "./strikes.ts";
import type { Topology } from "./topology.ts";
import { look } from "./watch.ts";
import type { Look } from "./watch.ts";

const LOOK_MS = 300;
/** A gateway may do what it was asked so long after the rollout was last seen to move. */
const LATE_MS = 15_000;

export interface Watched {
  readonly topology: Topology;
  readonly commander: Commander;
  readonly strikes: Strikes;
  readonly journal: Journal;
}

export class Observer {
  readonly #topology: Topology;
  readonly #commander: Commander;
  readonly #strikes: Strikes;
  readonly #journal: Journal;
  readonly #broken: (sentence: string) => void;
  readonly #epochs: Epochs;
  readonly #invariants: Invariants;
  /** Versions that rollouts were seen to go to, and when last. */
  readonly #moving = new Map<string, number>();
  readonly #seen: Seen[] = [];
  #last: Look | undefined;
  #stopping = false;
  #running: Promise<void> = Promise.resolve();

  constructor({ topology, commander, strikes, journal }: Watched, broken: (sentence: string) => void) {
    this.#topology = topology;
    this.#commander = commander;
    this.#strikes = strikes;
    this.#journal = journal;
    this.#broken = broken;
    const logs = (parts: Topology["agents"]): { readonly name: string; readonly logFile: string }[] =>
      parts.map(({ name, spec }) => ({ name, logFile: spec.logFile }));
    this.#invariants = new Invariants(topology.agents.map(({ name }) => name));
    this.#epochs = new Epochs(logs(topology.agents), logs(topology.controllers));
  }

  get judgements(): Judgements & { readonly looks: number; readonly applied: number; readonly epochs: number } {
    const { seen: applied, epochs } = this.#epochs;
    return { looks: this.#seen.length, ...this.#invariants.judgements, applied, epochs: epochs.size };
  }

  /** What was seen, oldest first. */
  since(ms: number): readonly Seen[] {
    return this.#seen.filter(({ atMs }) => atMs >= ms);
  }

  /** Resolves after the first look. */
  async start(): Promise<void> {
    await this.#look();
    this.#running = this.#loop();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
    for (const sentence of this.#epochs.look()) this.#broken(sentence);
    if (this.#epochs.seen === 0) this.#broken("no agent's log told of an assignment: nothing was judged by it");
    if (this.#epochs.epochs.size === 0) this.#broken("no controller's log told of its epoch: nothing was judged by it");
  }

  async #loop(): Promise<void> {
    while (!this.#stopping) {
      await wait(LOOK_MS);
      await this.#look();
    }
  }

  async #look(): Promise<void> {
    const now = await look(this.#topology);
    const { said } = this.#commander;
    const around = { strikes: this.#strikes.all, maxOut: this.#maxOut(now), said };
    const { atMs, serves, routed } = now;
    this.#seen.push({ atMs, serves, routed, maxOut: around.maxOut });
    const broken = this.#invariants.judge(now, around);
    if (broken.length > 0) this.#journal.say("judged-by", { before: plainly(this.#last), now: plainly(now) });
    this.#last = now;
    for (const sentence of [...broken, ...this.#epochs.look()]) this.#broken(sentence);
  }

  /** By the strategies of the rollouts that move; an undo goes by that of the version which it goes back to. */
  #maxOut({ rollouts, atMs }: Look): number {
    for (const view of rollouts ?? []) {
      if (view.service === SERVICE && !view.ended) this.#moving.set(view.toVersion, atMs);
    }
    const recent = [...this.#moving].filter(([, seenAtMs]) => atMs - seenAtMs < LATE_MS).map(([version]) => version);
    const played = recent.flatMap((version) => this.#commander.deploymentOf(version) ?? []);
    return Math.max(0, ...[...played, ...this.#commander.deployments].map(maxOut));
  }
}

const plainly = (look: Look | undefined): unknown =>
  look === undefined
    ? null
    : { ...look, serves: Object.fromEntries(look.serves), routed: Object.fromEntries(look.routed) };
