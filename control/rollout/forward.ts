/** Rolling on: judge, halt if need be, take every moving host one rung further, begin the next ones, bake, promote. */
import type { HostTrack, Stage } from "../model/rollout.ts";
import { advanceAnalyses, concludeAnalyses } from "./analyses.ts";
import type { Draft } from "./draft.ts";
import { turnBack } from "./back.ts";
import { halt, hold, maySupplant } from "./halt.ts";
import { begun, failure } from "./judge.ts";
import { programOf, programOver } from "./program.ts";
import { evidenceIsEnough, programStage, runProgram } from "./steps.ts";
import { advance, moving } from "./track.ts";
import { beginHosts } from "./window.ts";
import { list, versionName } from "./words.ts";

export function rollOn(draft: Draft): void {
  advanceAnalyses(draft);
  const failed = failure(draft, draft.rollout.pause === null);
  if (failed !== null && draft.rollout.strategy.autoRevert) {
    turnBack(draft, failed);
    return;
  }
  if (failed !== null && maySupplant(draft.rollout.pause)) hold(draft, { reason: "Unhealthy", message: failed });
  halt(draft);
  runProgram(draft);
  const { pause } = draft.rollout;
  for (const track of draft.before.hosts) {
    if (pause === null || (pause.reason === "Manual" && outOfRouting(track))) advance(draft, track);
  }
  if (pause !== null) return;
  beginHosts(draft);
  draft.stage(programStage(draft) ?? stepOf(draft));
  if (baked(draft) && evidenceIsEnough(draft)) promote(draft);
}

/** A pause leaves capacity as it is; a host that it caught half-way in place is short of it, and goes on. */
const outOfRouting = (track: HostTrack): boolean => track.way === "in-place" && track.goal !== 0 && moving(track);

function stepOf(draft: Draft): Stage {
  const { hosts } = draft.rollout;
  const began = hosts.filter((track) => begun(track) || (moving(track) && track.goal !== 0)).length;
  const step = programOf(draft.rollout).length === 0 ? began : draft.rollout.step.index;
  const active = hosts.filter(moving);
  if (active.length === 0) return { kind: "step", step, of: hosts.every(doneOr(draft)) ? "baking" : "applying" };
  if (active.some((track) => !draft.evidence.confirmed(track.host))) return { kind: "step", step, of: "applying" };
  return { kind: "step", step, of: active.every((track) => track.servesSinceMs > 0) ? "analyzing" : "converging" };
}

const doneOr =
  (draft: Draft) =>
  (track: HostTrack): boolean =>
    track.stage === "done" || draft.evidence.leftBehind(track.host);

/** Every host is moved (or left behind), is well, is known to every gateway, and stayed so for `minHealthyTime`. */
function baked(draft: Draft): boolean {
  const { rollout, context, evidence } = draft;
  const { hosts, strategy } = rollout;
  const stay = hosts.filter((track) => track.goal !== 0);
  // From before this step: what this very step has moved is not confirmed yet.
  if (draft.before.hosts.length !== hosts.length || !draft.before.hosts.every(doneOr(draft))) return false;
  if (!stay.some((track) => track.stage === "done")) return false;
  const well = (track: HostTrack): boolean =>
    evidence.leftBehind(track.host) || (evidence.live(track.host) && evidence.healthy(track.host, track.goal));
  if (!programOver(rollout) || !stay.every(well) || !evidence.gatewaysConfirmed()) return false;
  const lastMoved = Math.max(...stay.map((track) => (track.stage === "done" ? track.sinceMs : 0)));
  return rollout.skipBakes || context.now - lastMoved >= strategy.minHealthyMs;
}

function promote(draft: Draft): void {
  draft.stage({ kind: "promoting" });
  concludeAnalyses(draft);
  draft.note("Promoted", `${versionName(draft.context, draft.rollout.to)} is stable now`);
}

/** Promoted: nothing of the old version is left anywhere that is heard from; then it is over. */
export function finish(draft: Draft): void {
  const { rollout, evidence, context } = draft;
  switch (rollout.stage.kind) {
    case "promoting": {
      draft.stage({ kind: "draining" });
      return;
    }
    case "draining": {
      const live = rollout.hosts.filter((track) => evidence.live(track.host));
      if (live.every((track) => track.stage !== "done" || evidence.alone(track.host, track.goal))) {
        draft.stage({ kind: "finalizing" });
      }
      return;
    }
    case "finalizing": {
      const behind = rollout.hosts.filter((track) => track.stage !== "done").map((track) => track.host);
      draft.set({ endedAtMs: context.now, pause: null });
      draft.stage({ kind: "succeeded" });
      const without = behind.length === 0 ? "" : `; not ${list(behind)}, lost: moved when it is back`;
      const moved = rollout.hosts.length - behind.length;
      draft.note("Succeeded", `${moved} of ${rollout.hosts.length} hosts serve ${context.to.version}${without}`);
      return;
    }
    case "pending":
    case "blocked":
    case "preparing":
    case "step":
    case "succeeded":
    case "aborting":
    case "rolling-back":
    case "rolled-back":
    case "failed":
    case "superseded":
      return;
  }
}
