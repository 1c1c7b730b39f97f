/**
 * What stops a rollout without blaming the new version: the rollout pauses, says why, and which command moves it on.
 *
 * Clears itself when the cause is gone   FleetPartitioned, Rejected, DrainTimeout
 * Waits for an operator                  Manual, Step, AwaitingApproval, Inconclusive, UnexplainedLoss, Unhealthy,
 *                                        InvariantViolation
 *
 * Rolling on, a pause freezes every host where it is: both versions up on a host that surges. Only hosts that an
 * operator's pause caught out of routing are taken to their end, so that capacity comes back. Rolling back, a pause
 * holds up none but the host it is about.
 */
import type { Pause, PauseReason } from "../model/rollout.ts";
import { formatDuration } from "../../proto/contract/units.ts";
import { undecided } from "./analyses.ts";
import { drainState, drainTimeoutMs } from "./drain.ts";
import type { Draft } from "./draft.ts";
import { isBack } from "./track.ts";
import { list } from "./words.ts";

interface Cause {
  readonly reason: PauseReason;
  readonly message: string;
}

const CLEARS_ITSELF: ReadonlySet<PauseReason> = new Set(["FleetPartitioned", "Rejected", "DrainTimeout"]);

/** No pause, or one that would not outlast its cause. */
export const maySupplant = (pause: Pause | null): boolean => pause === null || CLEARS_ITSELF.has(pause.reason);

/** Pauses, changes the pause's reason, or lifts it. */
export function halt(draft: Draft): void {
  const { pause } = draft.rollout;
  if (!maySupplant(pause)) return;
  const found = loss(draft) ?? overdue(draft) ?? rejected(draft) ?? partitioned(draft) ?? inconclusive(draft);
  if (found !== null) {
    if (pause?.reason !== found.reason || pause.message !== found.message) hold(draft, found);
  } else if (pause !== null) {
    lift(draft);
    draft.note("Resumed", `${pause.reason} is over: ${pause.message}`);
  }
}

export function hold(draft: Draft, cause: Cause, actor = "engine"): void {
  const sinceMs = draft.rollout.pause?.sinceMs ?? draft.context.now;
  const pause: Pause = { ...cause, sinceMs };
  draft.set({ pause });
  draft.note(cause.reason, cause.message, actor);
}

/** Ends the pause. Deadlines stood still meanwhile; bakes and drains went on in the fleet, so their clocks did too. */
export function lift(draft: Draft): void {
  const { pause, progressAtMs, hosts } = draft.rollout;
  if (pause === null) return;
  const stood = Math.max(0, draft.context.now - pause.sinceMs);
  draft.set({ pause: null, progressAtMs: progressAtMs + stood });
  for (const track of hosts) {
    if (track.stage === "starting") draft.track(track.host, { sinceMs: track.sinceMs + stood });
  }
}

function loss(draft: Draft): Cause | null {
  const { rollout, context } = draft;
  const more = context.view.unexplainedLoss - rollout.acknowledgedLoss;
  if (isBack(draft) || more <= 0) return null;
  return {
    reason: "UnexplainedLoss",
    message: `${more} lost since ${rollout.acknowledgedLoss === 0 ? "it began" : "it was resumed"}, and nothing explains it`,
  };
}

function inconclusive(draft: Draft): Cause | null {
  const message = isBack(draft) ? null : undecided(draft.rollout);
  return message === null ? null : { reason: "Inconclusive", message };
}

function overdue(draft: Draft): Cause | null {
  const hosts = draft.rollout.hosts.filter(
    (track) =>
      (track.stage === "removing" || track.stage === "draining") && drainState(draft, track).kind === "overdue",
  );
  if (hosts.length === 0) return null;
  const names = list(hosts.map((track) => track.host));
  const after = formatDuration(drainTimeoutMs(draft.context));
  return { reason: "DrainTimeout", message: `${names} still has requests in flight ${after} after its drain began` };
}

function rejected(draft: Draft): Cause | null {
  const { evidence } = draft;
  const hosts = evidence.concerned().filter((host) => evidence.live(host) && evidence.rejected(host) !== "");
  const [first] = hosts;
  if (first === undefined) return null;
  return { reason: "Rejected", message: `${list(hosts)} refused what it was asked: ${evidence.rejected(first)}` };
}

/** Lost hosts stop the rollout, unless policy or operator says otherwise; with no host left to hear, always. */
function partitioned(draft: Draft): Cause | null {
  const { evidence, rollout } = draft;
  const lost = evidence.concerned().filter((host) => evidence.lease(host) === "lost");
  const waitedFor = lost.filter((host) => !evidence.leftBehind(host));
  const nobody = rollout.hosts.length > 0 && rollout.hosts.every((track) => evidence.lease(track.host) === "lost");
  if (waitedFor.length === 0 && !nobody) return null;
  return {
    reason: "FleetPartitioned",
    message: `${list(nobody ? lost : waitedFor)}: no report, and the lease ran out`,
  };
}
