/**
 * What each version of the demo app does, in one table. A name that is not in it is a good version, so that `v7` or a
 * git sha can be rolled out too.
 */
export interface Behaviour {
  /** false: /healthz answers 503 for ever, and says why. */
  readonly ready: boolean;
  /** Ends with exit code 3 this long after it began to listen; null: never. */
  readonly crashAfterMs: number | null;
  /** Every app request is answered with 500; the health path is not. */
  readonly failing: boolean;
  /** Added before every answer of the app. */
  readonly delayMs: number;
}

const GOOD: Behaviour = { ready: true, crashAfterMs: null, failing: false, delayMs: 0 };

const BEHAVIOURS: ReadonlyMap<string, Behaviour> = new Map([
  ["v1", GOOD],
  ["v2", GOOD],
  ["v3", { ...GOOD, ready: false }],
  ["v3b", { ...GOOD, crashAfterMs: 5_000 }],
  ["v3c", { ...GOOD, failing: true }],
  ["v3d", { ...GOOD, delayMs: 800 }],
]);

export function behaviourOf(version: string): Behaviour {
  return BEHAVIOURS.get(version) ?? GOOD;
}

/** What v3 prints while it is not ready: what an operator should find in `rollout status`. */
export const NOT_READY_LINES = [
  "database: connecting to 127.0.0.1:5432",
  "database: ECONNREFUSED 127.0.0.1:5432",
  "not ready: migration 0042_orders cannot be applied without a database",
] as const;

/** What v3b leaves on stderr as it dies. */
export const CRASH_LINES = [
  "TypeError: Cannot read properties of undefined (reading 'price')",
  "    at OrderCache.refresh (order-cache.ts:87:31)",
  "    at Scheduler.tick (scheduler.ts:24:10)",
  "fatal: cache refresh failed, exiting with 3",
] as const;
