/**
 * A figure of the sidecars' own counts over one window, held against the metric's conditions. A window without requests
 * of the version says nothing of it, whatever is asked: it is inconclusive, never successful.
 *
 * Units  shares 0..1, milliseconds, requests per second; saturation is requests in flight per ready instance.
 */
import type { MetricSpec, TrafficSource } from "../../../proto/contract/spec/analysis.ts";
import type { VersionTraffic } from "../../model/view.ts";
import { answers, bad, difference, NO_TRAFFIC, quantileMs } from "./counts.ts";
import type { AnalysisFacts } from "./facts.ts";
import { judge, noData, type Reading } from "./reading.ts";
import { count, figure, times } from "./words.ts";

const QUANTILES = { p50: 0.5, p90: 0.9, p95: 0.95, p99: 0.99 } as const;

export function versionOf(source: TrafficSource, facts: AnalysisFacts): string | null {
  return source.version === "canary" ? facts.canary : facts.stable;
}

export function readTraffic(
  spec: MetricSpec,
  source: TrafficSource,
  since: Readonly<Record<string, VersionTraffic>>,
  ms: number,
  facts: AnalysisFacts,
): Reading {
  const version = versionOf(source, facts);
  if (version === null) return noData("there is no stable version to measure");
  const window = difference(facts.traffic[version] ?? NO_TRAFFIC, since[version] ?? NO_TRAFFIC);
  const { requests } = window;
  if (requests === 0) return noData(`${version} had no requests in the last ${figure(ms / 1_000)} s`);
  const failed = Math.min(bad(window), requests);
  const among = `${count(failed)} of ${times(requests, "request")} failed`;
  switch (source.of) {
    case "successRate":
      return judge(
        spec,
        1 - failed / requests,
        `successRate of ${version} is ${figure(1 - failed / requests)} (${among})`,
      );
    case "errorRate":
      return judge(spec, failed / requests, `errorRate of ${version} is ${figure(failed / requests)} (${among})`);
    case "requestRate": {
      const rate = requests / (ms / 1_000);
      return judge(spec, rate, `${version} has ${figure(rate)} requests/s`);
    }
    case "saturation": {
      const ready = facts.ready[version] ?? 0;
      if (ready === 0) return noData(`${version} has no ready instance`);
      const perInstance = (facts.inFlight[version] ?? 0) / ready;
      return judge(spec, perInstance, `${version} has ${figure(perInstance)} requests in flight per ready instance`);
    }
    case "p50":
    case "p90":
    case "p95":
    case "p99": {
      const latency = quantileMs(window.latency, QUANTILES[source.of]);
      if (latency === null) return noData(`${version} gave no answers in the last ${figure(ms / 1_000)} s`);
      const of = times(answers(window.latency), "answer");
      return judge(spec, latency, `${source.of} of ${version} is ${figure(latency)} ms in ${of}`);
    }
  }
}
