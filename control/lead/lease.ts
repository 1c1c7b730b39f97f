/**
 * Who of several controllers leads: a lease, kept in one register that is only written by compare-and-set.
 *
 *   watching ──(free, or unchanged for takeOverMs)──→ taking ──→ leading ──(standDownMs without a write)──→ watching
 *
 * The leader writes it each `renewMs` and stands down by its own clock before anyone else may take it to be gone:
 * standDownMs counts from when a write that went through was *begun*, takeOverMs from when the lease was last *seen* to
 * change. Both run on monotonic clocks; no two clocks are compared. A leader that is stopped and comes back late finds
 * that its time is over at its first turn; what it still tries to store is fenced off by the epoch (store.ts).
 *
 * Silence of the register proves nothing: while it can't be read, nobody takes the lease.
 *
 * Errors  none thrown: trouble is told in one sentence, and all is tried again for ever.
 */
import { LEAD } from "../../proto/contract/nats.ts";
import { sleep } from "../../proto/kernel/clock.ts";
import type { Clock, Millis, Timer } from "../../proto/kernel/clock.ts";
import type { Random } from "../../proto/kernel/random.ts";

export interface Holder {
  /** The controller's name, "" for nobody: it was given back. */
  readonly id: string;
  /** Of one life of that controller. */
  readonly incarnation: string;
}

export interface Held {
  readonly holder: Holder;
  /** Another one with each write; 0 when nothing was ever written. */
  readonly revision: number;
}

/** One value in a store that several controllers reach. All reject when there is no answer in time. */
export interface LeaseRegister {
  read(): Promise<Held>;
  /** Answers the new revision, null when the register has moved on from `expected`. Without an answer it may be written or not. */
  write(holder: Holder, expected: number): Promise<number | null>;
}

export interface LeaseNews {
  /** It is ours. */
  won(): void;
  /** It is no longer ours; called once for each `won`. */
  lost(why: string): void;
  /** Who leads, as far as is seen; "" when nobody does. */
  leader(id: string): void;
  /** The register can't be reached; "" when it can again. */
  trouble(why: string): void;
}

export type LeaseTimes = Pick<typeof LEAD, "renewMs" | "standDownMs" | "takeOverMs" | "lookMs">;

export interface LeaseOptions {
  readonly register: LeaseRegister;
  readonly me: Holder;
  readonly clock: Clock;
  readonly random: Random;
  readonly news: LeaseNews;
  readonly times?: LeaseTimes;
}

interface Seen {
  readonly held: Held;
  /** Monotonic: since when it has been seen without a change, look by look. */
  readonly since: Millis;
  readonly lookedAt: Millis;
}

/** Looks further apart than this prove nothing of the time between. */
const LOOKS_MISSED = 4;
/** Whoever resigned lets others have it first. */
const RESIGNED_MS = 2_000;

type Phase =
  | { readonly kind: "watching"; readonly seen: Seen | null }
  | { readonly kind: "leading"; readonly revision: number; readonly deadline: Timer }
  | { readonly kind: "stopped" };

export class Lease {
  readonly #o: LeaseOptions;
  readonly #times: LeaseTimes;
  readonly #ending = new AbortController();
  #phase: Phase = { kind: "watching", seen: null };
  /** Monotonic: not to be taken before. */
  #notBefore: Millis = 0;
  #wake = new AbortController();
  #overdue = false;
  /** Another living controller has our name. */
  #shared = false;
  #running: Promise<void> | undefined;

  constructor(options: LeaseOptions) {
    this.#o = options;
    this.#times = options.times ?? LEAD;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  get leading(): boolean {
    return this.#phase.kind === "leading";
  }

  /** Gives it back: what it stood for can't be done here at the moment. Others are let go first. */
  async resign(why: string): Promise<void> {
    const { clock } = this.#o;
    this.#notBefore = clock.monotonic() + RESIGNED_MS;
    const phase = this.#phase;
    if (phase.kind !== "leading") return;
    this.#stepDown(why);
    await this.#free(phase.revision);
  }

  /** Gives it back and ends; idempotent. */
  async stop(): Promise<void> {
    this.#ending.abort();
    this.#wake.abort();
    const phase = this.#phase;
    if (phase.kind === "leading") phase.deadline.cancel();
    this.#phase = { kind: "stopped" };
    await this.#running;
    if (phase.kind === "leading") await this.#free(phase.revision);
  }

  async #run(): Promise<void> {
    const { clock } = this.#o;
    while (!this.#ending.signal.aborted) {
      const phase = this.#phase;
      if (phase.kind === "leading") await this.#renew(phase);
      else if (phase.kind === "watching") await this.#look();
      this.#wake = new AbortController();
      // A renewal that failed is tried again well before the lease runs out.
      const soon = this.#times.lookMs * (0.75 + this.#o.random.next() / 2);
      const pause = this.leading && !this.#overdue ? this.#times.renewMs : soon;
      await sleep(clock, pause, AbortSignal.any([this.#ending.signal, this.#wake.signal]));
    }
  }

  async #look(): Promise<void> {
    const { register, clock, news, me } = this.#o;
    const began = clock.monotonic();
    let held: Held;
    try {
      held = await register.read();
    } catch (error) {
      if (this.#phase.kind === "watching") this.#phase = { kind: "watching", seen: null };
      this.#news(() => news.trouble(`the lease can't be read: ${(error as Error).message}`));
      return;
    }
    if (this.#phase.kind !== "watching") return;
    const before = this.#phase.seen;
    const seen = this.#saw(held, began);
    this.#phase = { kind: "watching", seen };
    news.trouble(this.#namesake(before, seen));
    const free = held.holder.id === "" || held.revision === 0;
    // A life of this very process that is not this lease's can only be one that we gave up without an answer.
    const ours = held.holder.incarnation === me.incarnation;
    news.leader(free ? "" : held.holder.id);
    const gone = clock.monotonic() - seen.since >= this.#times.takeOverMs;
    if (clock.monotonic() < this.#notBefore) return;
    if (free || gone || ours) await this.#take(held.revision);
  }

  /** A life of ours before this one writes no more. */
  #namesake(before: Seen | null, { held: { holder, revision } }: Seen): string {
    const { me } = this.#o;
    const renewed = before?.held.holder.incarnation === holder.incarnation && before.held.revision !== revision;
    const another = holder.id === me.id && holder.incarnation !== me.incarnation;
    this.#shared = another && (renewed || this.#shared);
    return this.#shared ? `another controller is called ${me.id} too, and leads: give each a --name of its own` : "";
  }

  #saw(held: Held, began: Millis): Seen {
    const { clock } = this.#o;
    const before = this.#phase.kind === "watching" ? this.#phase.seen : null;
    const now = clock.monotonic();
    const unbroken = before !== null && began - before.lookedAt <= LOOKS_MISSED * this.#times.lookMs;
    const same = unbroken && before.held.revision === held.revision;
    return { held, since: same ? before.since : now, lookedAt: now };
  }

  async #take(expected: number): Promise<void> {
    const { register, clock, news, me } = this.#o;
    const began = clock.monotonic();
    let revision: number | null;
    try {
      revision = await register.write(me, expected);
    } catch (error) {
      // If it was written all the same, the next look finds our own name and takes it again.
      this.#news(() => news.trouble(`the lease can't be taken: ${(error as Error).message}`));
      return;
    }
    if (revision === null || this.#phase.kind !== "watching") return;
    if (clock.monotonic() - began >= this.#times.standDownMs) return;
    this.#phase = { kind: "leading", revision, deadline: this.#deadline(began) };
    news.leader(me.id);
    news.won();
  }

  async #renew({ revision, deadline }: Extract<Phase, { readonly kind: "leading" }>): Promise<void> {
    const { register, clock, news, me } = this.#o;
    const began = clock.monotonic();
    this.#overdue = true;
    try {
      let written = await register.write(me, revision);
      // A renewal whose answer was lost has moved it on itself.
      if (written === null) {
        const held = await register.read();
        if (held.holder.incarnation === me.incarnation) written = await register.write(me, held.revision);
      }
      if (!this.leading) return;
      if (written === null) {
        this.#stepDown("another controller has taken the lease");
        return;
      }
      if (clock.monotonic() - began >= this.#times.standDownMs) return;
      deadline.cancel();
      this.#overdue = false;
      this.#phase = { kind: "leading", revision: written, deadline: this.#deadline(began) };
      news.trouble("");
    } catch (error) {
      this.#news(() => news.trouble(`the lease can't be renewed: ${(error as Error).message}`));
    }
  }

  #deadline(began: Millis): Timer {
    const { clock } = this.#o;
    const { standDownMs } = this.#times;
    return clock.after(Math.max(0, began + standDownMs - clock.monotonic()), () => {
      this.#stepDown(`the lease could not be renewed for ${String(standDownMs)} ms`);
    });
  }

  #stepDown(why: string): void {
    if (this.#phase.kind !== "leading") return;
    this.#phase.deadline.cancel();
    this.#phase = { kind: "watching", seen: null };
    this.#wake.abort();
    this.#o.news.leader("");
    this.#o.news.lost(why);
  }

  async #free(revision: number): Promise<void> {
    const { register, me } = this.#o;
    const nobody: Holder = { id: "", incarnation: "" };
    try {
      if ((await register.write(nobody, revision)) !== null) return;
      // A renewal that was under way has moved it on.
      const held = await register.read();
      if (held.holder.incarnation === me.incarnation) await register.write(nobody, held.revision);
    } catch {
      // Then it is taken when it has run out.
    }
  }

  #news(tell: () => void): void {
    if (this.#phase.kind !== "stopped") tell();
  }
}
