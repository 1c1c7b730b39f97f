/** When something becomes due by the passing of time alone. */
import type { Millis } from "../../proto/kernel/clock.ts";
import { wakeAt as runWakeAt } from "./analysis/run.ts";
import { drainTimeoutMs } from "./drain.ts";
import type { Draft } from "./draft.ts";
import { unreadyGraceMs } from "./judge.ts";
import { currentStep, warmMs } from "./program.ts";

export function wakeAt(draft: Draft): Millis | null {
  const { rollout, context } = draft;
  const { strategy, step } = rollout;
  const { minHealthyMs, healthyDeadlineMs, progressDeadlineMs } = strategy;
  const due: Millis[] = [];
  const after = (sinceMs: Millis, ms: Millis): void => {
    if (sinceMs > 0) due.push(sinceMs + ms);
  };
  for (const track of rollout.hosts) {
    after(track.unhealthyAtMs, unreadyGraceMs(draft));
    if (track.stage === "done") after(track.sinceMs, minHealthyMs);
    if (track.stage === "waiting") after(track.sinceMs, healthyDeadlineMs);
    if (track.stage === "done" || track.stage === "waiting") continue;
    after(Math.max(track.healthyAtMs, track.servesSinceMs), minHealthyMs);
    after(Math.max(track.healthyAtMs, track.servesSinceMs), warmMs(strategy));
    after(track.drainSinceMs, drainTimeoutMs(context));
    if (track.stage === "starting") after(track.sinceMs, healthyDeadlineMs);
  }
  if (rollout.stage.kind === "step" && rollout.pause === null) {
    after(rollout.progressAtMs, progressDeadlineMs);
  }
  const at = currentStep(rollout);
  if (at?.kind === "pause" && at.durationMs !== null) after(step.confirmedAtMs, at.durationMs);
  if (strategy.kind === "rolling") {
    after(rollout.lastBegunAtMs, strategy.staggerMs);
    for (const track of rollout.hosts) if (track.stage === "done") after(track.sinceMs, strategy.firstHostMs);
  }
  for (const run of rollout.analyses) {
    const runAt = run.phase === "running" ? runWakeAt(run) : null;
    if (runAt !== null) due.push(runAt);
  }
  const next = due.filter((at) => at > context.now);
  return next.length === 0 ? null : Math.min(...next);
}
