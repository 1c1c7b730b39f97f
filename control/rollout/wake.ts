/** When something becomes due by the passing of time alone. */
import type { Millis } from "../../proto/kernel/clock.ts";
import { drainTimeoutMs } from "./drain.ts";
import type { Draft } from "./draft.ts";
import { unreadyGraceMs } from "./judge.ts";

export function wakeAt(draft: Draft): Millis | null {
  const { rollout, context } = draft;
  const { minHealthyMs, healthyDeadlineMs, progressDeadlineMs } = rollout.strategy;
  const due: Millis[] = [];
  const after = (sinceMs: Millis, ms: Millis): void => {
    if (sinceMs > 0) due.push(sinceMs + ms);
  };
  for (const track of rollout.hosts) {
    after(track.unhealthyAtMs, unreadyGraceMs(draft));
    if (track.stage === "done") after(track.sinceMs, minHealthyMs);
    if (track.stage === "done" || track.stage === "waiting") continue;
    after(Math.max(track.healthyAtMs, track.servesSinceMs), minHealthyMs);
    after(track.drainSinceMs, drainTimeoutMs(context));
    if (track.stage === "starting") after(track.sinceMs, healthyDeadlineMs);
  }
  if (rollout.stage.kind === "step" && rollout.pause === null) {
    after(rollout.progressAtMs, progressDeadlineMs);
  }
  const next = due.filter((at) => at > context.now);
  return next.length === 0 ? null : Math.min(...next);
}
