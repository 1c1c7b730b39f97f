/** Facts and specs for the judge's tests: small, with only what a test is about said. */
import type { AnalysisSpec, MetricSource, MetricSpec } from "../../../proto/contract/spec/analysis.ts";
import type { AnalysisFacts } from "../../../control/rollout/analysis/run.ts";
import type { VersionTraffic } from "../../../control/model/view.ts";
import { parseCondition } from "../../../proto/contract/spec/condition.ts";

export function condition(text: string) {
  const parsed = parseCondition(text);
  if ("wrong" in parsed) throw new Error(parsed.wrong);
  return parsed.value;
}

export const sequential = (of: "errors" | "latency" = "errors", minRequests = 100): MetricSource => ({
  kind: "sequential",
  of,
  alpha: 0.01,
  minRequests,
});

export function metric(options: Partial<MetricSpec> & { readonly source: MetricSource }): MetricSpec {
  return {
    name: "errors",
    intervalMs: 5_000,
    initialDelayMs: 0,
    count: 0,
    failureLimit: 0,
    inconclusiveLimit: 0,
    consecutiveErrorLimit: 4,
    success: null,
    failure: null,
    critical: true,
    dryRun: false,
    ...options,
  };
}

export const spec = (durationMs: number, ...metrics: MetricSpec[]): AnalysisSpec => ({ durationMs, metrics });

export const traffic = (requests: number, errors = 0, latency: VersionTraffic["latency"] = []): VersionTraffic => ({
  requests,
  errors,
  lost: 0,
  latency,
});

export function facts(now: number, options: Partial<AnalysisFacts> = {}): AnalysisFacts {
  return {
    now,
    service: "shop",
    canary: "v2",
    stable: "v1",
    traffic: {},
    inFlight: {},
    ready: {},
    measurements: [],
    ...options,
  };
}
