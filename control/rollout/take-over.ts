/**
 * A rollout as the next controller finds it. Times in it are of the clock of the one before, which may have been wrong:
 *
 *   behind  what that one saw begin would seem to be over already: no deadline of its may pass in the next one's name (I5),
 *           and nothing may be cut by one
 *   ahead   what it saw begin has not come yet, and would be waited for until it has: it is counted from now
 *
 * How far a clock was behind can't be told from a rollout: what was only waited for (a bake, a pause) may end sooner.
 */
import { formatDuration } from "../../proto/contract/units.ts";
import type { AnalysisRun, MetricRun } from "../model/analysis.ts";
import type { HostTrack, Rollout } from "../model/rollout.ts";
import type { Draft } from "./draft.ts";

/** Clocks that are kept in step differ by less. */
const TOLD_MS = 1_000;

export function takeOver(draft: Draft): void {
  const { now, epoch } = draft.context;
  const come = (ms: number): number => Math.min(ms, now);
  const { rollout } = draft;
  draft.set({
    epoch,
    progressAtMs: now,
    startedAtMs: come(rollout.startedAtMs),
    lastBegunAtMs: come(rollout.lastBegunAtMs),
    pause: rollout.pause === null ? null : { ...rollout.pause, sinceMs: come(rollout.pause.sinceMs) },
    step: { ...rollout.step, sinceMs: come(rollout.step.sinceMs), confirmedAtMs: come(rollout.step.confirmedAtMs) },
    analyses: rollout.analyses.map((run) => runAsOf(run, now)),
  });
  for (const track of rollout.hosts) draft.track(track.host, trackAsOf(track, now));
  const ahead = aheadMs(rollout, now);
  const clock =
    ahead < TOLD_MS
      ? ""
      : `; the clock of the one before was ahead by ${formatDuration(Math.floor(ahead / 1_000) * 1_000)} or more`;
  draft.note("TakenOver", `a controller with epoch ${epoch} goes on with it${clock}`);
}

function aheadMs({ progressAtMs, step, hosts }: Rollout, now: number): number {
  const latest = (sum: number, track: HostTrack): number =>
    Math.max(sum, track.sinceMs, track.servesSinceMs, track.healthyAtMs);
  return hosts.reduce(latest, Math.max(progressAtMs, step.sinceMs, step.confirmedAtMs)) - now;
}

function trackAsOf(track: HostTrack, now: number): Partial<HostTrack> {
  return {
    sinceMs: track.stage === "starting" ? now : Math.min(track.sinceMs, now),
    drainSinceMs: track.drainSinceMs === 0 ? 0 : now,
    servesSinceMs: Math.min(track.servesSinceMs, now),
    healthyAtMs: Math.min(track.healthyAtMs, now),
    unhealthyAtMs: 0,
  };
}

function runAsOf(run: AnalysisRun, now: number): AnalysisRun {
  return {
    ...run,
    startedAtMs: Math.min(run.startedAtMs, now),
    endedAtMs: Math.min(run.endedAtMs, now),
    metrics: run.metrics.map((metric) => metricAsOf(metric, run, now)),
  };
}

/** The next measurement does lie ahead: by as much as it did. */
function metricAsOf(metric: MetricRun, run: AnalysisRun, now: number): MetricRun {
  const ahead = Math.max(0, (metric.recent.at(-1)?.atMs ?? run.startedAtMs) - now);
  if (ahead === 0) return metric;
  const recent = metric.recent.map((one) => ({ ...one, atMs: Math.min(one.atMs, now) }));
  return { ...metric, recent, nextAtMs: Math.max(0, metric.nextAtMs - ahead) };
}
