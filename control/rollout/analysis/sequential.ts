/**
 * The sequential metric: counts of one window in, evidence and a measurement out. `errors` sets bad requests against
 * requests begun; `latency` sets answers slower than the stable version's own p99 *before this window* against answers.
 * Any threshold keeps the test valid as long as the window itself has no say in it; p99 of everything the stable version
 * answered since the rollout began moves slowly and is known after a few hundred answers.
 *
 * It fails when the e-value reaches metrics/α: with m sequential metrics in one analysis, each gets α/m (Bonferroni).
 */
import type { AnalysisSpec, SequentialSource } from "../../../proto/contract/spec/analysis.ts";
import type { SequentialEvidence } from "../../model/analysis.ts";
import type { VersionTraffic } from "../../model/view.ts";
import { answers, bad, bucketMs, difference, NO_TRAFFIC, quantileBucket, slower } from "./counts.ts";
import { eValue, looksWorse, noEvidence, observe, type Window } from "./evidence.ts";
import type { AnalysisFacts } from "./facts.ts";
import { noData, type Reading } from "./reading.ts";
import { count, figure, share } from "./words.ts";

/** Answers of the stable version before its p99 is taken for one. */
const MIN_ANSWERS = 300;
const SLOW_SHARE = 0.99;
/** The stable version needs a tenth of `minRequests`: set against next to nothing, nothing can be seen. */
const STABLE_PART = 10;

export interface Threshold {
  readonly eValue: number;
  readonly metrics: number;
  readonly alpha: number;
}

export function thresholdOf(spec: AnalysisSpec, source: SequentialSource): Threshold {
  const judging = spec.metrics.filter((metric) => metric.source.kind === "sequential" && !metric.dryRun).length;
  const metrics = Math.max(1, judging);
  return { eValue: metrics / source.alpha, metrics, alpha: source.alpha };
}

export function readSequential(
  source: SequentialSource,
  threshold: Threshold,
  before: SequentialEvidence | null,
  since: Readonly<Record<string, VersionTraffic>>,
  ms: number,
  facts: AnalysisFacts,
): Reading {
  const evidence = before ?? noEvidence();
  const { canary, stable } = facts;
  if (stable === null || stable === canary) {
    return { ...noData(`there is no other version beside ${canary} to compare it with`), evidence };
  }
  const window = (version: string): VersionTraffic =>
    difference(facts.traffic[version] ?? NO_TRAFFIC, since[version] ?? NO_TRAFFIC);
  if (source.of === "errors") {
    const counts = (of: VersionTraffic) => ({ of: of.requests, bad: bad(of) });
    const seen = observe(evidence, { ms, canary: counts(window(canary)), stable: counts(window(stable)) });
    return reading(seen, source, threshold, `${canary} failed`, "requests", stable);
  }
  const earlier = since[stable]?.latency ?? [];
  const bucket = quantileBucket(earlier, SLOW_SHARE);
  if (bucket === null || answers(earlier) < MIN_ANSWERS) {
    const so = `${count(answers(earlier))} of the ${MIN_ANSWERS} answers`;
    return { ...noData(`${stable} has given ${so} that its p99 is read from`), evidence };
  }
  const counts = ({ latency }: VersionTraffic) => ({ of: answers(latency), bad: slower(latency, bucket) });
  const slow: Window = { ms, canary: counts(window(canary)), stable: counts(window(stable)) };
  const limit = `${figure(bucketMs(bucket))} ms, the p99 of ${stable},`;
  return reading(
    observe(evidence, slow),
    source,
    threshold,
    `${canary} took longer than ${limit} for`,
    "answers",
    stable,
  );
}

function reading(
  evidence: SequentialEvidence,
  source: SequentialSource,
  threshold: Threshold,
  did: string,
  what: string,
  stable: string,
): Reading {
  const { canary, stable: beside, peak } = evidence;
  const failed = peak >= threshold.eValue;
  const value = failed ? peak : eValue(evidence);
  const missing = failed ? null : missingOf(evidence, source);
  const metrics = threshold.metrics === 1 ? "" : `${threshold.metrics} metrics, `;
  const message =
    `${did} ${count(canary.bad)} of ${count(canary.requests)} ${what} (${share(canary.bad, canary.requests)}), ` +
    `${stable} ${count(beside.bad)} of ${count(beside.requests)} (${share(beside.bad, beside.requests)}): ` +
    `e-value ${figure(value)} ${failed ? "≥" : "<"} ${figure(threshold.eValue)} (${metrics}α ${threshold.alpha})` +
    (missing === null ? "" : `; ${missing}`);
  return { value, verdict: failed ? "failed" : missing === null ? "successful" : "inconclusive", message, evidence };
}

/** Null, or one clause: how much more has to be seen before a version may pass. */
export function missingOf(evidence: SequentialEvidence | null, source: SequentialSource): string | null {
  const what = source.of === "errors" ? "requests" : "answers";
  const { canary, stable } = evidence ?? noEvidence();
  if (canary.requests < source.minRequests) {
    return `${count(canary.requests)} of the ${count(source.minRequests)} ${what} of the new version that it needs were seen`;
  }
  const beside = Math.max(1, Math.ceil(source.minRequests / STABLE_PART));
  if (stable.requests < beside) {
    return `${count(stable.requests)} of the ${count(beside)} ${what} of the stable version that it needs beside were seen`;
  }
  if (evidence !== null && looksWorse(evidence)) {
    return "the new version has looked worse of late, and whether that is more than one bad spell is not decided yet";
  }
  return null;
}
