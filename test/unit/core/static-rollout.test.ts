import { expect, test } from "vitest";
import { assigned, restore, step, take } from "../../../agent/core/static/rollout.ts";
import type { LocalRollout } from "../../../agent/core/static/rollout.ts";
import type { InstanceReport } from "../../../proto/contract/report.ts";
import type { ServiceSpec } from "../../../proto/contract/spec/types.ts";
import { spec } from "../../support/samples.ts";

const wall = 1_000_000;
const strategy = { ...spec().strategy, minHealthyMs: 1_000, healthyDeadlineMs: 5_000 };
const doc = (version: string, changes: Partial<ServiceSpec> = {}): ServiceSpec =>
  spec({ version, strategy, ...changes });
const modes = (rollout: LocalRollout): string[] =>
  assigned(rollout).revisions.map(({ revision, version, mode }) => `r${revision} ${version} ${mode}`);

const instance = (revision: number, healthySinceMs: number): InstanceReport => ({
  ...{
    service: "shop",
    revision,
    version: `v${revision}`,
    id: `i${revision}`,
    state: "ready",
    sinceMs: 0,
    healthySinceMs,
    wasReady: healthySinceMs > 0,
  },
  ...{ pid: 1, address: "127.0.0.1", port: 1, restarts: 2, exit: { code: 3, signal: null }, reason: "readiness: 503" },
  ...{ output: ["no database"], inFlight: 0, started: 0 },
});
const at = (now: number, instances: readonly InstanceReport[]) => ({ now, wall, host: "h1", instances });

test("a version takes over only once it has been healthy for its time, in one step", () => {
  const first = take(doc("v1"), undefined, 0, false);
  expect(modes(first)).toEqual(["r1 v1 serving"]);
  const second = take(doc("v2"), first, 0, false);
  expect(modes(second)).toEqual(["r1 v1 serving", "r2 v2 standby"]);
  expect(step(second, at(10, [instance(2, 0)])).rollout).toBe(second);
  expect(step(second, at(10, [instance(2, wall - 999)])).rollout).toBe(second);
  const { rollout, outcome } = step(second, at(10, [instance(2, wall - 1_000)]));
  expect(outcome?.kind).toBe("promoted");
  expect(modes(rollout)).toEqual(["r2 v2 serving"]);
});

test("one that never gets healthy is refused with its evidence, is not tried again by itself, and is on demand", () => {
  const before = take(doc("v2"), take(doc("v1"), undefined, 0, false), 0, false);
  const { rollout, outcome } = step(before, at(5_000, [instance(2, 0)]));
  expect(outcome?.message).toBe(
    "shop: v2 (revision 2) is refused, v1 (revision 1) stays: not healthy within 5s " +
      "(i2: readiness: 503; last exit: code 3, 2 restarts; last output:\n  no database)",
  );
  expect(modes(rollout)).toEqual(["r1 v1 serving"]);
  expect(modes(take(doc("v2"), rollout, 6_000, false))).toEqual(["r1 v1 serving"]);
  expect(modes(take(doc("v2"), rollout, 6_000, true))).toEqual(["r1 v1 serving", "r2 v2 standby"]);
});

test("a change of mind: back to v1 drops v2, a v3 replaces it, and numbers are never reused", () => {
  const second = take(doc("v2"), take(doc("v1"), undefined, 0, false), 0, false);
  const back = take(doc("v1"), second, 1, false);
  expect(modes(back)).toEqual(["r1 v1 serving"]);
  const third = take(doc("v3"), second, 1, false);
  expect(modes(third)).toEqual(["r1 v1 serving", "r3 v3 standby"]);
  const promoted = step(third, at(10, [instance(3, 1)])).rollout;
  // v1 may still be draining: it is taken back as what it was.
  expect(modes(take(doc("v1"), promoted, 2, false))).toEqual(["r3 v3 serving", "r1 v1 standby"]);
});

test("what is not run differently is changed in place", () => {
  const first = take(doc("v1"), undefined, 0, false);
  const changed = take(doc("v1", { hostnames: ["shop.test"] }), first, 0, false);
  expect(modes(changed)).toEqual(["r1 v1 serving"]);
  expect(assigned(changed).hostnames).toEqual(["shop.test"]);
});

test("an external version with no address on this host is refused at once", () => {
  const external = (version: string) =>
    doc(version, {
      run: { kind: "external", instances: [{ version: "v1", host: null, address: "127.0.0.1", port: 1 }] },
    });
  const second = take(external("v2"), take(external("v1"), undefined, 0, false), 0, false);
  const { outcome } = step(second, at(0, []));
  expect(outcome).toMatchObject({ kind: "refused" });
  expect(outcome?.message).toContain("none of version v2");
});

test("a restart in the middle of it goes on from there", () => {
  const second = take(doc("v2"), take(doc("v1"), undefined, 0, false), 0, false);
  const found = restore(assigned(second), doc("v2"), 50)!;
  expect(modes(take(doc("v2"), found, 60, false))).toEqual(["r1 v1 serving", "r2 v2 standby"]);
});
