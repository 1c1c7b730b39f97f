/**
 * The analyses of a rollout: begun, advanced and ended with it, and what their verdicts mean for it (I6).
 *
 *   failed                  the version has failed: back, or Unhealthy without `autoRevert`
 *   inconclusive, error     the rollout pauses: `promote` goes on all the same, `resume` measures again
 */
import type { AnalysisSpec } from "../../proto/contract/spec/types.ts";
import type { AnalysisRun } from "../model/analysis.ts";
import type { Rollout } from "../model/rollout.ts";
import { advanceRun, beginRun, conclude, enough } from "./analysis/run.ts";
import type { AnalysisFacts } from "./analysis/run.ts";
import type { Draft } from "./draft.ts";
import { programOver } from "./program.ts";

export const BACKGROUND = "background";

export const runOf = (rollout: Rollout, id: string): AnalysisRun | undefined =>
  rollout.analyses.find((run) => run.id === id);

export function analyse(draft: Draft, id: string, spec: AnalysisSpec): void {
  const run = beginRun(id, spec, facts(draft));
  draft.set({ analyses: [...draft.rollout.analyses.filter((one) => one.id !== id), run] });
  draft.note("AnalysisBegun", `analysis ${id}: ${spec.metrics.map((metric) => metric.name).join(", ")}`);
}

/** Takes every running analysis as far as the counts and measurements of this call take it. */
export function advanceAnalyses(draft: Draft): void {
  beginBackground(draft);
  const { analyses } = draft.rollout;
  if (!analyses.some((run) => run.phase === "running")) return;
  const now = facts(draft);
  const after = analyses.map((run) => (run.phase === "running" ? advanceRun(run, now) : run));
  if (after.every((run, at) => run === analyses[at])) return;
  draft.set({ analyses: after });
  for (const [at, run] of after.entries()) {
    if (run.phase !== "running" && analyses[at]?.phase === "running") {
      draft.note("AnalysisEnded", `analysis ${run.id} is ${run.phase}: ${run.message}`);
    }
  }
}

/** It judges from its step on, as soon as the new version takes part in the traffic. */
function beginBackground(draft: Draft): void {
  const { rollout } = draft;
  const { analysis } = rollout.strategy;
  if (analysis === null || rollout.fastTrack || rollout.from === 0 || runOf(rollout, BACKGROUND) !== undefined) return;
  const { index, sinceMs } = rollout.step;
  const reached =
    programOver(rollout) || index > analysis.startingStep || (index === analysis.startingStep && sinceMs > 0);
  const takesPart =
    rollout.split.weight > 0 || rollout.hosts.some((t) => t.servesSinceMs > 0 && t.towards === rollout.to);
  if (reached && takesPart) analyse(draft, BACKGROUND, analysis);
}

/** One clause, when an analysis that counts has failed. */
export function analysisFailed(rollout: Rollout): string | null {
  const failed = rollout.analyses.find((run) => run.phase === "failed");
  return failed === undefined ? null : `analysis ${failed.id} failed: ${failed.message}`;
}

/** One clause, when an analysis has ended without a verdict that would let the rollout go on. */
export function undecided(rollout: Rollout): string | null {
  const run = rollout.analyses.find(
    (one) => (one.phase === "inconclusive" || one.phase === "error") && !rollout.accepted.includes(one.id),
  );
  if (run === undefined) return null;
  return `analysis ${run.id} ${run.phase === "error" ? "could not be measured" : "is inconclusive"}: ${run.message}`;
}

/** What the background analysis has yet to see before the version may have everything; null: nothing. */
export function shortOfEvidence(rollout: Rollout): string | null {
  const { analysis } = rollout.strategy;
  if (analysis === null || rollout.fastTrack || rollout.from === 0 || rollout.accepted.includes(BACKGROUND))
    return null;
  const run = runOf(rollout, BACKGROUND);
  if (run === undefined) return "the background analysis has seen no traffic of it";
  return run.phase === "running" ? enough(run) : null;
}

/** The rollout is decided: what still runs ends with it. */
export function concludeAnalyses(draft: Draft): void {
  const now = facts(draft);
  const after = draft.rollout.analyses.map((run) => (run.phase === "running" ? conclude(run, now) : run));
  if (after.some((run, at) => run !== draft.rollout.analyses[at])) draft.set({ analyses: after });
}

/** Measured again from now on. */
export function forgetUndecided(draft: Draft): void {
  draft.set({
    analyses: draft.rollout.analyses.filter((run) => run.phase === "running" || run.phase === "successful"),
  });
}

function facts(draft: Draft): AnalysisFacts {
  const { context, rollout } = draft;
  const { from, to, view } = context;
  const label = (revision: number): string | undefined =>
    revision === to.revision ? to.version : revision === from?.revision ? from.version : undefined;
  const ready: Record<string, number> = {};
  const inFlight: Record<string, number> = {};
  for (const host of Object.values(view.hosts)) {
    if (host.lease !== "live") continue;
    for (const instance of host.instances) {
      const version = label(instance.revision);
      if (version === undefined) continue;
      inFlight[version] = (inFlight[version] ?? 0) + instance.inFlight;
      if (instance.healthySinceMs > 0) ready[version] = (ready[version] ?? 0) + 1;
    }
  }
  return {
    now: context.now,
    service: rollout.service,
    canary: to.version,
    // One label for both: their answers can't be told apart, and nothing is concluded from them.
    stable: from === null || from.version === to.version ? null : from.version,
    traffic: view.traffic,
    inFlight,
    ready,
    measurements: context.measurements,
  };
}
