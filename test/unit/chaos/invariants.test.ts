/** The promises that chaos judges from outside are seen to be broken when they are, and let pass what is allowed. */
import { expect, test } from "vitest";
import type { RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import { RolloutView as Rollouts } from "../../../proto/gen/baton/v1/operator.ts";
import type { FaultKind } from "../../chaos/faults.ts";
import { Invariants } from "../../chaos/invariants.ts";
import type { Circumstances } from "../../chaos/invariants.ts";
import type { Strike } from "../../chaos/strikes.ts";
import type { Look } from "../../chaos/watch.ts";

const HOSTS = ["host-1", "host-2", "host-3"];
const calm: Circumstances = { strikes: [], maxOut: 0, said: [] };
const all = (out: readonly string[] = []): ReadonlyMap<string, boolean> =>
  new Map(HOSTS.map((host) => [host, !out.includes(host)]));
const routedTo = (hosts: readonly string[]): Look["routed"] => new Map([["gateway-1", hosts]]);
const look = (atMs: number, more: Partial<Look> = {}): Look => ({
  ...{ atMs, rollouts: [], hosts: [], serves: all(), routed: routedTo(HOSTS) },
  ...more,
});
const rollout = (stages: readonly string[], more: Partial<RolloutView> = {}): RolloutView => ({
  ...Rollouts.decode(new Uint8Array()),
  ...{ id: "r", service: "demo", phase: "Progressing", stage: "Step" },
  hosts: stages.map((stage, i) => ({
    ...{ host: HOSTS[i]!, stage, message: "", live: true, applied: true, instances: [] },
  })),
  ...more,
});
const strike = (kind: FaultKind, victim: string, atMs: number): Strike => ({
  fault: { atMs: 0, kind, victim, forMs: 0, pick: 0 },
  ...{ victim, what: "", atMs, struckAtMs: atMs, endedAtMs: null },
});
const judged = (looks: readonly Look[], around = calm): readonly string[] => {
  const invariants = new Invariants(["gateway-1", ...HOSTS]);
  return looks.flatMap((one) => invariants.judge(one, around));
};

test("I3: a host that serves goes out under a policy that allows none", () => {
  expect(judged([look(0), look(300, { routed: routedTo(["host-1", "host-3"]) })]).join()).toMatch(/^I3: .*host-2/);
});

test("I3: one may go out where one is allowed, not beside another that is down already", () => {
  const around = { ...calm, maxOut: 1 };
  const without2 = { routed: routedTo(["host-1", "host-3"]) };
  expect(judged([look(0), look(300, without2)], around)).toEqual([]);
  const down = { serves: all(["host-3"]) };
  const looks = [look(0, down), look(5_000, down), look(5_300, { ...down, ...without2 })];
  expect(judged(looks, around).join()).toMatch(/^I3: .*host-2, host-3 being out too/);
});

test("I3: what an operator drains, and what is dead already, may go", () => {
  const without2 = { routed: routedTo(["host-1", "host-3"]) };
  const said = [{ atMs: 0, verb: "drain", about: "host-2" }];
  expect(judged([look(0), look(300, without2)], { ...calm, said })).toEqual([]);
  const dead = { serves: all(["host-2"]) };
  expect(judged([look(0, dead), look(300, { ...dead, ...without2 })])).toEqual([]);
});

test("I3: a host goes out, and an operator drains another: which came first is told by the look before", () => {
  const around = { ...calm, maxOut: 1, said: [{ atMs: 200, verb: "drain", about: "host-2" }] };
  const [both, only] = [{ routed: routedTo(["host-3"]) }, { routed: routedTo(["host-1", "host-3"]) }];
  expect(judged([look(0), look(300, both)], around)).toEqual([]);
  expect(judged([look(0), look(300, only), look(600, both)], around).join()).toMatch(
    /^I3: .*host-1, host-2 being out too/,
  );
});

test("I5: a host begins while another has been cut off beyond its lease", () => {
  const strikes = [strike("hole", "host-3", 0)];
  const looks = (at: number): Look[] => [
    look(at, { rollouts: [rollout(["done", "waiting", "waiting"])] }),
    look(at + 300, { rollouts: [rollout(["done", "starting", "waiting"])] }),
  ];
  expect(judged(looks(9_000), { ...calm, strikes }).join()).toMatch(
    /^I5: host-3 is cut off \(hole\), and host-2 begins/,
  );
  expect(judged(looks(1_000), { ...calm, strikes }), "no lease has run out yet").toEqual([]);
  const said = [{ atMs: 8_000, verb: "resume", about: "" }];
  expect(judged(looks(9_000), { ...calm, strikes, said }), "an operator said so").toEqual([]);
  expect(judged(looks(9_000), { ...calm, strikes: [strike("hole", "c1", 0)] }), "a controller is no agent").toEqual([]);
});

test("I6: a host begins, or the weight rises, while the rollout is paused", () => {
  const paused = { phase: "Paused", reason: "Manual" };
  const views = [rollout(["waiting"], paused), rollout(["starting"], paused)];
  expect(judged(views.map((view, i) => look(i * 300, { rollouts: [view] }))).join()).toMatch(/^I6: .*host-1 begins/);
  const weights = [1_000, 5_000].map((weight) => rollout([], { ...paused, split: { weight, routes: [], sticky: "" } }));
  expect(judged(weights.map((view, i) => look(i * 300, { rollouts: [view] }))).join()).toMatch(/weight rises/);
});

test("two rollouts of one service move at once; one that stands behind another does not", () => {
  const two = (behind: string): Look => look(300, { rollouts: [rollout([]), rollout([], { id: "s", behind })] });
  expect(judged([look(0), two("")]).join()).toMatch(/two rollouts of demo/);
  expect(judged([look(0), two("r")])).toEqual([]);
});

test("what does not answer proves nothing", () => {
  const mute = { rollouts: null, routed: new Map([["gateway-1", null]]), serves: new Map(HOSTS.map((h) => [h, null])) };
  expect(judged([look(0), look(300, mute), look(600)])).toEqual([]);
});

test("the engine's own check has stopped it: that is a defect, whoever moves it on", () => {
  const view = rollout([], { phase: "Paused", reason: "InvariantViolation", message: "I2: …" });
  expect(judged([look(0), look(300, { rollouts: [view] })])).toEqual(["the engine stopped itself in r: I2: …"]);
});
