import { describe, expect, test } from "vitest";
import type { Host } from "../../../control/model/service.ts";
import type { Plan } from "../../../control/plan/types.ts";
import { walk } from "../../../control/plan/walk.ts";
import { placed } from "../../../control/desired/placement.ts";
import { EVERY_REQUEST } from "../../../proto/contract/spec/types.ts";
import type {
  BlueGreenStrategy,
  CanaryStep,
  CanaryStrategy,
  MetricSpec,
  StrategySpec,
} from "../../../proto/contract/spec/types.ts";
import { host, revision, spec, strategy as rolling } from "../../support/samples.ts";

const { maxSurge, maxUnavailable, autoRevert, maxErrorRate, minRequests, onPartition, onSupersede } = rolling;
const common = {
  ...{ maxSurge, maxUnavailable, autoRevert, maxErrorRate, minRequests, onPartition, onSupersede },
  ...{ minHealthyMs: 10_000, healthyDeadlineMs: 60_000, progressDeadlineMs: 120_000 },
  ...{ rollbackWindow: 0, analysis: null },
};

const canary = (steps: readonly CanaryStep[], changes: Partial<CanaryStrategy> = {}): CanaryStrategy => ({
  ...{ ...common, kind: "canary", trafficRouting: "weighted", stickiness: null, steps },
  ...changes,
});

const blueGreen = (changes: Partial<BlueGreenStrategy>): BlueGreenStrategy => ({
  ...{ ...common, kind: "blueGreen", previewRoute: [], prePromotionAnalysis: null, autoPromotionEnabled: true },
  ...{ autoPromotionMs: null, postPromotionAnalysis: null, scaleDownDelayMs: 30_000 },
  ...changes,
});

const errors: MetricSpec = {
  ...{ name: "errors", source: { kind: "sequential", of: "errors", alpha: 0.05, minRequests: 100 } },
  ...{ intervalMs: 5_000, initialDelayMs: 0, count: 0, failureLimit: 0, inconclusiveLimit: 10 },
  ...{ consecutiveErrorLimit: 3, success: null, failure: null, critical: true, dryRun: false },
};

interface Fleet {
  readonly hosts?: number;
  readonly change?: (host: Host) => Host;
  readonly lost?: readonly string[];
  readonly version?: string;
  readonly first?: boolean;
  readonly fastTrack?: boolean;
  readonly enough?: () => boolean;
  /** A host that the target alone is placed on. */
  readonly only?: string;
}

function planOf(strategy: StrategySpec, fleet: Fleet = {}): Plan {
  const { hosts: count = 4, change = (one: Host): Host => one, lost = [], version = "v2" } = fleet;
  const named = (n: number): Host => change(host(`host-${String(n)}`, { ports: { "shop/0": 8_080 } }));
  const hosts = [host("gateway-1", { role: "gateway" }), ...Array.from({ length: count }, (_, n) => named(n + 1))];
  const from = fleet.first === true ? null : revision(1);
  const to = revision(2, { version, spec: spec({ version, strategy }) });
  const anywhere = fleet.only === undefined ? to.spec : { ...to.spec, placement: { hosts: [fleet.only], labels: {} } };
  const walking = walk(
    {
      beginning: {
        ...{ id: "plan", service: "shop", from, to, hosts: placed(anywhere, hosts) },
        ...{ fromHosts: from === null ? [] : placed(from.spec, hosts), now: 1_000_000, actor: "ann", epoch: 1 },
        fastTrack: fleet.fastTrack ?? false,
      },
      service: { name: "shop", stable: from === null ? 0 : 1, previous: 0, newest: 2 },
      revisions: from === null ? [to] : [from, to],
      hosts,
      lost,
    },
    fleet.enough ?? (() => false),
  );
  for (;;) {
    const next = walking.next();
    if (next.done === true) return next.value;
  }
}

describe("a rolling update", () => {
  test("with surge: a host a step, capacity is kept, one process more than before", () => {
    const plan = planOf({ ...rolling, minHealthyMs: 10_000 });
    expect(plan).toMatchObject({ outcome: "Succeeded", minCapacityPercent: 100, maxInstances: 5, maxHostsOut: 0 });
    expect(plan.steps.slice(0, 4).map(({ hosts, weight }) => [hosts, weight])).toEqual([
      [["host-1"], 2_500],
      [["host-2"], 5_000],
      [["host-3"], 7_500],
      [["host-4"], 10_000],
    ]);
    // Each is ready for 10 s before it takes over, and serves for 10 s before the next begins.
    expect(plan.steps.slice(0, 4).map(({ atMs }) => atMs)).toEqual([0, 20_000, 40_000, 60_000]);
    expect(plan.warnings).toEqual([
      "hosts that are moved run both versions: up to 5 processes at once, where 4 are needed otherwise",
    ]);
  });

  test("in place: the hosts that are out are named, and what is left of the capacity is said", () => {
    const none = { kind: "count", value: 0 } as const;
    const plan = planOf({ ...rolling, maxSurge: none, maxUnavailable: { kind: "percent", value: 50 } });
    expect(plan).toMatchObject({ outcome: "Succeeded", minCapacityPercent: 50, maxInstances: 4, maxHostsOut: 2 });
    expect(plan.steps[0]).toMatchObject({ hosts: ["host-1", "host-2"], hostsOut: ["host-1", "host-2"] });
    expect(plan.steps[0]?.text).toBe("host-1 and host-2: out of routing, v1 stops, v2 starts, back into routing");
    expect(plan.warnings[0]).toBe(
      "capacity goes down to 50 % on the way, with 2 hosts out of routing at once; a larger maxSurge keeps it up",
    );
  });

  test("one host first, then the others at their distance", () => {
    const surge = { kind: "count", value: 4 } as const;
    const plan = planOf({
      ...rolling,
      ...common,
      maxSurge: surge,
      minHealthyMs: 0,
      firstHostMs: 60_000,
      staggerMs: 5_000,
    });
    expect(plan.steps.slice(0, 4).map(({ atMs }) => atMs)).toEqual([0, 60_000, 65_000, 70_000]);
  });

  test("hosts that are held back on purpose are not taken for stuck, however short the progress deadline", () => {
    const quick = { ...rolling, ...common, minHealthyMs: 0, progressDeadlineMs: 60_000 };
    expect(planOf({ ...quick, firstHostMs: 600_000 }).outcome).toBe("Succeeded");
    expect(planOf({ ...quick, staggerMs: 600_000 }).outcome).toBe("Succeeded");
    expect(planOf(blueGreen({ progressDeadlineMs: 60_000, scaleDownDelayMs: 600_000 })).outcome).toBe("Succeeded");
  });

  test("the first rollout starts everywhere at once, and nothing can be missing", () => {
    const plan = planOf(rolling, { first: true });
    expect(plan).toMatchObject({ outcome: "Succeeded", minCapacityPercent: 100, maxInstances: 4 });
    expect(plan.steps[0]).toMatchObject({ hosts: ["host-1", "host-2", "host-3", "host-4"], newServing: 4 });
  });
});

describe("a canary", () => {
  const steps: readonly CanaryStep[] = [
    { kind: "setWeight", weight: 2_000 },
    { kind: "analysis", analysis: { metrics: [errors], durationMs: 120_000 } },
    { kind: "pause", durationMs: null },
    { kind: "setHeaderRoute", route: { name: "qa", matches: [EVERY_REQUEST] } },
    { kind: "setWeight", weight: 6_000 },
    { kind: "pause", durationMs: 600_000 },
  ];

  test("by weight: every step with its share, its time at the earliest, and what an operator has to say", () => {
    const plan = planOf(canary(steps));
    expect(plan).toMatchObject({ outcome: "Succeeded", minCapacityPercent: 100, maxInstances: 8, maxHostsOut: 0 });
    expect(plan.steps.map(({ text, weight, waitsFor, atMs }) => [text, weight / 100, waitsFor, atMs / 1_000])).toEqual([
      ["v2 starts beside v1 on every host, without traffic", 0, "", 0],
      ["step 1 of 7: setWeight 20 %", 20, "", 40],
      ["step 2 of 7: analysis errors", 20, "2m of analysis, at least", 40],
      ["step 3 of 7: pause", 20, "an operator: `baton rollout promote shop`", 160],
      ["step 4 of 7: setHeaderRoute qa", 20, "", 160],
      ["step 5 of 7: setWeight 60 %", 60, "", 160],
      ["step 6 of 7: pause 10m", 60, "10m", 160],
      ["step 7 of 7: setWeight 100 %", 100, "", 760],
      ["v2 takes over, v1 stays warm for 10s, then drains and stops", 100, "", 760],
      ["every host serves v2", 100, "10s of bake (minHealthyTime)", 770],
      ["v2 is stable", 100, "", 780],
    ]);
    expect(plan.warnings).toEqual([
      "every host runs both versions until the end: up to 8 processes at once, where 4 are needed otherwise",
    ]);
  });

  test("by hosts: a weight is the share of hosts that have moved, and no host runs both for longer than its move", () => {
    const shares: readonly CanaryStep[] = [
      { kind: "setWeight", weight: 2_000 },
      { kind: "pause", durationMs: 60_000 },
      { kind: "setWeight", weight: 5_000 },
    ];
    const plan = planOf(canary(shares, { trafficRouting: "hosts" }));
    expect(plan).toMatchObject({ outcome: "Succeeded", minCapacityPercent: 100, maxInstances: 5 });
    expect(plan.steps.slice(0, 4).map(({ hosts, weight }) => [hosts, weight])).toEqual([
      [["host-1"], 2_500],
      [[], 2_500],
      [["host-2"], 5_000],
      [["host-3", "host-4"], 10_000],
    ]);
  });

  test("an analysis in the background holds nothing up, as it is taken to succeed", () => {
    const analysis = { metrics: [errors], durationMs: 0, startingStep: 0 };
    expect(planOf(canary(steps, { analysis }))).toMatchObject({ outcome: "Succeeded", lastsMs: 780_000 });
  });

  test("on the fast track it is one step, without analysis and pauses", () => {
    const plan = planOf(canary(steps), { fastTrack: true });
    expect(plan.steps.filter(({ text }) => text.startsWith("step")).map(({ text }) => text)).toEqual([
      "step 1 of 1: setWeight 100 %",
    ]);
    expect(plan.steps.some(({ waitsFor }) => /operator|analysis/.test(waitsFor))).toBe(false);
  });
});

test("blueGreen: all or nothing, on approval, with the old version warm for scaleDownDelay", () => {
  const analysis = { metrics: [{ ...errors, count: 3, initialDelayMs: 1_000 }], durationMs: 60_000 };
  const plan = planOf(blueGreen({ prePromotionAnalysis: analysis, autoPromotionEnabled: false }));
  expect(plan.outcome).toBe("Succeeded");
  expect(new Set(plan.steps.map(({ weight }) => weight))).toEqual(new Set([0, 10_000]));
  expect(plan.steps.map(({ waitsFor }) => waitsFor)).toEqual([
    "",
    "16s of analysis, at least",
    "an operator: `baton rollout promote shop`",
    "",
    "",
    "10s of bake (minHealthyTime)",
    "",
  ]);
  const over = plan.steps.find(({ text }) => text.startsWith("v2 takes over"));
  const after = plan.steps.find(({ text }) => text === "every host serves v2");
  expect((after?.atMs ?? 0) - (over?.atMs ?? 0)).toBe(30_000);
});

describe("warnings", () => {
  const warned = (fleet: Fleet): readonly string[] => planOf(rolling, fleet).warnings;

  test("of hosts that would hold it up", () => {
    expect(warned({ lost: ["host-2"] })[0]).toBe(
      "host-2 is not heard from: the rollout would pause (FleetPartitioned) until it is",
    );
    const change = (one: Host): Host => (one.name === "host-3" ? { ...one, adminState: "drain" } : one);
    expect(warned({ change })[0]).toMatch(/^host-3 is drained by an operator/);
  });

  test("of a label that is given twice: nothing could be judged by it", () => {
    expect(warned({ version: "v1" })[0]).toMatch(/^both revisions are labelled v1: /);
  });

  test("of a placement that no host matches: it is told as far as it goes", () => {
    const plan = planOf(rolling, { hosts: 0 });
    expect(plan.warnings[0]).toMatch(/^no host matches the placement/);
    expect(plan.outcome).toMatch(/^stops: No host matches the placement of shop/);
    const typo = planOf(rolling, { only: "hots-1" });
    expect(typo.warnings[0]).toBe(
      "no host matches the placement: the rollout begins when one connects; until then v1 serves where it does",
    );
    expect(typo).toMatchObject({ minCapacityPercent: 100, maxHostsOut: 0 });
  });
});

test("a plan that takes too long is told as far as it was worked out, and says so", () => {
  let left = 30;
  const plan = planOf({ ...rolling, minHealthyMs: 10_000 }, { hosts: 20, enough: () => --left < 0 });
  expect(plan.steps.length).toBeGreaterThan(2);
  expect(plan.outcome).toBe("told no further: what is left goes on in the same way");
});
