/** Any valid strategy, for properties: what `checkCanary` and the schema's own checks let through, at its edges. */
import * as fc from "fast-check";
import { checkCanary, countsCanary } from "../../proto/contract/spec/check-canary.ts";
import { parseCondition } from "../../proto/contract/spec/condition.ts";
import type {
  AnalysisSpec,
  BlueGreenStrategy,
  CanaryStep,
  CanaryStrategy,
  CommonStrategy,
  Condition,
  MetricSource,
  MetricSpec,
  RollingStrategy,
  StrategySpec,
} from "../../proto/contract/spec/types.ts";
import { MAX_DURATION_MS } from "../../proto/contract/units.ts";
import type { CountOrPercent } from "../../proto/contract/units.ts";
import { basisPointsArb, matchArb, stickyArb } from "./arbitrary-match.ts";
import { msArb, textArb, versionArb } from "./arbitrary-text.ts";

const countArb = (min: number): fc.Arbitrary<CountOrPercent> =>
  fc.oneof(
    fc.record({ kind: fc.constant("count" as const), value: fc.integer({ min, max: 1_000 }) }),
    fc.record({ kind: fc.constant("percent" as const), value: fc.integer({ min, max: 100 }) }),
  );

const conditionArb: fc.Arbitrary<Condition> = fc
  .array(
    fc.tuple(
      fc.constantFrom("<", "<=", ">", ">=", "==", "!="),
      fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constantFrom(0.95, 1, -2)),
    ),
    { minLength: 1, maxLength: 3 },
  )
  .map((all) => {
    const parsed = parseCondition(all.map(([op, value]) => `result ${op} ${String(value)}`).join(" && "));
    if ("wrong" in parsed) throw new Error(parsed.wrong);
    return parsed.value;
  });

const sequentialArb: fc.Arbitrary<MetricSource> = fc.record({
  kind: fc.constant("sequential" as const),
  of: fc.constantFrom("errors" as const, "latency" as const),
  alpha: fc.constantFrom(0.01, 0.05, 0.5, 1e-6),
  minRequests: fc.integer({ min: 1, max: 1_000_000 }),
});

const otherSourceArb: fc.Arbitrary<MetricSource> = fc.oneof(
  fc.record({
    kind: fc.constant("traffic" as const),
    of: fc.constantFrom("successRate" as const, "errorRate" as const, "p99" as const, "saturation" as const),
    version: fc.constantFrom("canary" as const, "stable" as const),
  }),
  fc.record({
    kind: fc.constant("prometheus" as const),
    address: fc.constantFrom("http://127.0.0.1:9090", "https://prometheus.test/base"),
    query: fc.constantFrom("up", 'sum(rate(errors_total{version="{{canary}}"}[1m]))', "vector(1) # {{ stable }}"),
    timeoutMs: msArb(1),
  }),
  fc.record({
    kind: fc.constant("webhook" as const),
    url: fc.constantFrom("http://127.0.0.1:8000/check?v={{canary}}", "https://gate.test"),
    method: fc.constantFrom("GET" as const, "POST" as const),
    jsonPath: fc.constantFrom("$", "$.data.value", "$.rows[0]['a b']"),
    timeoutMs: msArb(1),
  }),
  fc.record({
    kind: fc.constant("command" as const),
    command: fc
      .array(
        textArb.filter((t) => !t.includes("{{")),
        { maxLength: 3 },
      )
      .map((words) => ["./check", ...words]),
    timeoutMs: msArb(1),
  }),
);

const metricArb = (durationMs: number): fc.Arbitrary<MetricSpec> => {
  // Without a count, a first measurement must fit into the duration; without a duration, there must be a count.
  const countable = fc.record({
    count: fc.integer({ min: 1, max: 1_000_000 }),
    intervalMs: msArb(100),
    initialDelayMs: msArb(),
  });
  const endless =
    durationMs < 200
      ? countable
      : fc.tuple(msArb(100, durationMs - 100), msArb(0, durationMs)).map(([intervalMs, delay]) => ({
          count: 0,
          intervalMs,
          initialDelayMs: Math.min(delay, durationMs - intervalMs),
        }));
  const limitArb = fc.integer({ min: 0, max: 1_000_000 });
  const rest = fc.record({
    name: versionArb,
    failureLimit: limitArb,
    inconclusiveLimit: limitArb,
    consecutiveErrorLimit: limitArb,
    critical: fc.boolean(),
    dryRun: fc.boolean(),
  });
  const judged = fc.oneof(
    fc.record({ source: sequentialArb, success: fc.constant(null), failure: fc.constant(null) }),
    fc.record({ source: otherSourceArb, success: conditionArb, failure: fc.option(conditionArb) }),
    fc.record({ source: otherSourceArb, success: fc.constant(null), failure: conditionArb }),
  );
  return fc.tuple(fc.oneof(countable, endless), rest, judged).map((parts) => Object.assign({}, ...parts) as MetricSpec);
};

const metricsArb = (durationMs: number): fc.Arbitrary<MetricSpec[]> =>
  fc.uniqueArray(metricArb(durationMs), { minLength: 1, maxLength: 3, selector: (m) => m.name });

const analysisArb: fc.Arbitrary<AnalysisSpec> = fc
  .oneof(msArb(), fc.constant(0))
  .chain((durationMs) => fc.record({ durationMs: fc.constant(durationMs), metrics: metricsArb(durationMs) }));

const backgroundArb = fc.option(
  fc.record({
    startingStep: fc.constant(0),
    durationMs: fc.constant(0),
    metrics: metricsArb(MAX_DURATION_MS),
  }),
);

const commonArb: fc.Arbitrary<CommonStrategy> = fc
  .tuple(msArb(1), msArb(1), msArb(0))
  .map((times) => times.toSorted((a, b) => a - b))
  .chain(([min = 0, healthy = 1, progress = 1]) =>
    fc.record({
      maxSurge: countArb(1),
      maxUnavailable: countArb(0),
      minHealthyMs: fc.constant(min),
      healthyDeadlineMs: fc.constant(Math.max(1, healthy)),
      progressDeadlineMs: fc.constant(Math.max(1, progress)),
      autoRevert: fc.boolean(),
      maxErrorRate: basisPointsArb.map((points) => points / 10_000),
      minRequests: fc.integer({ min: 1, max: 1_000_000 }),
      onPartition: fc.constantFrom("pause" as const, "continue" as const),
      onSupersede: fc.constantFrom("retarget" as const, "rollBackFirst" as const),
      rollbackWindow: fc.integer({ min: 0, max: 1_000 }),
      analysis: backgroundArb,
    }),
  );

const rollingArb: fc.Arbitrary<RollingStrategy> = fc
  .tuple(
    commonArb,
    fc.record({
      kind: fc.constant("rolling" as const),
      staggerMs: msArb(),
      orderBy: fc.constantFrom("", "zone", "example.com/rack"),
      firstHostMs: msArb(),
    }),
  )
  .map(([common, own]) => ({ ...common, ...own }));

const matchesArb = fc.array(matchArb, { maxLength: 2 });

const routeNameArb = fc.constantFrom("beta", "mine", "shadow");

const stepArb: fc.Arbitrary<CanaryStep> = fc.oneof(
  fc.record({ kind: fc.constant("setWeight" as const), weight: basisPointsArb }),
  fc.record({ kind: fc.constant("pause" as const), durationMs: fc.option(msArb(1)) }),
  fc.record({ kind: fc.constant("analysis" as const), analysis: analysisArb }),
  fc.record({
    kind: fc.constant("setHeaderRoute" as const),
    route: fc.record({ name: routeNameArb, matches: matchesArb }),
  }),
  fc.record({
    kind: fc.constant("setMirrorRoute" as const),
    route: fc.record({ name: routeNameArb, matches: matchesArb, percentage: basisPointsArb }),
  }),
);

/** The longest beginning of the steps that nothing is wrong with. */
function mended(canary: CanaryStrategy): CanaryStrategy {
  const steps: CanaryStep[] = [];
  for (const step of canary.steps) {
    if ([...checkCanary({ ...canary, steps: [...steps, step] })].length === 0) steps.push(step);
  }
  return { ...canary, steps };
}

const canaryArb: fc.Arbitrary<CanaryStrategy> = fc
  .tuple(
    commonArb,
    fc.record({
      kind: fc.constant("canary" as const),
      trafficRouting: fc.constantFrom("weighted" as const, "hosts" as const),
      stickiness: fc.option(stickyArb),
      steps: fc.array(stepArb, { maxLength: 6 }),
    }),
    fc.nat(),
  )
  .map(([common, own, start]) => {
    const stickiness = own.trafficRouting === "hosts" ? null : own.stickiness;
    const canary = mended({ ...common, ...own, stickiness });
    if (canary.analysis === null || canary.steps.length === 0) return canary;
    return { ...canary, analysis: { ...canary.analysis, startingStep: start % canary.steps.length } };
  });

const blueGreenArb: fc.Arbitrary<BlueGreenStrategy> = fc
  .tuple(
    commonArb,
    fc.record({
      kind: fc.constant("blueGreen" as const),
      previewRoute: matchesArb,
      prePromotionAnalysis: fc.option(analysisArb),
      autoPromotionEnabled: fc.boolean(),
      autoPromotionMs: fc.option(msArb(1)),
      postPromotionAnalysis: fc.option(analysisArb),
      scaleDownDelayMs: msArb(),
    }),
  )
  .map(([common, own]) => ({ ...common, ...own }))
  .filter((b) => {
    const before = b.prePromotionAnalysis?.metrics ?? [];
    const after = b.postPromotionAnalysis?.metrics ?? [];
    return (
      (b.previewRoute.length > 0 || !before.some((m) => countsCanary(m.source))) &&
      !after.some((m) => m.source.kind === "sequential")
    );
  });

export const strategyArb: fc.Arbitrary<StrategySpec> = fc.oneof(rollingArb, canaryArb, blueGreenArb);
