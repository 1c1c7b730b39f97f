/**
 * The engine against a world that is late, forgetful and hostile. Oracles: I1–I6 judged from what is true in the world
 * (test/sim/model/oracle.ts), liveness (every run ends once the trouble has passed, or says what it waits for), and that
 * no request is lost where nothing broke that could have served it.
 */
import fc from "fast-check";
import { test } from "vitest";
import type { CountOrPercent } from "../../../proto/contract/units.ts";
import { GOOD, STRATEGY, type WorldOptions } from "../../sim/model/world.ts";
import { KINDS, type Strike } from "../../sim/model/strikes.ts";
import { finish, play, verdict } from "./play.ts";

const RUNS = Number(process.env["FUZZ_RUNS"] ?? 150);
/** The same events in every run of the tests; a hunt names another seed, or "random". */
const SEED = process.env["FUZZ_SEED"] ?? "20260101";

const count = (max: number): fc.Arbitrary<CountOrPercent> =>
  fc.oneof(
    fc.record({ kind: fc.constant("count" as const), value: fc.integer({ min: 0, max }) }),
    fc.record({ kind: fc.constant("percent" as const), value: fc.constantFrom(0, 25, 34, 50) }),
  );

const behaviour = fc.oneof(
  { weight: 4, arbitrary: fc.constant(GOOD) },
  { weight: 1, arbitrary: fc.constant({ ...GOOD, readyAfterMs: 2_500 }) },
  { weight: 1, arbitrary: fc.constant({ ...GOOD, readyAfterMs: null }) },
  { weight: 1, arbitrary: fc.constant({ ...GOOD, readyAfterMs: null, exitsAfterMs: 200 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1_200, max: 9_000 }).map((exitsAfterMs) => ({ ...GOOD, exitsAfterMs })) },
  { weight: 1, arbitrary: fc.constant({ ...GOOD, errors: 0.4 }) },
);

const event: fc.Arbitrary<Strike> = fc.record({
  kind: fc.constantFrom(...KINDS),
  at: fc.integer({ min: 0, max: 20_000 }),
  forMs: fc.integer({ min: 100, max: 6_000 }),
  who: fc.nat({ max: 6 }),
});

const options: fc.Arbitrary<WorldOptions> = fc.record({
  seed: fc.integer({ min: 1, max: 1_000_000 }),
  hosts: fc.integer({ min: 1, max: 4 }),
  gateways: fc.integer({ min: 0, max: 2 }),
  strategy: fc
    .record({
      maxSurge: count(2),
      maxUnavailable: count(2),
      minHealthyMs: fc.constantFrom(0, 500, 1_500),
      autoRevert: fc.boolean(),
      onPartition: fc.constantFrom("pause" as const, "continue" as const),
    })
    .map((part) => ({ ...STRATEGY, ...part })),
  onTimeout: fc.constantFrom("cut" as const, "pause" as const),
  behaviours: fc.record({ 2: behaviour, 3: behaviour }),
  latencyMs: fc.constantFrom(1, 100, 700),
  lossy: fc.constantFrom(0, 0.1, 0.3),
  longRequests: fc.boolean(),
});

test(
  "no order of events breaks an invariant, and every rollout ends or says what it waits for",
  { timeout: 600_000 },
  () => {
    fc.assert(
      fc.property(options, fc.boolean(), fc.array(event, { maxLength: 8 }), (setup, first, events) => {
        const world = play(setup, first, events);
        finish(world);
        verdict(world, first, events);
      }),
      // A long hunt ends at its first find; shrinking one takes minutes.
      { numRuns: RUNS, endOnFailure: RUNS > 1_000, ...(SEED === "random" ? {} : { seed: Number(SEED) }) },
    );
  },
);
