/** Canary and blueGreen: what is asked of hosts at each step, what a step waits for, and how it goes back. */
import { describe as group, expect, test } from "vitest";
import { describe } from "../../../control/rollout/describe.ts";
import { begin, desires, step } from "../../../control/rollout/engine.ts";
import { programOf, stepText } from "../../../control/rollout/program.ts";
import type {
  AnalysisSpec,
  BlueGreenStrategy,
  CanaryStep,
  CanaryStrategy,
} from "../../../proto/contract/spec/types.ts";
import { EVERY_REQUEST } from "../../../proto/contract/spec/types.ts";
import { revisionOf, STRATEGY } from "../../sim/model/revisions.ts";
import { Bench, instance } from "./bench.ts";

const all = { kind: "percent", value: 100 } as const;
const { staggerMs: _, orderBy: _1, firstHostMs: _2, kind: _3, ...common } = STRATEGY;
const weight = (percent: number): CanaryStep => ({ kind: "setWeight", weight: percent * 100 });
const pause = (durationMs: number | null): CanaryStep => ({ kind: "pause", durationMs });

const canary = (steps: readonly CanaryStep[], more: Partial<CanaryStrategy> = {}): CanaryStrategy => ({
  ...common,
  kind: "canary",
  maxSurge: all,
  trafficRouting: "weighted",
  stickiness: null,
  steps,
  ...more,
});
const blueGreen = (more: Partial<BlueGreenStrategy> = {}): BlueGreenStrategy => ({
  ...common,
  kind: "blueGreen",
  maxSurge: all,
  previewRoute: [],
  prePromotionAnalysis: null,
  autoPromotionEnabled: true,
  autoPromotionMs: null,
  postPromotionAnalysis: null,
  scaleDownDelayMs: 0,
  ...more,
});
const traffic = (limit: string): AnalysisSpec => ({
  durationMs: 0,
  metrics: [
    {
      name: "success",
      source: { kind: "traffic", of: "successRate", version: "canary" },
      intervalMs: 1_000,
      initialDelayMs: 0,
      count: 1,
      failureLimit: 0,
      inconclusiveLimit: 0,
      consecutiveErrorLimit: 0,
      success: { text: `result >= ${limit}`, all: [{ op: ">=", value: Number(limit) }] },
      failure: null,
      critical: true,
      dryRun: false,
    },
  ],
});

const HOSTS = ["a", "b", "c"];
/** Every host runs both, ready; the new one in the mode it is asked to be in. */
function both(bench: Bench): Bench {
  for (const host of HOSTS) bench.runs(host, instance(1), instance(2, { state: "ready" }));
  return bench.rest();
}
/** Both serve on every host, and the first step is asked for. */
function splitting(strategy: CanaryStrategy | BlueGreenStrategy): Bench {
  const bench = both(new Bench({ strategy }).rest()).after(1_000);
  for (const host of HOSTS) bench.runs(host, instance(1), instance(2));
  return bench.rest();
}
/** Hosts go out of routing one by one. */
const inPlace = (): Bench => {
  const [none, one] = [0, 1].map((value) => ({ kind: "count", value }) as const);
  return new Bench({ strategy: { maxSurge: none!, maxUnavailable: one!, minHealthyMs: 0 } });
};
const serves = (revision: number) => ({ revision, mode: "serving" });
const weights = (bench: Bench): readonly (number | null)[] =>
  desires(bench.rollout).map((desire) => desire.split?.weight ?? null);
const stages = (bench: Bench): readonly string[] => bench.rollout.hosts.map((track) => track.stage);
const reasons = (bench: Bench): readonly string[] => bench.journal.map((entry) => entry.reason);

group("a canary by weight", () => {
  test("no host takes part before the new version has been ready on it for minHealthyTime", () => {
    const bench = both(new Bench({ strategy: canary([weight(10)]) }).rest()).after(999);
    expect(stages(bench)).toEqual(["starting", "starting", "starting"]);
    expect(weights(bench)).toEqual([null, null, null]);
  });

  test("the first weight is asked of all hosts at once, and only when the last of them is ready", () => {
    const bench = new Bench({ strategy: canary([weight(10), pause(null)]) }).rest();
    for (const host of ["a", "b"]) bench.runs(host, instance(1), instance(2, { state: "ready" }));
    bench
      .runs("c", instance(1), instance(2, { state: "starting" }))
      .rest()
      .after(2_000);
    expect(stages(bench)).toEqual(["splitting", "splitting", "starting"]);
    expect(weights(bench)).toEqual([0, 0, null]);
    bench
      .runs("c", instance(1), instance(2, { state: "ready" }))
      .after(0)
      .after(1_000);
    expect(weights(bench)).toEqual([1_000, 1_000, 1_000]);
  });

  test("a step is over when every host has confirmed it, never after a sleep", () => {
    const bench = splitting(canary([weight(10), pause(1_000), weight(20), pause(null)]));
    bench.says.set("b", { ...bench.says.get("b"), appliedHash: "older" });
    bench.after(10_000);
    expect(weights(bench)).toEqual([1_000, 1_000, 1_000]);
    bench.says.set("b", { ...bench.says.get("b"), appliedHash: "agreed" });
    bench.rest();
    expect(weights(bench)).toEqual([2_000, 2_000, 2_000]);
    expect(bench.rollout.pause?.reason).toBe("Step");
  });

  test("a pause with a duration goes on by itself, one without waits for promote", () => {
    const bench = splitting(canary([weight(10), pause(5_000), weight(50), pause(null)]));
    bench.after(4_999);
    expect(bench.rollout.split.weight).toBe(1_000);
    bench.after(1);
    expect(bench.rollout.split.weight).toBe(5_000);
    bench.after(60_000);
    expect(bench.rollout.pause).toMatchObject({ reason: "Step" });
    expect(describe(bench.rollout, bench.context())).toContain("`baton rollout promote shop` goes on");
    bench.say({ kind: "promote", actor: "ops", full: false });
    bench.rest();
    expect(bench.rollout.split.weight).toBe(10_000);
  });

  test("at the end the old version drains everywhere and stops; nothing is started again", () => {
    const bench = splitting(canary([weight(50)]));
    expect(stages(bench)).toEqual(["draining", "draining", "draining"]);
    for (const host of HOSTS) bench.runs(host, instance(1, { state: "draining" }), instance(2));
    bench.after(1_000);
    for (const host of HOSTS) bench.runs(host, instance(2));
    bench.after(1_000).after(1_000);
    expect(bench.rollout.stage.kind).toBe("succeeded");
    expect(reasons(bench).filter((reason) => reason === "HostStarting")).toHaveLength(3);
  });

  test("abort gives everything back to the old version in one change, where it never left", () => {
    const bench = splitting(canary([weight(50), pause(null)]));
    bench.say({ kind: "abort", actor: "ops", reason: "" });
    while (bench.rollout.stage.kind !== "rolling-back") bench.step();
    bench.step();
    expect(weights(bench)).toEqual([null, null, null]);
    for (const track of bench.rollout.hosts) {
      expect(track.revisions).toEqual([
        { revision: 2, mode: "draining" },
        { revision: 1, mode: "serving" },
      ]);
    }
    for (const host of HOSTS) bench.runs(host, instance(1));
    expect(bench.rest().rollout.stage.kind).toBe("rolled-back");
  });

  test("a canary that exits while it takes a share is rolled back at once, even at a pause", () => {
    const bench = splitting(canary([weight(10), pause(null)]));
    bench.runs("b", instance(1), instance(2, { state: "failed", exit: "exit code 3" }));
    bench.step();
    expect(bench.rollout.stage).toMatchObject({
      kind: "rolling-back",
      why: expect.stringContaining("exit code 3") as string,
    });
  });

  test("an instance that is not ready keeps the weight from rising (I1)", () => {
    const bench = splitting(canary([weight(10), pause(1_000), weight(50)]));
    bench.runs("b", instance(1), instance(2, { state: "serving", healthySinceMs: 0 }));
    bench.after(1_500);
    expect(bench.rollout.split.weight).toBe(1_000);
  });

  test("the weight by hand holds until the next setWeight, and is refused where no step waits", () => {
    const bench = splitting(canary([weight(10), pause(null), weight(50)]));
    expect(bench.say({ kind: "weight", actor: "ops", weight: 3_000 })).not.toHaveProperty("why");
    expect(weights(bench)).toEqual([3_000, 3_000, 3_000]);
    const rolling = new Bench().rest();
    expect(rolling.say({ kind: "weight", actor: "ops", weight: 3_000 })).toMatchObject({ kind: "refused" });
  });

  test("promote --full passes over every step that is left", () => {
    const bench = splitting(canary([weight(10), pause(null), weight(20), pause(null)]));
    bench.say({ kind: "promote", actor: "ops", full: true });
    bench.rest();
    expect(bench.rollout.split.weight).toBe(10_000);
    expect(bench.rollout.pause).toBeNull();
    expect(stages(bench).every((stage) => stage === "draining" || stage === "stopping")).toBe(true);
  });

  test("promote --full while hosts go on from a program that is over asks them nothing anew, and the rollout ends", () => {
    const bench = splitting(canary([weight(10), pause(null)]));
    bench.say({ kind: "promote", actor: "ops", full: false });
    bench.rest();
    expect(stages(bench)).not.toContain("splitting");
    bench.say({ kind: "promote", actor: "ops", full: true });
    for (let n = 0; n < 5; n++) {
      for (const host of HOSTS) bench.runs(host, instance(2));
      bench.after(2_000).rest();
    }
    expect(bench.rollout.stage.kind).toBe("succeeded");
  });

  test("a newer revision takes over with everything back on the old version, not with equal shares", () => {
    const bench = splitting(canary([weight(10), pause(null)]));
    const answer = bench.say({ kind: "supersede", actor: "ops", by: "shop-2" });
    expect(answer).not.toHaveProperty("why");
    expect(bench.rollout.stage.kind).toBe("superseded");
  });
});

group("a canary by hosts", () => {
  test("a weight is the share of hosts that have moved", () => {
    const strategy = canary([weight(30), pause(null)], {
      trafficRouting: "hosts",
      maxSurge: { kind: "count", value: 3 },
    });
    const bench = new Bench({ strategy }).rest();
    expect(stages(bench)).toEqual(["starting", "waiting", "waiting"]);
    bench
      .runs("a", instance(1), instance(2, { state: "ready" }))
      .after(0)
      .after(1_000);
    bench
      .runs("a", instance(1, { state: "draining" }), instance(2))
      .after(1_000)
      .after(1_000);
    bench.runs("a", instance(2)).rest();
    expect(stages(bench)).toEqual(["done", "waiting", "waiting"]);
    expect(bench.rollout.pause?.reason).toBe("Step");
    bench.say({ kind: "promote", actor: "ops", full: false });
    bench.rest();
    expect(stages(bench)).toEqual(["done", "starting", "starting"]);
  });
});

group("analysis", () => {
  test("a step's analysis that fails rolls back with its numbers", () => {
    const bench = splitting(canary([weight(10), { kind: "analysis", analysis: traffic("0.95") }]));
    bench.traffic = {
      v1: { requests: 1_000, errors: 0, lost: 0, latency: [] },
      v2: { requests: 20, errors: 10, lost: 0, latency: [] },
    };
    bench.after(1_000).after(1_000);
    expect(bench.rollout.stage.kind).toBe("rolling-back");
    expect(bench.journal.find((entry) => entry.reason === "RollingBack")?.message).toContain("success");
  });

  test("no data never passes: the rollout pauses, resume measures again, promote goes on", () => {
    const bench = splitting(canary([weight(10), { kind: "analysis", analysis: traffic("0.95") }, pause(null)]));
    bench.after(1_000).after(1_000);
    expect(bench.rollout.pause?.reason).toBe("Inconclusive");
    bench.say({ kind: "resume", actor: "ops" });
    bench.rest();
    bench.traffic = { v2: { requests: 100, errors: 0, lost: 0, latency: [] } };
    bench.after(1_000).after(1_000);
    expect(bench.rollout.pause?.reason).toBe("Step");
    const other = splitting(canary([weight(10), { kind: "analysis", analysis: traffic("0.95") }, pause(null)]));
    other.after(1_000).after(1_000);
    other.say({ kind: "promote", actor: "ops", full: false });
    other.rest();
    expect(other.rollout).toMatchObject({ pause: { reason: "Step" }, step: { index: 2 } });
  });
});

group("evidence", () => {
  const metrics = traffic("0.95").metrics.map((metric) => ({ ...metric, count: 100, inconclusiveLimit: 100 }));
  const background = { ...traffic("0.95"), metrics, startingStep: 0 };

  test("a canary that nobody asks for waits with its last step, says for what, and goes on when it is told to", () => {
    const bench = splitting(canary([weight(10)], { analysis: background }));
    bench.after(1_000).after(1_000);
    expect(bench.rollout.split.weight).toBe(1_000);
    const said = describe(bench.rollout, bench.context());
    expect(said).toMatch(/^Step 2 of 2, setWeight 100 %: waits for evidence \(.+\) before it begins; /);
    expect(said).toContain("`baton rollout promote shop` does not wait");
    bench.say({ kind: "promote", actor: "ops", full: false });
    bench.rest();
    expect(bench.rollout.split.weight).toBe(10_000);
  });

  test("what is promoted for want of evidence is still judged by it", () => {
    const bench = splitting(canary([weight(10)], { analysis: background }));
    bench.after(1_000);
    bench.say({ kind: "promote", actor: "ops", full: false });
    bench.traffic = { v2: { requests: 100, errors: 90, lost: 0, latency: [] } };
    bench.after(1_000).after(1_000);
    expect(bench.rollout.stage.kind).toBe("rolling-back");
  });
});

group("blueGreen", () => {
  test("the preview is reachable before the switch, and takes nothing else", () => {
    const matches = [{ ...EVERY_REQUEST, headers: [{ type: "Exact", name: "x-preview", value: "1" }] as const }];
    const bench = splitting(blueGreen({ previewRoute: matches, autoPromotionEnabled: false }));
    expect(bench.rollout.pause).toMatchObject({ reason: "AwaitingApproval" });
    expect(desires(bench.rollout)[0]?.split).toMatchObject({
      weight: 0,
      target: 2,
      routes: [{ name: "preview", matches }],
    });
  });

  test("the switch is one change on all hosts, and the old version stays warm for scaleDownDelay", () => {
    const bench = splitting(blueGreen({ autoPromotionEnabled: false, scaleDownDelayMs: 30_000 }));
    expect(weights(bench)).toEqual([0, 0, 0]);
    bench.say({ kind: "promote", actor: "ops", full: false });
    bench.step();
    while (bench.rollout.split.weight === 0) bench.step();
    expect(weights(bench)).toEqual([10_000, 10_000, 10_000]);
    bench.rest();
    for (const host of HOSTS) bench.runs(host, instance(1, { state: "draining" }), instance(2));
    bench.after(29_000);
    expect(stages(bench)).toEqual(["draining", "draining", "draining"]);
    bench.after(2_000);
    expect(stages(bench)).toEqual(["stopping", "stopping", "stopping"]);
  });

  test("after the switch, going back is one change of table as long as the old version is warm", () => {
    const bench = splitting(blueGreen({ scaleDownDelayMs: 30_000 }));
    for (const host of HOSTS) bench.runs(host, instance(1, { state: "draining" }), instance(2));
    bench.rest();
    bench.say({ kind: "abort", actor: "ops", reason: "" });
    bench.step();
    bench.step();
    for (const track of bench.rollout.hosts) {
      expect(track.revisions).toEqual([
        { revision: 2, mode: "draining" },
        { revision: 1, mode: "serving" },
      ]);
    }
  });
});

group("rolling", () => {
  const ready = (bench: Bench, host: string): Bench => {
    bench
      .runs(host, instance(1), instance(2, { state: "ready" }))
      .after(0)
      .after(1_000);
    bench
      .runs(host, instance(1, { state: "draining" }), instance(2))
      .after(1_000)
      .after(1_000);
    return bench.runs(host, instance(2)).rest();
  };
  const surge = { maxSurge: { kind: "count", value: 3 } } as const;

  test("one host goes first, and nobody follows before it has been watched", () => {
    const bench = ready(new Bench({ strategy: { ...surge, firstHostMs: 20_000 } }).rest(), "a");
    expect(stages(bench)).toEqual(["done", "waiting", "waiting"]);
    bench.after(19_000);
    expect(stages(bench)).toEqual(["done", "waiting", "waiting"]);
    bench.after(1_000);
    expect(stages(bench)).toEqual(["done", "starting", "starting"]);
  });

  test("stagger keeps hosts from beginning together", () => {
    const bench = new Bench({ strategy: { ...surge, staggerMs: 5_000 } }).rest();
    expect(stages(bench)).toEqual(["starting", "waiting", "waiting"]);
    bench.after(5_000 - 1);
    expect(stages(bench)).toEqual(["starting", "waiting", "waiting"]);
    bench.after(1);
    expect(stages(bench)).toEqual(["starting", "starting", "waiting"]);
  });

  test("hosts of one zone are all moved before those of the next", () => {
    const bench = new Bench({ strategy: { ...surge, orderBy: "zone" } });
    bench.groups = { a: "z2", b: "z1", c: "z1" };
    bench.rest();
    expect(stages(bench)).toEqual(["waiting", "starting", "starting"]);
    expect(bench.track("a").waitingFor).toBe("for b, whose zone comes before");
  });
});

test("what each strategy comes down to, in the document's words", () => {
  const texts = (strategy: CanaryStrategy | BlueGreenStrategy, fastTrack = false): readonly string[] =>
    programOf({ strategy, fastTrack, from: 1 }).map(stepText);
  expect(texts(canary([weight(20), pause(60_000), weight(50), pause(null)]))).toEqual([
    "setWeight 20 %",
    "pause 1m",
    "setWeight 50 %",
    "pause",
    "setWeight 100 %",
  ]);
  expect(texts(blueGreen({ autoPromotionEnabled: false, prePromotionAnalysis: traffic("1") }))).toEqual([
    "analysis success",
    "await approval",
    "setWeight 100 %",
  ]);
  expect(texts(canary([weight(20)]), true)).toEqual(["setWeight 100 %"]);
});

test("a canary that fails most of what it gets is plainly broken: it does not wait for the analysis", () => {
  const analysis = { ...traffic("0"), startingStep: 0 };
  const bench = splitting(canary([weight(10), pause(null)], { analysis }));
  bench.traffic = {
    v1: { requests: 400, errors: 0, lost: 0, latency: [] },
    v2: { requests: 60, errors: 20, lost: 0, latency: [] },
  };
  expect(bench.rest().rollout.stage.kind).toBe("step");
  bench.traffic = { ...bench.traffic, v2: { requests: 60, errors: 40, lost: 0, latency: [] } };
  expect(bench.rest().rollout.stage.kind).toBe("rolling-back");
  expect(bench.journal.findLast((entry) => entry.reason === "RollingBack")?.message).toContain("plainly broken");
});

group("what the model world found", () => {
  const unconfirmed = (bench: Bench, host: string): void =>
    void bench.says.set(host, { ...bench.says.get(host), appliedHash: "older" });

  test("going back, a host that has yet to confirm a weight is waited for; its traffic turns back meanwhile", () => {
    const bench = splitting(canary([weight(10), pause(1_000), weight(50), pause(null)]));
    bench.after(1_000);
    unconfirmed(bench, "b");
    bench.say({ kind: "abort", actor: "ops", reason: "" });
    bench.rest();
    expect(bench.rollout.pause).toBeNull();
    expect(bench.track("b")).toMatchObject({ stage: "waiting", waitingFor: "to apply what it is asked" });
    // Not equal shares, as of two versions that serve without a split.
    expect(weights(bench)).toEqual([null, 0, null]);
    bench.says.set("b", { ...bench.says.get("b"), appliedHash: "agreed" });
    expect(bench.rest().track("b").revisions).toEqual([{ revision: 1, mode: "serving" }]);
  });

  test("superseded while it goes back, a host that still shares is taken on with all of it on the old version", () => {
    const bench = splitting(canary([weight(10), pause(null)]));
    unconfirmed(bench, "b");
    bench.say({ kind: "abort", actor: "ops", reason: "" });
    bench.rest().say({ kind: "supersede", actor: "ops", by: "shop-2" });
    const to = { ...bench.to, revision: 3 };
    const hosts = HOSTS;
    const input = {
      id: "shop-2",
      service: "shop",
      from: bench.from,
      to,
      hosts,
      now: bench.now,
      actor: "ops",
      epoch: 1,
    };
    const { rollout } = begin({ ...input, over: bench.rollout });
    expect(rollout.hosts.find((track) => track.host === "b")?.revisions).toEqual([
      { revision: 2, mode: "draining" },
      { revision: 1, mode: "serving" },
    ]);
    expect(desires(rollout).map((desire) => desire.split)).toEqual([null, null, null]);
  });

  test("superseded twice, a host goes on with what it serves, not with what is gone from it", () => {
    const bench = new Bench({ strategy: { maxSurge: all, minHealthyMs: 0 } });
    for (const host of HOSTS) bench.runs(host, instance(1), instance(2, { state: "ready" }));
    bench.rest();
    for (const host of HOSTS) bench.runs(host, instance(2));
    bench.rest();
    bench.say({ kind: "supersede", actor: "ops", by: "shop-2" });
    bench.over(revisionOf(3, { strategy: blueGreen({ autoPromotionEnabled: false }), onTimeout: "cut" }));
    bench.rest();
    for (const host of HOSTS) bench.runs(host, instance(2), instance(3, { state: "ready" }));
    bench.after(0).after(2_000);
    expect(bench.track("a")).toMatchObject({ stage: "splitting", home: 1, revisions: [serves(2), serves(3)] });
    bench.say({ kind: "supersede", actor: "ops", by: "shop-3" });
    bench.over(revisionOf(4, { strategy: blueGreen(), onTimeout: "cut" }));
    expect(bench.track("a").revisions).toEqual([{ revision: 3, mode: "draining" }, serves(2)]);
  });

  test("a host that a superseded rollout has out of routing comes back with the old version, and shares from there", () => {
    const bench = inPlace();
    while (bench.track("a").stage !== "stopping") bench.step();
    bench.runs("a", instance(1, { state: "stopped" })).rest();
    bench.runs("a", instance(2, { state: "ready" })).rest();
    bench.runs("a", instance(2)).rest();
    while (bench.track("b").stage !== "stopping") bench.step();
    bench.runs("b").rest();
    bench.say({ kind: "supersede", actor: "ops", by: "shop-2" });
    // a serves what was superseded, b nothing at all, c what was there before.
    const next = revisionOf(3, { strategy: blueGreen({ autoPromotionEnabled: false }), onTimeout: "cut" });
    bench.over(next);
    bench.rest();
    // Alone there, what waits for approval would take all of b's traffic.
    expect(bench.track("b")).toMatchObject({ stage: "starting", towards: 1, routed: false });
    bench.runs("a", instance(2), instance(3, { state: "ready" })).runs("b", instance(1, { state: "ready" }));
    bench
      .runs("c", instance(1), instance(3, { state: "ready" }))
      .after(0)
      .after(2_000);
    expect(bench.track("b")).toMatchObject({ stage: "restoring", routed: true, revisions: [serves(1)] });
    bench.runs("b", instance(1)).after(2_000).after(2_000);
    expect(reasons(bench)).not.toContain("StepBegun");
    expect(bench.track("b")).toMatchObject({ stage: "starting", way: "surge", towards: 3 });
    bench.runs("a", instance(2), instance(3)).runs("c", instance(1), instance(3));
    bench
      .runs("b", instance(1), instance(3, { state: "ready" }))
      .after(2_000)
      .after(2_000);
    bench.runs("b", instance(1), instance(3)).after(2_000).after(2_000);
    expect(stages(bench)).toEqual(["splitting", "splitting", "splitting"]);
    expect(bench.track("a").revisions).toEqual([serves(2), serves(3)]);
    expect(bench.track("b").revisions).toEqual([serves(1), serves(3)]);
    expect(weights(bench)).toEqual([0, 0, 0]);
    expect(bench.rollout.pause).toMatchObject({ reason: "AwaitingApproval" });
    bench.say({ kind: "promote", actor: "ops", full: false });
    bench.rest();
    expect(bench.rollout.split.weight).toBe(10_000);
  });

  test("one that still serves the old version goes back into routing as it is", () => {
    const bench = inPlace();
    while (bench.track("a").stage !== "removing") bench.step();
    bench.say({ kind: "supersede", actor: "ops", by: "shop-2" });
    bench.over(revisionOf(3, { strategy: blueGreen({ autoPromotionEnabled: false }), onTimeout: "cut" }));
    expect(bench.track("a")).toMatchObject({ stage: "restoring", towards: 1, routed: true, revisions: [serves(1)] });
    bench.rest().after(2_000).after(2_000);
    expect(bench.track("a")).toMatchObject({ stage: "starting", way: "surge", towards: 3 });
  });

  test("one that still serves what a rolling update goes to leaves routing all the same, as it was asked to", () => {
    const bench = inPlace();
    while (bench.track("a").stage !== "removing") bench.step();
    bench.say({ kind: "supersede", actor: "ops", by: "shop-2" });
    bench.over(revisionOf(1, { strategy: bench.rollout.strategy, onTimeout: "cut" }));
    expect(bench.track("a")).toMatchObject({ stage: "removing", towards: 1, routed: false, revisions: [serves(1)] });
  });

  test("on the fast track it comes back with the target: nobody is asked about that", () => {
    const bench = inPlace();
    while (bench.track("a").stage !== "stopping") bench.step();
    bench.say({ kind: "supersede", actor: "ops", by: "shop-2" });
    bench.over(revisionOf(3, { strategy: blueGreen(), onTimeout: "cut" }), { fastTrack: true });
    expect(bench.track("a")).toMatchObject({ stage: "stopping", towards: 3, routed: false });
  });

  test("going back, the canary goes on serving where the old version is down, until that is ready again", () => {
    const bench = splitting(canary([weight(50), pause(null)]));
    bench.runs("b", instance(1, { state: "failed", exit: "exit code 1" }), instance(2));
    bench.say({ kind: "abort", actor: "ops", reason: "" });
    bench.rest();
    expect(bench.rollout.pause).toBeNull();
    expect(bench.track("b")).toMatchObject({ stage: "waiting", waitingFor: "for v1 to be ready" });
    bench.runs("b", instance(1), instance(2)).rest();
    expect(bench.track("b").revisions).toEqual([{ revision: 1, mode: "serving" }]);
  });

  test("a step that gives less to the canary waits until the old version is there for it (I1)", () => {
    const bench = splitting(canary([weight(50), pause(1_000), weight(0), pause(null)]));
    bench.runs("b", instance(1, { state: "starting" }), instance(2));
    bench.after(2_000);
    expect(bench.rollout).toMatchObject({ pause: null, split: { weight: 5_000 } });
    bench.runs("b", instance(1), instance(2)).rest();
    expect(bench.rollout.split.weight).toBe(0);
  });

  test("a weight by hand that would break a promise is refused, and does not pause the rollout as a defect", () => {
    const bench = splitting(canary([weight(50), pause(null)]));
    bench.runs("b", instance(1, { state: "starting" }), instance(2));
    const less = bench.say({ kind: "weight", actor: "ops", weight: 1_000 });
    expect(JSON.stringify(less)).toContain("b not ready for it");
    bench.runs("b", instance(1), instance(2)).unexplainedLoss = 1;
    const more = bench.say({ kind: "weight", actor: "ops", weight: 6_000 });
    expect(JSON.stringify(more)).toMatch(/refused.*unexplained loss.*rollout status/);
    expect(bench.rollout.pause?.reason).toBe("Step");
  });

  test("a host that comes while its version is on the way out leaves in good order with the others", () => {
    const bench = new Bench({ hosts: ["a"], fromHosts: ["a"] }).rest();
    const late = bench.context();
    const cluster = { hosts: ["a"], fromHosts: ["a", "z"] };
    const view = { ...late.view, hosts: { ...late.view.hosts, z: { ...late.view.hosts["a"]!, name: "z" } } };
    const { rollout } = step(bench.rollout, { ...late, cluster, view });
    expect(rollout.hosts.find((track) => track.host === "z")).toMatchObject({ goal: 0, home: 1, stage: "waiting" });
  });

  test("nobody goes out while a host that was drained has yet to say that it takes traffic again (I3)", () => {
    const strategy = {
      maxSurge: { kind: "count", value: 0 },
      maxUnavailable: { kind: "count", value: 1 },
      minHealthyMs: 0,
    } as const;
    const bench = new Bench({ strategy, gateways: [] });
    unconfirmed(bench, "c");
    bench.rest();
    expect(bench.track("a")).toMatchObject({ stage: "waiting", routed: true });
    bench.says.set("c", { ...bench.says.get("c"), appliedHash: "agreed" });
    expect(bench.rest().track("a")).toMatchObject({ routed: false });
  });

  test("a host that is behind, and serves, does not go out because it does not serve what it is asked to (I3)", () => {
    const strategy = {
      maxSurge: { kind: "count", value: 0 },
      maxUnavailable: { kind: "count", value: 1 },
      minHealthyMs: 0,
    } as const;
    const bench = new Bench({ strategy });
    bench.runs("a", instance(3), instance(1, { state: "starting" }));
    bench.says.set("b", { ...bench.says.get("b"), lease: "unknown" });
    bench.rest();
    expect(bench.track("a")).toMatchObject({ stage: "waiting", routed: true });
    bench.says.set("b", { ...bench.says.get("b"), lease: "live" });
    expect(bench.rest().rollout.hosts.filter((track) => !track.routed)).toHaveLength(1);
  });
});

group("words that an operator acts on at night", () => {
  test("after a rollback nothing points at a second step back", () => {
    const bench = splitting(canary([weight(10), pause(null)]));
    bench.say({ kind: "abort", actor: "ops", reason: "" });
    for (const host of HOSTS) bench.runs(host, instance(1));
    bench.rest();
    const answer = bench.say({ kind: "abort", actor: "ops", reason: "" }) as { why: string };
    expect(answer.why).toContain("v1 serves, there is nothing to go back from");
    expect(answer.why).not.toContain("undo");
    expect(describe(bench.rollout, bench.context())).not.toContain("mended");
  });

  test("while the old version is warm, blueGreen says for how long, and that it can go back", () => {
    const bench = splitting(blueGreen({ scaleDownDelayMs: 30_000 }));
    for (const host of HOSTS) bench.runs(host, instance(1, { state: "draining" }), instance(2));
    bench.rest().after(10_000);
    expect(describe(bench.rollout, bench.context())).toBe(
      "v2 takes all of the traffic; v1 is kept warm for 20s more, and `baton rollout abort shop` goes back in one change.",
    );
  });

  test("a weight by hand does not go round blueGreen's approval", () => {
    const bench = splitting(blueGreen({ autoPromotionEnabled: false }));
    expect(bench.say({ kind: "weight", actor: "ops", weight: 1_000 })).toMatchObject({ kind: "refused" });
    expect(weights(bench)).toEqual([0, 0, 0]);
  });
});
