/** A plan's steps in words: the program's own, or one for each host (or hosts at once) that a rolling update moves. */
import { formatDuration } from "../../proto/contract/units.ts";
import type { HostTrack, JournalEntry, Rollout } from "../model/rollout.ts";
import type { Revision } from "../model/service.ts";
import { currentStep, programOf, programOver, splits, stepText, warmMs } from "../rollout/program.ts";
import { list } from "../rollout/words.ts";
import { leastMs } from "./least.ts";
import type { PlanRecord } from "./record.ts";

export interface Turn {
  readonly before: Rollout;
  readonly after: Rollout;
  readonly journal: readonly JournalEntry[];
  readonly atMs: number;
  readonly from: Revision | null;
  readonly to: Revision;
}

export function narrate(record: PlanRecord, turn: Turn): void {
  const { before, after, journal, atMs } = turn;
  const moved = after.hosts.filter((track, at) => track.stage !== "waiting" && before.hosts[at]?.stage === "waiting");
  const programmed = programOf(after).length > 0;
  if (journal.some(({ reason }) => reason === "StepBegun")) record.open(atMs, asked(after), waitOf(after));
  if (programmed && programOver(after) && !programOver(before) && splits(after)) record.open(atMs, takingOver(turn));
  if (moved.length > 0) {
    if (!programmed) record.open(atMs, moving(turn, moved));
    else if (record.steps.length === 0) record.open(atMs, ready(turn));
    record.moves(moved.map((track) => track.host));
  }
  const baking = after.stage.kind === "step" && after.stage.of === "baking";
  if (baking && !(before.stage.kind === "step" && before.stage.of === "baking")) {
    const bake = formatDuration(after.strategy.minHealthyMs);
    record.open(atMs, `every host serves ${turn.to.version}`, `${bake} of bake (minHealthyTime)`);
  }
  if (after.stage.kind === "promoting" && before.stage.kind !== "promoting") {
    record.open(atMs, `${turn.to.version} is stable`);
  }
}

/** An operator is to say something, and a plan takes it as said. */
export const operatorWait = ({ pause }: Rollout): boolean =>
  pause !== null && (pause.reason === "Step" || pause.reason === "AwaitingApproval");

function asked(rollout: Rollout): string {
  const step = currentStep(rollout);
  const program = programOf(rollout);
  const number = `step ${String(rollout.step.index + 1)} of ${String(program.length)}`;
  return step === undefined ? number : `${number}: ${stepText(step)}`;
}

function waitOf(rollout: Rollout): string {
  const step = currentStep(rollout);
  if (step?.kind === "pause" && step.durationMs !== null) return formatDuration(step.durationMs);
  if (step?.kind !== "analysis") return "";
  const least = leastMs(step.analysis);
  return least === 0 ? "enough evidence" : `${formatDuration(least)} of analysis, at least`;
}

function takingOver({ to, from, after }: Turn): string {
  const warm = warmMs(after.strategy);
  const stays = warm === 0 ? "" : ` stays warm for ${formatDuration(warm)}, then`;
  return `${to.version} takes over, ${nameOf(from)}${stays} drains and stops`;
}

function ready({ after, to, from }: Turn): string {
  if (splits(after)) return `${to.version} starts beside ${nameOf(from)} on every host, without traffic`;
  return `hosts move from ${nameOf(from)} to ${to.version}`;
}

const nameOf = (revision: Revision | null): string => revision?.version ?? "nothing";

function moving({ to, from, after }: Turn, tracks: readonly HostTrack[]): string {
  const hosts = list(tracks.map((track) => track.host));
  const [first] = tracks;
  if (first?.goal === 0) return `${hosts}: ${nameOf(from)} is taken away, ${to.version} is not placed there`;
  if (first?.home === 0) return `${hosts}: ${to.version} starts and serves`;
  if (first?.way === "in-place") {
    return `${hosts}: out of routing, ${nameOf(from)} stops, ${to.version} starts, back into routing`;
  }
  if (splits(after)) return `${hosts}: ${to.version} starts beside ${nameOf(from)}, without traffic`;
  return `${hosts}: ${to.version} starts beside ${nameOf(from)}, takes over, ${nameOf(from)} drains and stops`;
}
