/** Each invariant's check, shown a plan that breaks it: what would be a defect of the ladder is stopped here. */
import { expect, test } from "vitest";
import type { HostTrack, Rollout } from "../../../control/model/rollout.ts";
import { check } from "../../../control/rollout/invariants.ts";
import { Bench, instance } from "./bench.ts";

const count = (value: number) => ({ kind: "count", value }) as const;

function plan(
  bench: Bench,
  patches: Readonly<Record<string, Partial<HostTrack>>>,
  rest: Partial<Rollout> = {},
): readonly string[] {
  const hosts = bench.rollout.hosts.map((track) => ({ ...track, ...patches[track.host] }));
  const after = { ...bench.rollout, hosts, change: bench.rollout.change + 1, ...rest };
  return check(bench.rollout, after, bench.context()).map((violation) => violation.invariant);
}
const serving = (revision: number) => [{ revision, mode: "serving" }] as const;

test("I1: traffic must not turn to a version with nothing ready", () => {
  const bench = new Bench().rest();
  expect(
    plan(bench, {
      a: {
        revisions: [
          { revision: 1, mode: "draining" },
          { revision: 2, mode: "serving" },
        ],
      },
    }),
  ).toContain("I1");
  bench.runs("a", instance(1), instance(2, { state: "ready" }));
  expect(
    plan(bench, {
      a: {
        revisions: [
          { revision: 1, mode: "draining" },
          { revision: 2, mode: "serving" },
        ],
      },
    }),
  ).toEqual([]);
});

test("I2: nothing is retired that serves, or that has something in flight", () => {
  const bench = new Bench().rest().runs("a", instance(1), instance(2, { state: "ready" }));
  expect(plan(bench, { a: { revisions: serving(2) } })).toContain("I2");
  const busy = new Bench().rest().runs("a", instance(1), instance(2, { state: "ready", inFlight: 1 }));
  expect(plan(busy, { a: { revisions: serving(1) } })).toContain("I2");
});

test("I3: no host goes out when as many as are allowed do not serve already", () => {
  const bench = new Bench({ strategy: { maxSurge: count(0), maxUnavailable: count(1) } });
  expect(plan(bench, { a: { routed: false }, b: { routed: false } })).toContain("I3");
  expect(plan(bench, { a: { routed: false } })).toEqual([]);
  bench.runs("c", instance(1, { state: "failed", exit: "exit code 1" }));
  expect(plan(bench, { a: { routed: false } })).toContain("I3");
});

test("I3: a host that starts is not one that serves nobody: it goes out when there is room for it, and no sooner", () => {
  const bench = new Bench({ strategy: { maxSurge: count(0), maxUnavailable: count(1) } });
  bench.runs("b", instance(1, { state: "starting" }));
  expect(plan(bench, { b: { routed: false } })).toEqual([]);
  bench.runs("c", instance(1, { state: "failed", exit: "exit code 1" }));
  expect(plan(bench, { c: { routed: false } })).toEqual([]);
  expect(plan(bench, { b: { routed: false } })).toContain("I3");
  expect(plan(bench, { b: { routed: false }, c: { routed: false } })).toContain("I3");
  // What has exited, was ready before, or has taken longer than it may, is not about to serve.
  bench.runs("b", instance(1, { state: "starting", exit: "exit code 1" }));
  expect(plan(bench, { b: { routed: false } })).toEqual([]);
  bench.runs("b", instance(1, { state: "starting", wasReady: true }));
  expect(plan(bench, { b: { routed: false } })).toEqual([]);
  bench.runs("b", instance(1, { state: "starting" }));
  bench.now += bench.rollout.strategy.healthyDeadlineMs;
  expect(plan(bench, { b: { routed: false } })).toEqual([]);
});

test("I3: hosts that leave are all there is, until one that stays serves", () => {
  const bench = new Bench({ hosts: ["a"], fromHosts: ["z"] }).rest();
  expect(bench.rollout.stage.kind).toBe("step");
  expect(plan(bench, { z: { routed: false } })).toContain("I3");
  bench.runs("a", instance(2)).rest();
  expect(plan(bench, { z: { routed: false } })).not.toContain("I3");
});

test("I4: neither epoch nor change goes back", () => {
  const bench = new Bench().rest();
  expect(plan(bench, {}, { change: bench.rollout.change })).toContain("I4");
  bench.epoch = 0;
  expect(plan(bench, {})).toContain("I4");
});

test("I5: what takes something away needs the host's own word", () => {
  const bench = new Bench().rest().runs("a", instance(1), instance(2, { state: "ready" }));
  bench.says.set("a", { ...bench.says.get("a"), lease: "unknown" });
  const shift = {
    revisions: [
      { revision: 1, mode: "draining" },
      { revision: 2, mode: "serving" },
    ],
  } as const;
  expect(plan(bench, { a: shift })).toContain("I5");
  expect(plan(bench, { a: { routed: false } })).toContain("I5");
});

test("I6: nobody begins while it is paused, or after a loss that nothing explains", () => {
  const bench = new Bench().rest();
  const begins = { b: { stage: "starting", revisions: [...serving(1), { revision: 2, mode: "standby" }] } } as const;
  expect(plan(bench, begins)).toEqual([]);
  expect(plan(bench, begins, { pause: { reason: "Manual", message: "", sinceMs: 0 } })).toContain("I6");
  bench.unexplainedLoss = 1;
  expect(plan(bench, begins)).toContain("I6");
});
