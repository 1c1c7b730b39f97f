/**
 * What an operator may say to a rollout, and what each word means in each situation. A refusal is one sentence that names
 * the command that would do.
 *
 *   pause            begins nothing more, until `resume`
 *   resume           goes on, knowing the cause: accepts the loss, goes on without the lost host, waits another drain
 *                    timeout, gives the failed version another chance
 *   promote          does not wait out the present step or bake, or ends what still drains; `full`: passes over every
 *                    step, analysis and bake that is left
 *   weight           the canary's share by hand, until the next setWeight
 *   abort            rolls back
 *   supersede        ends here; the next rollout takes the hosts on from where they are (tracks.ts)
 */
import type { Command, Pause, Rollout } from "../model/rollout.ts";
import { BACKGROUND, concludeAnalyses, forgetUndecided } from "./analyses.ts";
import { Draft } from "./draft.ts";
import { hold, lift } from "./halt.ts";
import { check } from "./invariants.ts";
import { begun } from "./judge.ts";
import { currentStep, formatWeight, programOf, programOver, splits } from "./program.ts";
import { waitsForEvidence } from "./steps.ts";
import { moving } from "./track.ts";
import { settle } from "./settle.ts";
import type { Context, Decision, Refused } from "./types.ts";
import { ended, stageName } from "./words.ts";

export function command(rollout: Rollout, said: Command, context: Context): Decision | Refused {
  const { stage } = rollout;
  const why = refusal(rollout, said, context);
  if (why !== null) return { kind: "refused", why };
  const draft = new Draft(rollout, context);
  if (stage.kind === "blocked") {
    endBlocked(draft, said);
    return settle(draft);
  }
  switch (said.kind) {
    case "pause":
      hold(
        draft,
        { reason: "Manual", message: said.reason === "" ? `paused by ${said.actor}` : said.reason },
        said.actor,
      );
      break;
    case "resume":
      resume(draft, said.actor);
      break;
    case "promote":
      promote(draft, said.full, said.actor);
      break;
    case "abort":
      draft.set({ pause: null });
      draft.stage({
        kind: "aborting",
        why: said.reason === "" ? `aborted by ${said.actor}` : `aborted: ${said.reason}`,
      });
      draft.note("Aborted", said.reason === "" ? `aborted by ${said.actor}` : said.reason, said.actor);
      break;
    case "weight":
      draft.set({ split: { ...rollout.split, weight: said.weight } });
      draft.note("WeightSet", `${said.actor} sets the weight to ${formatWeight(said.weight)}`, said.actor);
      {
        // An operator's wish that would break a promise is refused: no defect of Baton's, and nothing to pause for.
        const broken = check(rollout, draft.seal(), context);
        const [first] = broken;
        if (first !== undefined) return { kind: "refused", why: notNow(rollout, said.weight, first.message) };
      }
      break;
    case "supersede":
      draft.set({ pause: null, endedAtMs: context.now });
      draft.stage({ kind: "superseded", by: said.by });
      draft.note("Superseded", `${said.by} takes its hosts on from where they are`, said.actor);
      break;
  }
  return settle(draft);
}

function refusal(rollout: Rollout, said: Command, context: Context): string | null {
  const { id, service, stage, pause } = rollout;
  if (context.epoch < rollout.epoch) return `${id} is led by another controller; ask that one`;
  if (ended(rollout)) {
    return endedAlready(rollout, context);
  }
  const promoted = stage.kind === "promoting" || stage.kind === "draining" || stage.kind === "finalizing";
  if (promoted) {
    if (said.kind === "supersede") return `${id} is about to end; deploy again in a moment`;
    return `${id} is promoted already; \`baton rollout undo ${service}\` goes back`;
  }
  if (stage.kind === "blocked" && said.kind !== "abort" && said.kind !== "supersede") {
    return `${id} has not begun: it waits for ${stage.behind}; \`baton rollout status ${service}\` shows that one, \`baton rollout abort ${service}\` gives this one up`;
  }
  const back = stage.kind === "rolling-back" || stage.kind === "aborting";
  switch (said.kind) {
    case "weight":
      return noWeight(rollout, back);
    case "pause":
      if (back)
        return `${id} is rolling back, which can't be paused; \`baton rollout status ${service}\` shows how far it is`;
      if (pause?.reason === "Manual") return `${id} is paused already; \`baton rollout resume ${service}\` goes on`;
      return null;
    case "resume":
      if (pause === null) return `${id} is not paused; \`baton rollout status ${service}\` says what it waits for`;
      return null;
    case "promote":
      if (back && pause?.reason !== "DrainTimeout") {
        return `${id} is rolling back; \`baton deploy ${service}\` with a newer revision takes over from it`;
      }
      if (pause !== null && ONLY_RESUME.has(pause.reason)) {
        return `${id} is paused for ${pause.reason}, which promoting does not end; \`baton rollout resume ${service}\` goes on all the same, \`baton rollout status ${service}\` says what it waits for`;
      }
      if (pause?.reason === "Unhealthy" || pause?.reason === "UnexplainedLoss") {
        return `${id} is paused for ${pause.reason}; \`baton rollout resume ${service}\` goes on all the same, \`baton rollout abort ${service}\` rolls back`;
      }
      return null;
    case "abort":
      return back ? `${id} is rolling back already; \`baton rollout status ${service}\` shows how far it is` : null;
    case "supersede":
      return null;
  }
}

/** After a rollback there is nothing to go back from: a second step back would leave the version that serves well. */
function endedAlready({ id, service, stage }: Rollout, context: Context): string {
  const ended = `${id} has ended (${stageName(stage)})`;
  const serves = context.from === null ? "nothing runs" : `${context.from.version} serves`;
  if (stage.kind === "rolled-back" || stage.kind === "failed") {
    return `${ended}: ${serves}, there is nothing to go back from; \`baton rollout retry ${service}\` tries it again`;
  }
  if (stage.kind === "superseded") {
    return `${ended}; \`baton rollout status ${service}\` shows ${stage.by}, which took its place`;
  }
  return `${ended}; \`baton deploy ${service} --to VERSION\` starts another, \`baton rollout undo ${service}\` goes back`;
}

function noWeight(rollout: Rollout, back: boolean): string | null {
  const { id, service, step } = rollout;
  if (back) return `${id} is rolling back; \`baton rollout status ${service}\` shows how far it is`;
  if (rollout.strategy.kind === "blueGreen")
    return `${id} is blueGreen, which switches all of the traffic at once; \`baton rollout promote ${service}\` does`;
  if (!splits(rollout))
    return `${id} moves whole hosts, so there is no weight to set; \`baton rollout promote ${service}\` moves it on`;
  const at = currentStep(rollout);
  const waits = at?.kind === "pause" || at?.kind === "analysis";
  if (waits && step.confirmedAtMs > 0) return null;
  return `${id} is not at a pause or an analysis, so the next step would overrule it; \`baton rollout status ${service}\` shows where it is`;
}

const notNow = ({ id, service }: Rollout, weight: number, why: string): string =>
  `${id} can't have a weight of ${formatWeight(weight)} now: ${why}; \`baton rollout status ${service}\` shows what it waits for`;

/** It never began: nothing is to be taken back. */
function endBlocked(draft: Draft, said: Command): void {
  draft.set({ pause: null, endedAtMs: draft.context.now });
  if (said.kind === "supersede") {
    draft.stage({ kind: "superseded", by: said.by });
    draft.note("Superseded", `${said.by} takes its place; it had not begun`, said.actor);
    return;
  }
  const reason = said.kind === "abort" && said.reason !== "" ? `: ${said.reason}` : "";
  draft.stage({ kind: "rolled-back", why: `given up by ${said.actor} before it began${reason}` });
  draft.note("Aborted", `given up before it began${reason}`, said.actor);
}

function resume(draft: Draft, actor: string): void {
  const { context, evidence, rollout } = draft;
  const { pause } = rollout;
  if (pause === null) return;
  lift(draft);
  switch (pause.reason) {
    case "UnexplainedLoss":
      draft.set({ acknowledgedLoss: context.view.unexplainedLoss });
      break;
    case "FleetPartitioned":
      draft.set({ without: evidence.concerned().filter((host) => evidence.lease(host) === "lost") });
      break;
    case "DrainTimeout":
      for (const track of rollout.hosts) {
        if (track.drainSinceMs > 0) draft.track(track.host, { drainSinceMs: context.now });
      }
      break;
    case "Unhealthy":
      draft.set({ judgedFrom: context.view.traffic, progressAtMs: context.now });
      forgetUndecided(draft);
      for (const track of rollout.hosts.filter(begun)) {
        const more = track.stage === "starting" ? 1 : 0;
        const exitsAllowed = Math.max(track.exitsAllowed, evidence.exits(track.host, track.towards) + more);
        draft.track(track.host, { exitsAllowed, unhealthyAtMs: 0, sinceMs: context.now });
      }
      break;
    case "Step":
    case "AwaitingApproval":
      draft.set({ step: { ...rollout.step, promoted: true } });
      break;
    case "Inconclusive":
      forgetUndecided(draft);
      draft.set({ progressAtMs: context.now });
      break;
    case "Manual":
    case "Rejected":
    case "InvariantViolation":
      break;
  }
  draft.note("Resumed", `${actor} goes on after ${pause.reason}: ${pause.message}`, actor);
}

/** What is waited for is not the program. */
const ONLY_RESUME: ReadonlySet<Pause["reason"]> = new Set(["FleetPartitioned", "Rejected", "InvariantViolation"]);

const PROMOTABLE: ReadonlySet<Pause["reason"]> = new Set([
  "DrainTimeout",
  "Manual",
  "Step",
  "AwaitingApproval",
  "Inconclusive",
]);

/**
 * What is left of the program is one step: all of the traffic, at once. Where it is over there is none left: hosts have
 * gone on from it, and would never be where a step can be asked of them again.
 */
function passOver(draft: Draft): void {
  concludeAnalyses(draft);
  const steps = programOf({ ...draft.rollout, fastTrack: true }).length;
  const index = programOver(draft.rollout) ? steps : 0;
  draft.set({ fastTrack: true, step: { index, sinceMs: 0, confirmedAtMs: 0, promoted: false } });
}

/** Analyses that came to no verdict, or are passed over with their step, hold the rollout up no more. */
function accept(draft: Draft, all: boolean): void {
  const { rollout } = draft;
  const step = currentStep(rollout);
  const passed = rollout.analyses.filter((run) => all || (step?.kind === "analysis" && step.id === run.id));
  const background = all && rollout.strategy.analysis !== null ? [BACKGROUND] : [];
  const accepted = new Set([...rollout.accepted, ...passed.map((run) => run.id), ...background]);
  if (accepted.size > rollout.accepted.length) draft.set({ accepted: [...accepted] });
}

/** A bake that is called done was never unready; readiness itself is not waived (I1). */
function promote(draft: Draft, full: boolean, actor: string): void {
  const { rollout, evidence } = draft;
  const overdue = rollout.pause?.reason === "DrainTimeout";
  if (rollout.pause !== null && PROMOTABLE.has(rollout.pause.reason)) lift(draft);
  if (full) passOver(draft);
  else if (
    !overdue &&
    currentStep(rollout) !== undefined &&
    (rollout.step.sinceMs > 0 || rollout.pause?.reason === "Inconclusive")
  ) {
    draft.set({ step: { ...rollout.step, promoted: true } });
  }
  accept(draft, full || rollout.pause?.reason === "Inconclusive" || waitsForEvidence(draft));
  const baking = rollout.stage.kind === "step" && rollout.stage.of === "baking";
  if (full || baking) draft.set({ skipBakes: true });
  for (const track of rollout.hosts.filter(moving)) {
    if (overdue) draft.track(track.host, { cutAllowed: true });
    else if (evidence.healthy(track.host, track.towards)) {
      draft.track(track.host, { healthyAtMs: 1, servesSinceMs: Math.min(track.servesSinceMs, 1) });
    }
  }
  draft.note("PromotedBy", full ? `${actor} skips every bake that is left` : `${actor} moves it on`, actor);
}
