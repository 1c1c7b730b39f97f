/**
 * When an instance that is no longer wanted may be stopped (R14, I2): every worker's table sends it nothing new, and then
 * nothing has been in flight on it, and nothing begun, for QUIET_MS; or its drain's time is over.
 *
 * QUIET_MS  a worker writes its counts once a turn of its event loop, and says that it has a table from within one: a
 *           request that was given to the instance just before may be on record a moment later.
 * Deadline  the workers cut at `drain.timeoutMs` themselves and put it on record; the instance is given GRACE_MS more.
 *           Under `onTimeout: pause` there is no deadline: whoever wants one says `cut`.
 */
import type { DrainSpec } from "../../proto/contract/spec/types.ts";
import type { Millis } from "../../proto/kernel/clock.ts";
import type { InstanceView } from "./instances/record.ts";

export const QUIET_MS = 100;
export const GRACE_MS = 1_000;

export interface DrainTrack {
  readonly since: Millis;
  /** Since when nothing was in flight and nothing began; null while something is. */
  readonly quietSince: Millis | null;
  readonly started: number;
}

export interface DrainFacts {
  readonly now: Millis;
  /** Every worker has a table by which nothing new goes to it. */
  readonly live: boolean;
  /** It never was in a table at all. */
  readonly untouched: boolean;
  readonly inFlight: number;
  readonly started: number;
  readonly drain: DrainSpec;
}

export interface DrainStep {
  readonly track: DrainTrack;
  readonly stop: "quiet" | "deadline" | null;
}

export function drainStep(before: DrainTrack | undefined, facts: DrainFacts): DrainStep {
  const { now, live, untouched, inFlight, started, drain } = facts;
  const since = before?.since ?? now;
  const still = live && inFlight === 0 && before?.started === started;
  const quietSince = still ? (before.quietSince ?? now) : null;
  const track = { since, quietSince, started };
  if (untouched || (quietSince !== null && now - quietSince >= QUIET_MS)) return { track, stop: "quiet" };
  const over = drain.onTimeout === "cut" && now - since >= drain.timeoutMs + GRACE_MS;
  return { track, stop: over ? "deadline" : null };
}

export interface DrainWorld {
  now(): Millis;
  /** Every worker routes by a table of this number or a later one. */
  isLive(sequence: number): boolean;
  wasInTable(instance: InstanceView): boolean;
  counts(instance: InstanceView): { readonly inFlight: number; readonly started: number };
}

/** The instances that are being left, and since which table. */
export class Drains {
  readonly #world: DrainWorld;
  readonly #tracks = new Map<string, { readonly track: DrainTrack; readonly sequence: number }>();

  constructor(world: DrainWorld) {
    this.#world = world;
  }

  get any(): boolean {
    return this.#tracks.size > 0;
  }

  /** `leaving` are out of the table numbered `sequence`. Answers those that may be stopped now, and why. */
  advance(leaving: readonly InstanceView[], sequence: number): { readonly id: string; readonly after: string }[] {
    const stop: { id: string; after: string }[] = [];
    const seen = new Set(leaving.map(({ id }) => id));
    for (const id of this.#tracks.keys()) if (!seen.has(id)) this.#tracks.delete(id);
    for (const view of leaving) {
      const before = this.#tracks.get(view.id);
      const since = before?.sequence ?? sequence;
      const step = drainStep(before?.track, {
        now: this.#world.now(),
        live: this.#world.isLive(since),
        untouched: !this.#world.wasInTable(view),
        ...this.#world.counts(view),
        drain: view.drain,
      });
      this.#tracks.set(view.id, { track: step.track, sequence: since });
      if (step.stop !== null) stop.push({ id: view.id, after: step.stop });
    }
    return stop;
  }
}
