/** `strategy` and all that stands in it, back as a document: every default written out. */
import { formatDuration } from "../units.ts";
import type { CountOrPercent } from "../units.ts";
import { match } from "./document-rules.ts";
import type { AnalysisSpec, MetricSource, MetricSpec } from "./analysis.ts";
import type { MatchSpec } from "./types.ts";
import type { BackgroundAnalysis, CanaryStep, CommonStrategy, StickySpec, StrategySpec } from "./strategy.ts";

type Document = Readonly<Record<string, unknown>>;

export function strategy(s: StrategySpec): Document {
  switch (s.kind) {
    case "rolling":
      return {
        rolling: {
          ...common(s),
          stagger: formatDuration(s.staggerMs),
          ...(s.orderBy === "" ? {} : { orderBy: s.orderBy }),
          firstHostTime: formatDuration(s.firstHostMs),
          analysis: background(s.analysis),
        },
      };
    case "canary":
      return {
        canary: {
          ...common(s),
          trafficRouting: s.trafficRouting,
          ...(s.stickiness === null ? {} : { stickiness: stickiness(s.stickiness) }),
          analysis: {
            ...(s.analysis === null ? {} : { startingStep: s.analysis.startingStep }),
            ...background(s.analysis),
          },
          steps: s.steps.map(step),
        },
      };
    case "blueGreen":
      return {
        blueGreen: {
          ...common(s),
          ...(s.previewRoute.length === 0 ? {} : { previewRoute: { matches: s.previewRoute.map(match) } }),
          ...(s.prePromotionAnalysis === null ? {} : { prePromotionAnalysis: analysis(s.prePromotionAnalysis) }),
          autoPromotionEnabled: s.autoPromotionEnabled,
          ...(s.autoPromotionMs === null ? {} : { autoPromotionSeconds: s.autoPromotionMs / 1_000 }),
          ...(s.postPromotionAnalysis === null ? {} : { postPromotionAnalysis: analysis(s.postPromotionAnalysis) }),
          scaleDownDelay: formatDuration(s.scaleDownDelayMs),
          analysis: background(s.analysis),
        },
      };
  }
}

function common(s: CommonStrategy): Document {
  return {
    maxSurge: count(s.maxSurge),
    maxUnavailable: count(s.maxUnavailable),
    minHealthyTime: formatDuration(s.minHealthyMs),
    healthyDeadline: formatDuration(s.healthyDeadlineMs),
    progressDeadline: formatDuration(s.progressDeadlineMs),
    autoRevert: s.autoRevert,
    maxErrorRate: s.maxErrorRate,
    minRequests: s.minRequests,
    onPartition: s.onPartition,
    onSupersede: s.onSupersede,
    rollbackWindow: { revisions: s.rollbackWindow },
  };
}

const count = (c: CountOrPercent): number | string => (c.kind === "count" ? c.value : `${String(c.value)}%`);

const stickiness = (s: StickySpec): Document =>
  s.kind === "header" ? { header: s.name } : { cookie: { name: s.name, maxAge: formatDuration(s.maxAgeMs) } };

function step(s: CanaryStep): Document {
  switch (s.kind) {
    case "setWeight":
      return { setWeight: s.weight / 100 };
    case "pause":
      return { pause: s.durationMs === null ? {} : { duration: formatDuration(s.durationMs) } };
    case "analysis":
      return { analysis: analysis(s.analysis) };
    case "setHeaderRoute":
      return { setHeaderRoute: { name: s.route.name, ...matches(s.route.matches) } };
    case "setMirrorRoute": {
      const { name, percentage } = s.route;
      return { setMirrorRoute: { name, percentage: percentage / 100, ...matches(s.route.matches) } };
    }
  }
}

const matches = (all: readonly MatchSpec[]): Document => (all.length === 0 ? {} : { matches: all.map(match) });

/** No metrics: none, where a document that says nothing gets the default ones. */
const background = (a: BackgroundAnalysis | null): Document => ({ metrics: a === null ? [] : a.metrics.map(metric) });

const analysis = (a: AnalysisSpec): Document => ({
  metrics: a.metrics.map(metric),
  ...(a.durationMs === 0 ? {} : { duration: formatDuration(a.durationMs) }),
});

function metric(m: MetricSpec): Document {
  return {
    name: m.name,
    [m.source.kind]: source(m.source),
    interval: formatDuration(m.intervalMs),
    initialDelay: formatDuration(m.initialDelayMs),
    count: m.count,
    failureLimit: m.failureLimit,
    inconclusiveLimit: m.inconclusiveLimit,
    consecutiveErrorLimit: m.consecutiveErrorLimit,
    ...(m.success === null ? {} : { successCondition: m.success.text }),
    ...(m.failure === null ? {} : { failureCondition: m.failure.text }),
    critical: m.critical,
    dryRun: m.dryRun,
  };
}

function source(s: MetricSource): Document {
  switch (s.kind) {
    case "sequential":
      return { of: s.of, alpha: s.alpha, minRequests: s.minRequests };
    case "traffic":
      return { of: s.of, version: s.version };
    case "prometheus":
      return { address: s.address, query: s.query, timeout: formatDuration(s.timeoutMs) };
    case "webhook":
      return { url: s.url, method: s.method, jsonPath: s.jsonPath, timeout: formatDuration(s.timeoutMs) };
    case "command":
      return { command: [...s.command], timeout: formatDuration(s.timeoutMs) };
  }
}
