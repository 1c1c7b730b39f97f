/**
 * The judge: an analysis from its beginning to its verdict, as a value. Pure and level-triggered: asked twice about the
 * same facts it answers the same, and while no measurement is due it hands back the very run that it was given.
 *
 * A failed critical metric fails the run at once; a failed one that is not critical, or one that ends inconclusive or in
 * errors, ends the run as such (the rollout pauses); `dryRun` has no say. A run ends well when every metric that has a
 * say has ended well, or its time is over and none has failed. The one in the background lasts until `conclude`.
 *
 * Units   milliseconds, the controller's wall clock.
 * Source  Argo Rollouts' AnalysisRun: names and meaning of counts and limits.
 */
import type { AnalysisSpec, MetricSpec } from "../../../proto/contract/spec/analysis.ts";
import type { Millis } from "../../../proto/kernel/clock.ts";
import type { AnalysisRun, MetricRun, Verdict } from "../../model/analysis.ts";
import type { AnalysisFacts, DueMeasurement } from "./facts.ts";
import { advanceMetric, beginMetric, closeMetric, missing, numberDue, windowed } from "./metric.ts";
import { thresholdOf } from "./sequential.ts";

export type { AnalysisFacts, DueMeasurement } from "./facts.ts";

const BACKGROUND = "background";
/** What weighs more in a run's verdict comes first. */
const WORST = ["failed", "error", "inconclusive"] as const;

export function beginRun(id: string, spec: AnalysisSpec, facts: AnalysisFacts): AnalysisRun {
  return {
    id,
    spec,
    phase: "running",
    message: "not measured yet",
    startedAtMs: facts.now,
    endedAtMs: 0,
    metrics: spec.metrics.map((metric) => beginMetric(metric, facts)),
  };
}

export function advanceRun(run: AnalysisRun, facts: AnalysisFacts): AnalysisRun {
  if (run.phase !== "running") return run;
  return advance(run, facts, facts.now >= endsAt(run));
}

/** The background run ends with its rollout: what was seen until now decides. */
export function conclude(run: AnalysisRun, facts: AnalysisFacts): AnalysisRun {
  return run.phase === "running" ? advance(run, facts, true) : run;
}

/**
 * When to advance it again though nothing is reported. A source outside the controller that is due is waited for by its
 * measurement: with `now`, such a moment that has come is left out.
 */
export function wakeAt(run: AnalysisRun, now: Millis = -Infinity): Millis | null {
  if (run.phase !== "running") return null;
  const moments = each(run)
    .filter(([metric, spec]) => metric.phase === "running" && (windowed(spec) || metric.nextAtMs > now))
    .map(([metric]) => metric.nextAtMs);
  const next = Math.min(endsAt(run), ...moments);
  return next === Infinity ? null : next;
}

/** Measurements of sources outside the controller to be taken now; the same until each is handed in. */
export function due(run: AnalysisRun, now: Millis): readonly DueMeasurement[] {
  if (run.phase !== "running") return [];
  return each(run)
    .filter(([metric, spec]) => metric.phase === "running" && !windowed(spec) && metric.nextAtMs <= now)
    .map(([metric, { name, source }]) => ({ run: run.id, metric: name, number: numberDue(metric), source }));
}

/** Asked of the background run when its version is about to be promoted: null, or one clause saying what is missing. */
export function enough(run: AnalysisRun): string | null {
  for (const [metric, spec] of each(run)) {
    const lacks = spec.dryRun ? null : missing(metric, spec);
    if (lacks !== null) return `metric ${metric.name}: ${lacks}`;
  }
  return null;
}

function advance(run: AnalysisRun, facts: AnalysisFacts, last: boolean): AnalysisRun {
  const setting = { run: run.id, startedAtMs: run.startedAtMs, facts };
  const metrics = each(run).map(([metric, spec]) => {
    const threshold = spec.source.kind === "sequential" ? thresholdOf(run.spec, spec.source) : null;
    return advanceMetric(metric, spec, { ...setting, threshold }, last);
  });
  const next = { ...run, metrics };
  const judging = each(next).filter(([, spec]) => !spec.dryRun);
  const found = verdict(judging);
  // With nothing but dry runs there is nothing to wait for but the time.
  const over = judging.length > 0 && judging.every(([metric]) => metric.phase !== "running");
  if (last || over || found.phase !== "successful") return finished(next, facts.now);
  if (metrics.every((metric, i) => metric === run.metrics[i])) return run;
  return { ...next, message: sofar(next) };
}

function finished(run: AnalysisRun, now: Millis): AnalysisRun {
  const early = verdict(each(run).filter(([, spec]) => !spec.dryRun));
  const metrics = each(run).map(([metric, spec]) => closeMetric(metric, spec));
  const closed = { ...run, metrics };
  // What was still being measured when another metric ended the run has no say in it any more.
  const { phase, message } =
    early.phase === "successful" ? verdict(each(closed).filter(([, spec]) => !spec.dryRun)) : early;
  return { ...closed, phase, message, endedAtMs: now };
}

type Judged = readonly (readonly [MetricRun, MetricSpec])[];

/** Of metrics that have ended; successful as long as none ended otherwise. */
function verdict(judged: Judged): { readonly phase: Verdict; readonly message: string } {
  for (const phase of WORST) {
    const found = judged.find(([metric, spec]) => consequence(metric, spec) === phase);
    if (found === undefined) continue;
    const [metric, spec] = found;
    const soft = metric.phase === "failed" && !spec.critical ? ", which is not critical," : "";
    const did =
      metric.phase === "failed" ? "failed" : metric.phase === "error" ? "could not be measured" : "is inconclusive";
    return { phase, message: `metric ${metric.name}${soft} ${did}: ${metric.message}` };
  }
  if (judged.length === 0) return { phase: "successful", message: "only dry runs were asked for" };
  return { phase: "successful", message: judged.map(([metric]) => `${metric.name}: ${metric.message}`).join("; ") };
}

function consequence(metric: MetricRun, spec: MetricSpec): MetricRun["phase"] {
  return metric.phase === "failed" && !spec.critical ? "inconclusive" : metric.phase;
}

function sofar(run: AnalysisRun): string {
  return run.metrics.map((metric) => `${metric.name}: ${metric.message}`).join("; ");
}

/** Infinity: with its rollout, or when every metric's count is reached. */
function endsAt(run: AnalysisRun): Millis {
  const { durationMs } = run.spec;
  return run.id === BACKGROUND || durationMs === 0 ? Infinity : run.startedAtMs + durationMs;
}

function each(run: AnalysisRun): Judged {
  return run.metrics.flatMap((metric, i) => {
    const spec = run.spec.metrics[i];
    return spec === undefined ? [] : [[metric, spec] as const];
  });
}
