/**
 * The program's walk: asks for the present step, sees every live host confirm it, waits out what the step waits for, and
 * asks for the next one. A step is over on evidence and time, never on the absence of news (I5); the operator's `promote`
 * ends the waiting of one step.
 *
 *   hosts get ready → [ask → confirmed by all → pause | analysis | nothing] … → over
 */
import { formatDuration, WHOLE } from "../../proto/contract/units.ts";
import type { HostTrack, Stage, StepState } from "../model/rollout.ts";
import { analyse, runOf, shortOfEvidence } from "./analyses.ts";
import type { Draft } from "./draft.ts";
import { hold } from "./halt.ts";
import { currentStep, programOf, splits, stepText } from "./program.ts";
import type { ProgramStep } from "./program.ts";
import { restOf } from "./track.ts";
import { movedShare } from "./window.ts";
import { list } from "./words.ts";

/** Goes as far as the evidence of this call allows: one step at most. */
export function runProgram(draft: Draft): void {
  const step = currentStep(draft.rollout);
  if (step === undefined || draft.rollout.pause !== null) return;
  if (draft.rollout.step.sinceMs === 0) {
    if (mayAsk(draft, step)) ask(draft, step);
    return;
  }
  if (draft.rollout.step.confirmedAtMs === 0) {
    if (converged(draft)) {
      draft.set({ step: { ...draft.rollout.step, confirmedAtMs: draft.context.now } });
      draft.progress();
    }
    return;
  }
  if (finished(draft, step)) next(draft, step);
}

/** What the step's stage is called now; undefined when hosts are still on their way into it. */
export function programStage(draft: Draft): Stage | undefined {
  const { rollout } = draft;
  const step = currentStep(rollout);
  const { index, sinceMs, confirmedAtMs } = rollout.step;
  if (step === undefined) return undefined;
  if (sinceMs === 0) return { kind: "step", step: index, of: "converging" };
  if (confirmedAtMs === 0) return { kind: "step", step: index, of: "applying" };
  if (step.kind === "pause") return { kind: "step", step: index, of: "pausing" };
  return { kind: "step", step: index, of: step.kind === "analysis" ? "analyzing" : "applying" };
}

/** Something else serves there than the target, or did: its home, or what a superseded rollout had moved it to. */
const shares = (track: HostTrack): boolean => track.goal !== 0 && (track.home !== 0 || restOf(track) !== 0);

/** Hosts that have yet to be ready for the program to go on, or to confirm what it asks. */
export function laggards(draft: Draft): readonly string[] {
  const { rollout, evidence } = draft;
  const behind = rollout.hosts.filter((track) => {
    if (!shares(track) || evidence.leftBehind(track.host)) return false;
    // One that a superseded rollout had moved to this very version serves it alone before the program begins.
    const placed = track.stage === "splitting" || track.stage === "done";
    if (splits(rollout)) return !placed || !evidence.confirmed(track.host);
    return track.stage !== "waiting" && (track.stage !== "done" || !evidence.confirmed(track.host));
  });
  return behind.map((track) => track.host);
}

/** Nothing but the background analysis holds it up: it has yet to see enough before the version may have everything. */
export function waitsForEvidence(draft: Draft): boolean {
  const { rollout } = draft;
  if (shortOfEvidence(rollout) === null || rollout.stage.kind !== "step" || laggards(draft).length > 0) return false;
  const step = currentStep(rollout);
  if (step === undefined) return rollout.stage.of === "baking";
  return rollout.step.sinceMs === 0 && step.kind === "setWeight" && step.weight === WHOLE;
}

/** Is anything of the program waited for that has its own clock? The progress deadline does not count it. */
export function waitsItsTime(draft: Draft): boolean {
  const step = currentStep(draft.rollout);
  if (step === undefined) return false;
  const { sinceMs, confirmedAtMs } = draft.rollout.step;
  if (sinceMs === 0) return laggards(draft).length === 0 && shortOfEvidence(draft.rollout) !== null;
  return confirmedAtMs > 0 && (step.kind === "pause" || step.kind === "analysis");
}

/**
 * A step that sends more to the new version waits until that is well on every host that takes a share (I1), and the last
 * one until the background analysis has seen enough (no data never passes).
 */
function mayAsk(draft: Draft, step: ProgramStep): boolean {
  const { rollout, evidence } = draft;
  if (!splits(rollout)) return step.kind !== "setWeight" || step.weight < WHOLE || evidenceIsEnough(draft);
  const { hosts } = rollout;
  // From before this step: what this very step moves is not confirmed yet.
  const before = new Map(draft.before.hosts.map((track) => [track.host, track]));
  const counted = hosts.filter((t) => shares(t) && !evidence.leftBehind(t.host));
  const taking = counted.filter((t) => before.get(t.host)?.stage !== "done");
  if (!hosts.some((track) => track.goal !== 0) || taking.some((t) => before.get(t.host)?.stage !== "splitting")) {
    return false;
  }
  if (counted.some((t) => !evidence.confirmed(t.host) || !evidence.healthy(t.host, rollout.to))) return false;
  // Less for the new version is more for the one before, which has to be there for it (I1).
  const less = step.kind === "setWeight" && step.weight < rollout.split.weight;
  if (less && taking.some((t) => !evidence.up(t.host, restOf(t)))) return false;
  if (counted.length === 0) return false;
  const all = step.kind === "setWeight" && step.weight === WHOLE && rollout.strategy.kind === "canary";
  return !all || evidenceIsEnough(draft);
}

/** The background analysis has seen enough to give it everything; too little for too long pauses. */
export function evidenceIsEnough(draft: Draft): boolean {
  const short = shortOfEvidence(draft.rollout);
  if (short === null) return true;
  const { progressAtMs, strategy } = draft.rollout;
  if (draft.context.now - progressAtMs >= strategy.progressDeadlineMs) {
    const message = `${short} after ${formatDuration(strategy.progressDeadlineMs)}: too little to send it everything`;
    hold(draft, { reason: "Inconclusive", message });
  }
  return false;
}

function ask(draft: Draft, step: ProgramStep): void {
  const { split } = draft.rollout;
  switch (step.kind) {
    case "setWeight":
      draft.set({ split: { ...split, weight: step.weight } });
      break;
    case "setHeaderRoute":
      draft.set({ split: { ...split, routes: replaced(split.routes, step.route, step.route.matches.length > 0) } });
      break;
    case "setMirrorRoute":
      draft.set({ split: { ...split, mirrors: replaced(split.mirrors, step.route, step.route.percentage > 0) } });
      break;
    case "pause":
    case "analysis":
      break;
  }
  const { now } = draft.context;
  draft.set({ step: { ...draft.rollout.step, sinceMs: now, confirmedAtMs: 0 } });
  draft.progress();
  draft.note(
    "StepBegun",
    `step ${draft.rollout.step.index + 1} of ${programOf(draft.rollout).length}: ${stepText(step)}`,
  );
}

const replaced = <T extends { readonly name: string }>(all: readonly T[], route: T, kept: boolean): readonly T[] => {
  const others = all.filter((one) => one.name !== route.name);
  return kept ? [...others, route] : others;
};

/** Every live host that takes a share has confirmed what is asked; hosts that move whole: so many have moved. */
function converged(draft: Draft): boolean {
  const { rollout, evidence } = draft;
  if (laggards(draft).length > 0) return false;
  if (splits(rollout)) return true;
  const { moved, due } = movedShare(draft);
  return moved >= due && evidence.gatewaysConfirmed();
}

function finished(draft: Draft, step: ProgramStep): boolean {
  const { rollout, context } = draft;
  const { confirmedAtMs, promoted } = rollout.step;
  // What was once confirmed may have changed since: a host that came back, one that was added.
  if (!converged(draft)) return false;
  switch (step.kind) {
    case "setWeight":
    case "setHeaderRoute":
    case "setMirrorRoute":
      return true;
    case "pause":
      if (promoted) return true;
      if (step.durationMs !== null) return context.now - confirmedAtMs >= step.durationMs;
      hold(draft, pauseOf(draft, step));
      return false;
    case "analysis": {
      if (promoted) return true;
      const run = runOf(rollout, step.id);
      if (run === undefined) {
        analyse(draft, step.id, step.analysis);
        return false;
      }
      return run.phase === "successful";
    }
  }
}

function pauseOf(draft: Draft, step: ProgramStep & { readonly kind: "pause" }): Parameters<typeof hold>[1] {
  const { index } = draft.rollout.step;
  const version = draft.context.to.version;
  return step.approval
    ? { reason: "AwaitingApproval", message: `${version} is ready, and waits to be switched to` }
    : { reason: "Step", message: `step ${index + 1} of ${programOf(draft.rollout).length} waits for an operator` };
}

function next(draft: Draft, step: ProgramStep): void {
  const { index } = draft.rollout.step;
  const state: StepState = { index: index + 1, sinceMs: 0, confirmedAtMs: 0, promoted: false };
  draft.set({ step: state });
  draft.progress();
  draft.note("StepDone", `step ${index + 1}, ${stepText(step)}: confirmed by ${confirmedBy(draft)}`);
}

function confirmedBy(draft: Draft): string {
  const { rollout, evidence } = draft;
  const hosts = rollout.hosts.filter((t) => t.goal !== 0 && t.stage !== "waiting" && evidence.confirmed(t.host));
  return hosts.length <= 3 ? list(hosts.map((track) => track.host)) : `${hosts.length} hosts`;
}
