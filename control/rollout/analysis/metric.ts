/**
 * One metric from its first measurement to its verdict: when it is measured, and what its counts come to. Four kinds of
 * measurement are counted apart, as Argo Rollouts does: an error says nothing of the version, so it uses up no `count`
 * and is tried again sooner; inconclusive is neither good nor bad; without one successful measurement no metric passes.
 *
 * A measurement of the sidecars' counts covers the window since the last one: the first needs an interval to pass. If
 * the controller was away, the window is longer; nothing is measured twice.
 */
import type { MetricSpec } from "../../../proto/contract/spec/analysis.ts";
import type { ExternalMeasurement, Measurement, MetricRun, Verdict } from "../../model/analysis.ts";
import type { VersionTraffic } from "../../model/view.ts";
import { NO_TRAFFIC } from "./counts.ts";
import { noEvidence } from "./evidence.ts";
import type { AnalysisFacts } from "./facts.ts";
import { judgeExternal, noData, type Reading } from "./reading.ts";
import { missingOf, readSequential, type Threshold } from "./sequential.ts";
import { readTraffic, versionOf } from "./traffic.ts";
import { times } from "./words.ts";

const RECENT = 20;
/** Argo's: what could not be measured is tried again after so long, if its interval is not shorter. */
const ERROR_RETRY_MS = 10_000;

const NO_COUNTS = { successful: 0, failed: 0, inconclusive: 0, error: 0, consecutiveErrors: 0 } as const;

/** The analysis that a metric is part of. */
export interface Setting {
  readonly run: string;
  readonly startedAtMs: number;
  readonly facts: AnalysisFacts;
  readonly threshold: Threshold | null;
}

export function beginMetric(spec: MetricSpec, facts: AnalysisFacts): MetricRun {
  const from = facts.now + spec.initialDelayMs;
  const begun: MetricRun = {
    name: spec.name,
    phase: "running",
    message: spec.initialDelayMs > 0 ? "waits for its initialDelay" : "not measured yet",
    nextAtMs: from,
    counts: NO_COUNTS,
    recent: [],
    evidence: spec.source.kind === "sequential" ? noEvidence() : null,
    since: {},
  };
  return windowed(spec) && spec.initialDelayMs === 0 ? baseline(begun, spec, facts) : begun;
}

export function windowed(spec: MetricSpec): boolean {
  return spec.source.kind === "sequential" || spec.source.kind === "traffic";
}

export function numberDue(metric: MetricRun): number {
  return measured(metric) + metric.counts.error + 1;
}

/** What was measured without an error. */
function measured({ counts }: MetricRun): number {
  return counts.successful + counts.failed + counts.inconclusive;
}

/** The same object when nothing is due. `last`: the analysis ends now, so that what was seen since is looked at. */
export function advanceMetric(metric: MetricRun, spec: MetricSpec, setting: Setting, last: boolean): MetricRun {
  if (metric.phase !== "running") return metric;
  return windowed(spec) ? measureWindow(metric, spec, setting, last) : takeExternal(metric, spec, setting);
}

function measureWindow(metric: MetricRun, spec: MetricSpec, setting: Setting, last: boolean): MetricRun {
  const { facts } = setting;
  const isDue = facts.now >= metric.nextAtMs;
  if (!based(metric)) return isDue ? baseline(metric, spec, facts) : metric;
  const ms = facts.now - (metric.recent.at(-1)?.atMs ?? metric.nextAtMs - spec.intervalMs);
  // A part of a window says less of a share or a quantile; to the sequential test all windows are the same.
  const enough = spec.source.kind === "sequential" || measured(metric) === 0 ? ms > 0 : ms >= spec.intervalMs / 2;
  if (!isDue && !(last && enough)) return metric;
  const since = totals(spec, facts);
  return counted({ ...metric, since }, spec, read(metric, spec, setting, ms), facts.now);
}

function read(metric: MetricRun, spec: MetricSpec, { facts, threshold }: Setting, ms: number): Reading {
  const { source } = spec;
  if (source.kind === "sequential" && threshold !== null) {
    return readSequential(source, threshold, metric.evidence, metric.since, ms, facts);
  }
  if (source.kind === "traffic") return readTraffic(spec, source, metric.since, ms, facts);
  throw new Error(`metric ${spec.name} is not measured by windows`);
}

function takeExternal(metric: MetricRun, spec: MetricSpec, { run, startedAtMs, facts }: Setting): MetricRun {
  if (facts.now < metric.nextAtMs) return metric;
  const number = numberDue(metric);
  const found = facts.measurements.find(
    (said) => said.run === run && said.metric === metric.name && said.number === number && said.atMs >= startedAtMs,
  );
  return found === undefined ? metric : counted(metric, spec, external(spec, found), found.atMs);
}

function external(spec: MetricSpec, { outcome }: ExternalMeasurement): Reading {
  switch (outcome.kind) {
    case "value":
      return judgeExternal(spec, outcome.value);
    case "nodata":
      return noData(outcome.message);
    case "error":
      return { value: null, verdict: "error", message: outcome.message };
  }
}

/** Adds one measurement, and ends the metric where its limits say so. */
function counted(metric: MetricRun, spec: MetricSpec, reading: Reading, atMs: number): MetricRun {
  const { value, verdict, message, evidence } = reading;
  const { counts } = metric;
  const measurement: Measurement = { number: numberDue(metric), atMs, value, verdict, message };
  const next: MetricRun = {
    ...metric,
    message,
    counts: {
      ...counts,
      [verdict]: counts[verdict] + 1,
      consecutiveErrors: verdict === "error" ? counts.consecutiveErrors + 1 : 0,
    },
    recent: [...metric.recent.map(brief), measurement].slice(-RECENT),
    evidence: evidence ?? metric.evidence,
    nextAtMs: after(metric.nextAtMs, spec, verdict, atMs),
  };
  return limited(next, spec);
}

/** It is stored with each change of the rollout: of what went well, the newest alone keeps its sentence. */
function brief(measurement: Measurement): Measurement {
  return measurement.verdict === "successful" && measurement.message !== ""
    ? { ...measurement, message: "" }
    : measurement;
}

/** On the beat of the interval; after a measurement that came late, an interval from it. */
function after(dueAtMs: number, spec: MetricSpec, verdict: Verdict, atMs: number): number {
  if (verdict === "error") return atMs + Math.min(spec.intervalMs, ERROR_RETRY_MS);
  const beat = dueAtMs + spec.intervalMs;
  return Math.abs(atMs - dueAtMs) < spec.intervalMs / 2 ? beat : atMs + spec.intervalMs;
}

function limited(metric: MetricRun, spec: MetricSpec): MetricRun {
  const { counts } = metric;
  if (counts.failed > spec.failureLimit) {
    return end(metric, "failed", beyond(metric.message, counts.failed, "failed", "failureLimit", spec.failureLimit));
  }
  // The sequential test begins with too little by its nature: that counts when it ends.
  if (spec.source.kind !== "sequential" && counts.inconclusive > spec.inconclusiveLimit) {
    const { inconclusive } = counts;
    const limit = spec.inconclusiveLimit;
    return end(
      metric,
      "inconclusive",
      beyond(metric.message, inconclusive, "inconclusive", "inconclusiveLimit", limit),
    );
  }
  if (counts.consecutiveErrors > spec.consecutiveErrorLimit) {
    const { consecutiveErrors } = counts;
    const limit = spec.consecutiveErrorLimit;
    return end(metric, "error", beyond(metric.message, consecutiveErrors, "error", "consecutiveErrorLimit", limit));
  }
  return spec.count > 0 && measured(metric) >= spec.count ? closeMetric(metric, spec) : metric;
}

function beyond(message: string, so: number, what: string, name: string, limit: number): string {
  return limit === 0 ? message : `${message}; ${so} measurements ${what}, ${name} is ${limit}`;
}

/** Ends one that no limit ended: with what it has seen. */
export function closeMetric(metric: MetricRun, spec: MetricSpec): MetricRun {
  if (metric.phase !== "running") return metric;
  if (spec.source.kind === "sequential") {
    const missing = missingOf(metric.evidence, spec.source);
    if (missing === null) return end(metric, "successful", metric.message);
    return end(metric, "inconclusive", measured(metric) === 0 ? missing : metric.message);
  }
  const { counts } = metric;
  if (counts.successful > 0) return end(metric, "successful", metric.message);
  if (counts.error > 0 && measured(metric) === 0) return end(metric, "error", metric.message);
  return end(metric, "inconclusive", measured(metric) === 0 ? "it was never measured" : metric.message);
}

/** Null, or one clause: what a version that is to be promoted still owes this metric. */
export function missing(metric: MetricRun, spec: MetricSpec): string | null {
  if (metric.phase === "successful") return null;
  if (spec.source.kind === "sequential") {
    const lacks = missingOf(metric.evidence, spec.source);
    // The newest measurement says the same, with the counts and the e-value before it.
    return lacks === null || measured(metric) === 0 ? lacks : metric.message;
  }
  if (metric.counts.successful > 0) return null;
  return `none of ${times(numberDue(metric) - 1, "measurement")} was successful`;
}

function end(metric: MetricRun, phase: Verdict, message: string): MetricRun {
  return { ...metric, phase, message, nextAtMs: 0 };
}

function based(metric: MetricRun): boolean {
  return Object.keys(metric.since).length > 0;
}

function baseline(metric: MetricRun, spec: MetricSpec, facts: AnalysisFacts): MetricRun {
  return { ...metric, since: totals(spec, facts), message: "not measured yet", nextAtMs: facts.now + spec.intervalMs };
}

/** The totals that the next window is counted from: no more of them than its source needs. */
function totals({ source }: MetricSpec, facts: AnalysisFacts): MetricRun["since"] {
  const sequential = source.kind === "sequential";
  const versions = sequential
    ? [facts.canary, facts.stable]
    : source.kind === "traffic"
      ? [versionOf(source, facts)]
      : [];
  const latency = (sequential && source.of === "latency") || (source.kind === "traffic" && source.of.startsWith("p"));
  const kept: Record<string, VersionTraffic> = { [facts.canary]: NO_TRAFFIC };
  for (const version of versions) {
    if (version === null) continue;
    const total = facts.traffic[version] ?? NO_TRAFFIC;
    kept[version] = latency ? total : { ...total, latency: [] };
  }
  return kept;
}
