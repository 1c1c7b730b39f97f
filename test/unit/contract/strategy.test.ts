import { expect, test } from "vitest";
import { DEFAULTS } from "../../../proto/contract/spec/defaults.ts";
import { specToDocument } from "../../../proto/contract/spec/document.ts";
import type { CanaryStrategy, StrategySpec } from "../../../proto/contract/spec/types.ts";
import { problemsOf, specOf, withLine } from "../../support/service-document.ts";

const strategyOf = (said: string): StrategySpec => specOf(withLine(`strategy: ${said}`)).strategy;
const canaryOf = (said: string): CanaryStrategy => {
  const strategy = strategyOf(`{ canary: ${said} }`);
  if (strategy.kind !== "canary") throw new Error(strategy.kind);
  return strategy;
};

/** Problems without file and place, which every one of them has. */
function wrongWith(said: string): string[] {
  return problemsOf(withLine(`strategy: ${said}`)).map((line) => {
    expect(line).toMatch(/^shop\.yaml:\d+:\d+: spec\.strategy/);
    return line.replace(/^shop\.yaml:\d+:\d+: spec\.strategy\.?/, "");
  });
}

test("without a strategy a rollout is rolling, and without keys it has the same defaults", () => {
  const rolling = specOf(withLine("")).strategy;
  expect(rolling).toMatchObject({ kind: "rolling", maxSurge: { kind: "count", value: 1 }, analysis: null });
  expect(strategyOf("{}")).toEqual(rolling);
  expect(strategyOf("{ rolling: {} }")).toEqual(rolling);
});

test("a rolling update takes zones in order, one host first, with a pause between", () => {
  expect(strategyOf("{ rolling: { stagger: 30s, orderBy: zone, firstHostTime: 5m } }")).toMatchObject({
    staggerMs: 30_000,
    orderBy: "zone",
    firstHostMs: 300_000,
  });
});

test("a canary of which nothing is said goes by small steps, and is judged", () => {
  const canary = canaryOf("{}");
  expect(canary.trafficRouting).toBe("weighted");
  expect(canary.maxSurge).toEqual({ kind: "percent", value: 100 });
  expect(canary.steps.flatMap((step) => (step.kind === "setWeight" ? [step.weight] : []))).toEqual([500, 2_500, 5_000]);
  expect(canary.steps.filter((step) => step.kind === "pause")).toHaveLength(3);
  expect(canary.analysis).toMatchObject({
    startingStep: 0,
    metrics: [
      {
        name: "errors",
        source: { kind: "sequential", of: "errors", alpha: 0.01, minRequests: 100 },
        intervalMs: 10_000,
      },
      { name: "latency", source: { kind: "sequential", of: "latency", alpha: 0.01, minRequests: 100 } },
    ],
  });
});

test("steps alone are judged; an analysis of one's own, or none said aloud, stands in its place", () => {
  const analysis = "analysis: { metrics: [{ name: p99, traffic: { of: p99 }, successCondition: result < 9 }] }";
  expect(canaryOf("{ steps: [{ setWeight: 20 }] }").analysis).toEqual(DEFAULTS.canary.analysis);
  expect(canaryOf(`{ steps: [{ setWeight: 20 }, { ${analysis} }] }`).analysis).toBeNull();
  expect(canaryOf("{ analysis: { metrics: [] } }").analysis).toBeNull();
  expect(canaryOf(`{ ${analysis} }`).analysis?.metrics.map((metric) => metric.name)).toEqual(["p99"]);
});

test("that nothing is judged is written out, so that it stays so when it is read again", () => {
  const spec = specOf(withLine("strategy: { canary: { analysis: { metrics: [] }, steps: [] } }"));
  const again = specOf(JSON.stringify(specToDocument(spec)));
  expect(again).toEqual(spec);
  expect(again.strategy).toMatchObject({ analysis: null, steps: [] });
});

test("hosts that move whole surge one at a time, as in a rolling update", () => {
  expect(canaryOf("{ trafficRouting: hosts }").maxSurge).toEqual({ kind: "count", value: 1 });
  expect(canaryOf("{ trafficRouting: hosts, maxSurge: 50% }").maxSurge).toEqual({ kind: "percent", value: 50 });
});

test("each step becomes what it says", () => {
  const { strategy } = specOf(
    withLine(`strategy:
    canary:
      stickiness: { header: X-User-Id }
      steps:
        - setWeight: 0.01
        - pause: {}
        - pause: { duration: 10m }
        - setHeaderRoute: { name: beta, matches: [{ method: POST }] }
        - setHeaderRoute: { name: beta }
        - setMirrorRoute: { name: shadow, percentage: 12.5 }
        - setMirrorRoute: { name: shadow, percentage: 0 }
        - setWeight: 100`),
  );
  const { steps, stickiness } = strategy as CanaryStrategy;
  const post = { path: { type: "PathPrefix", value: "/" }, method: "POST", headers: [], queryParams: [] };
  expect(stickiness).toEqual({ kind: "header", name: "x-user-id" });
  expect(steps).toEqual([
    { kind: "setWeight", weight: 1 },
    { kind: "pause", durationMs: null },
    { kind: "pause", durationMs: 600_000 },
    { kind: "setHeaderRoute", route: { name: "beta", matches: [post] } },
    { kind: "setHeaderRoute", route: { name: "beta", matches: [] } },
    { kind: "setMirrorRoute", route: { name: "shadow", matches: [], percentage: 1_250 } },
    { kind: "setMirrorRoute", route: { name: "shadow", matches: [], percentage: 0 } },
    { kind: "setWeight", weight: 10_000 },
  ]);
});

test("blueGreen promotes by itself unless it is told to wait, and keeps the old version warm", () => {
  expect(strategyOf("{ blueGreen: {} }")).toMatchObject({
    maxSurge: { kind: "percent", value: 100 },
    previewRoute: [],
    prePromotionAnalysis: null,
    autoPromotionEnabled: true,
    autoPromotionMs: null,
    scaleDownDelayMs: 30_000,
    analysis: null,
  });
  const preview = "previewRoute: { matches: [{ headers: [{ name: x-preview, value: '1' }] }] }";
  const waits = strategyOf(`{ blueGreen: { autoPromotionEnabled: false, autoPromotionSeconds: 1.5, ${preview} } }`);
  expect(waits).toMatchObject({ autoPromotionEnabled: false, autoPromotionMs: 1_500 });
  expect(waits.kind === "blueGreen" && waits.previewRoute).toHaveLength(1);
});

test.each([
  ["{ rolling: {}, canary: {} }", ": expected only one of rolling, canary and blueGreen"],
  ["{ bluegreen: {} }", "bluegreen: unknown key; did you mean blueGreen?"],
  [
    "{ rolling: { onSupersede: rollback } }",
    'rolling.onSupersede: expected one of retarget, rollBackFirst, got text "rollback"; did you mean rollBackFirst?',
  ],
  ["{ rolling: { rollbackWindow: 3 } }", "rolling.rollbackWindow: expected a mapping, got number 3"],
  ["{ rolling: { orderBy: 'a b' } }", 'rolling.orderBy: text "a b" is not a label\'s key'],
  [
    "{ blueGreen: { autoPromotionSeconds: 0 } }",
    "blueGreen.autoPromotionSeconds: expected a number of seconds above 0, got number 0",
  ],
  [
    "{ blueGreen: { autoPromotionSeconds: 30s } }",
    'blueGreen.autoPromotionSeconds: expected a number of seconds above 0, got text "30s"',
  ],
  ["{ blueGreen: { previewRoute: {} } }", "blueGreen.previewRoute.matches: missing; expected a list of matches"],
  [
    "{ blueGreen: { minHealthyTime: 2m, healthyDeadline: 1m } }",
    "blueGreen.minHealthyTime: 2m is longer than healthyDeadline, 1m",
  ],
  [
    "{ blueGreen: { prePromotionAnalysis: { metrics: [{ name: e, sequential: { of: errors } }] } } }",
    "blueGreen.prePromotionAnalysis.metrics[0].sequential: without a previewRoute the new version gets no requests to judge before the switch",
  ],
  [
    "{ blueGreen: { postPromotionAnalysis: { metrics: [{ name: e, sequential: { of: errors } }] } } }",
    "blueGreen.postPromotionAnalysis.metrics[0].sequential: after the switch no requests of the old version are left to compare with; use traffic",
  ],
])("what can't be meant is refused in one line: %s", (said, expected) => {
  expect(wrongWith(said)).toEqual([expected]);
});

const ERRORS = "metrics: [{ name: e, sequential: { of: errors } }]";

test.each([
  ["steps: [{ setWeight: 20, pause: {} }]", "steps[0]: expected only one of setWeight and pause: a step is one thing"],
  [
    "steps: [{}]",
    "steps[0]: expected one of setWeight, pause, analysis, setHeaderRoute, setMirrorRoute: a step is one thing",
  ],
  ["steps: [{ setweight: 20 }]", "steps[0].setweight: unknown key; did you mean setWeight?"],
  ["steps: [{ setWeight: 20% }]", 'steps[0].setWeight: expected a percentage from 0 to 100 such as 20, got text "20%"'],
  ["steps: [{ setWeight: 101 }]", "steps[0].setWeight: expected a percentage from 0 to 100 such as 20, got number 101"],
  ["steps: [{ setWeight: 0.001 }]", "steps[0].setWeight: finer than 0.01 percent"],
  ["steps: [{ pause: { duration: 10 } }]", "steps[0].pause.duration: expected a duration such as 10m, got number 10"],
  ["steps: [{ pause: }]", "steps[0].pause: expected a mapping, got nothing"],
  ["steps: [pause]", 'steps[0]: expected a mapping, got text "pause"'],
  [
    "steps: [{ setHeaderRoute: { name: beta, match: [] } }]",
    "steps[0].setHeaderRoute.match: unknown key; did you mean matches?",
  ],
  [
    "steps: [{ setHeaderRoute: { name: beta } }]",
    "steps[0].setHeaderRoute.name: no route beta is there by now, and without matches it is removed",
  ],
  [
    "steps: [{ setMirrorRoute: { name: m, percentage: 0 } }]",
    "steps[0].setMirrorRoute.name: no route m is there by now, and percentage 0 removes it",
  ],
  [
    "steps: [{ setMirrorRoute: { name: m } }]",
    "steps[0].setMirrorRoute.percentage: missing; expected a percentage from 0 to 100 such as 20",
  ],
  [
    "steps: [{ setHeaderRoute: { name: r, matches: [{}] } }, { setMirrorRoute: { name: r, percentage: 5 } }]",
    "steps[1].setMirrorRoute.name: r is a setHeaderRoute already; give each its own name",
  ],
  [
    "trafficRouting: hosts, steps: [{ setMirrorRoute: { name: r, percentage: 5 } }]",
    "steps[0].setMirrorRoute: with trafficRouting: hosts no host runs both versions to choose from; take it out, or say weighted",
  ],
  [
    "trafficRouting: hosts, stickiness: { cookie: {} }",
    "stickiness: with trafficRouting: hosts no host runs both versions: a caller's host decides; take it out, or say weighted",
  ],
  [
    `steps: [{ analysis: { ${ERRORS} } }]`,
    "steps[0].analysis.metrics[0].sequential: the canary gets no requests at this step to judge; setWeight stands before an analysis",
  ],
  [
    `steps: [{ setWeight: 100 }, { analysis: { ${ERRORS} } }]`,
    "steps[1].analysis.metrics[0].sequential: at setWeight 100 no stable version is left to compare with; use traffic",
  ],
  [
    `analysis: { startingStep: 2, ${ERRORS} }, steps: [{ setWeight: 5 }, { setWeight: 9 }]`,
    "analysis.startingStep: 2, and the last step is 1",
  ],
  ["stickiness: {}", "stickiness: expected one of cookie, header"],
  ["stickiness: { cookie: {}, header: a }", "stickiness: expected only one of cookie and header"],
  ["stickiness: { cookie: { name: 'a;b' } }", 'stickiness.cookie.name: "a;b" is not a cookie\'s name'],
  [
    "stickiness: { cookie: { name: __Host-a } }",
    "stickiness.cookie.name: browsers take __Host- and __Secure- over TLS alone",
  ],
  [
    "stickiness: { cookie: { maxAge: 10ms } }",
    "stickiness.cookie.maxAge: expected a duration of at least 1s, got 10ms",
  ],
])("what a canary can't mean is refused in one line: %s", (said, expected) => {
  expect(wrongWith(`{ canary: { ${said} } }`)).toEqual([`canary.${expected}`]);
});

test("a mirror's share may be raised and lowered step by step, and its name taken again once it is gone", () => {
  const steps = [5, 50, 0, 7].map((share) => `{ setMirrorRoute: { name: m, percentage: ${share} } }`);
  expect(
    canaryOf(`{ steps: [${steps.join(", ")}, { setMirrorRoute: { name: m, percentage: 0 } }] }`).steps,
  ).toHaveLength(5);
  expect(wrongWith(`{ canary: { steps: [${steps[0]!}, ${steps[2]!}, ${steps[2]!}] } }`)).toEqual([
    expect.stringMatching(/^canary\.steps\[2\]\.setMirrorRoute\.name: no route m is there by now/),
  ]);
});

test("more routes at once than an agent takes are refused", () => {
  const steps = Array.from({ length: 17 }, (_, i) => `{ setMirrorRoute: { name: m${i}, percentage: 1 } }`);
  expect(wrongWith(`{ canary: { steps: [${steps.join(", ")}] } }`)).toEqual([
    "canary.steps[16].setMirrorRoute: more than 16 routes at once",
  ]);
});

test("a mistyped key is one mistake, and hides no other one", () => {
  expect(wrongWith("{ canary: { steps: [{ setWieght: 5, pause: { duration: 1 } }] } }")).toEqual([
    "canary.steps[0].setWieght: unknown key; did you mean setWeight?",
    "canary.steps[0].pause.duration: expected a duration such as 10m, got number 1",
  ]);
});
