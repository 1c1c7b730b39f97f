/**
 * How far a drain is. The deadline counts from the moment at which the host (or every gateway) confirmed that nothing
 * new goes there, by the longer of the two revisions' timeouts: never shorter than what the agent itself allows (I2).
 */
import type { HostTrack } from "../model/rollout.ts";
import type { Draft } from "./draft.ts";
import type { Context } from "./types.ts";

export type DrainState =
  | { readonly kind: "drained" }
  | { readonly kind: "running"; readonly inFlight: number; readonly until: number | null }
  /** The deadline has passed, and the policy or the operator says to end the rest. */
  | { readonly kind: "cut"; readonly inFlight: number }
  /** The deadline has passed, and the policy says to ask. */
  | { readonly kind: "overdue"; readonly inFlight: number };

export function drainTimeoutMs(context: Context): number {
  return Math.max(context.to.spec.drain.timeoutMs, context.from?.spec.drain.timeoutMs ?? 0);
}

/** The policy is the one of the revision that the host is taken to: the newest word of the operator on this move. */
export function cutsAtDeadline(context: Context, track: HostTrack): boolean {
  const policy = track.towards === context.from?.revision ? context.from : context.to;
  return track.cutAllowed || policy.spec.drain.onTimeout === "cut";
}

/** What is still in flight where the track's present stage waits for nothing to be. */
export function stillInFlight(draft: Draft, track: HostTrack): number {
  const { evidence } = draft;
  return track.stage === "removing"
    ? evidence.towardsHost(track.host)
    : evidence.inFlightBeside(track.host, track.towards);
}

export function drainState(draft: Draft, track: HostTrack, inFlight = stillInFlight(draft, track)): DrainState {
  if (inFlight === 0) return { kind: "drained" };
  if (track.drainSinceMs === 0) return { kind: "running", inFlight, until: null };
  const until = track.drainSinceMs + drainTimeoutMs(draft.context);
  if (draft.context.now < until) return { kind: "running", inFlight, until };
  return { kind: cutsAtDeadline(draft.context, track) ? "cut" : "overdue", inFlight };
}
