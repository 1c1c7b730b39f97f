/**
 * The tracks that a rollout begins with. A host may be placed by the target, by the revision before, or by both; and when
 * the rollout supersedes another, it may be anywhere on that one's ladder. It is taken on from there: no host waits for a
 * rollback to a version that it is about to leave (RACES C6, retarget).
 *
 *   superseded on its way …          begins as
 *   both serve, by weight            waiting, on the other one; the superseded target drains and is swept out
 *   in routing                       waiting; a standby of the superseded target drains and is swept out
 *   out of routing, still serving    removing
 *   out of routing, anything up      draining: all of it goes, then the new target starts
 *   out of routing, nothing up       stopping
 *
 * Where the new rollout gives its target a share only, what is out of routing comes back with the revision before: alone
 * on a host, the target would take all of that one's traffic, approved or not. What still serves it goes back as it is.
 */
import type { HostStage, HostTrack, Rollout } from "../model/rollout.ts";
import { splits } from "./program.ts";
import { draining, only, restOf } from "./track.ts";
import type { Beginning, Context } from "./types.ts";

export function tracksFor(input: Beginning): readonly HostTrack[] {
  const before = input.from === null ? [] : (input.fromHosts ?? input.hosts);
  const carried = new Map((input.over?.hosts ?? []).map((track) => [track.host, track]));
  const names = new Set([...input.hosts, ...before, ...carried.keys()]);
  const shares = splits({ strategy: input.to.spec.strategy, from: input.from?.revision ?? 0 }) && !input.fastTrack;
  return [...names].map((host) => {
    const goal = input.hosts.includes(host) ? input.to.revision : 0;
    const home = before.includes(host) ? (input.from?.revision ?? 0) : 0;
    const fresh = blank(host, goal, home, input.now);
    const over = carried.get(host);
    return over === undefined
      ? fresh
      : { ...fresh, ...takenOn(over, shares && goal !== 0 && home !== goal ? home : 0) };
  });
}

/**
 * Hosts that are placed since the rollout began. One that the revision before alone is placed on is among them: it serves
 * that until it is taken out of routing in good order, with the others that leave.
 */
export function newcomers(rollout: Rollout, context: Context): readonly HostTrack[] {
  const known = new Set(rollout.hosts.map((track) => track.host));
  const { hosts, fromHosts } = context.cluster;
  return [...new Set([...hosts, ...fromHosts])]
    .filter((host) => !known.has(host))
    .map((host) => {
      const goal = hosts.includes(host) ? rollout.to : 0;
      const home = fromHosts.includes(host) ? rollout.from : 0;
      return blank(host, goal, home, context.now);
    });
}

function blank(host: string, goal: number, home: number, now: number): HostTrack {
  return {
    host,
    way: "surge",
    stage: "waiting",
    towards: goal,
    goal,
    home,
    revisions: only(home),
    routed: true,
    sinceMs: now,
    drainSinceMs: 0,
    servesSinceMs: 0,
    healthyAtMs: 0,
    healthyMark: 0,
    unhealthyAtMs: 0,
    exitsAllowed: 0,
    cutAllowed: false,
    waitingFor: "",
  };
}

/** `back`: what a host that is out of routing comes back with; 0: with the target. */
function takenOn(over: HostTrack, back: number): Partial<HostTrack> {
  const both = over.revisions.filter((asked) => asked.mode === "serving").length > 1;
  if (over.stage === "splitting" || (both && over.routed)) {
    // The superseded one had a share; what was there beside it takes all of it back, and never left.
    const rest = restOf(over);
    return { revisions: [...draining(over.revisions, rest), { revision: rest, mode: "serving" }] };
  }
  if (over.routed) {
    const serving = over.revisions.filter((asked) => asked.mode === "serving");
    const rest = over.revisions.filter((asked) => asked.mode !== "serving");
    return { revisions: [...draining(rest, 0), ...serving] };
  }
  const serving = over.revisions.find((asked) => asked.mode === "serving");
  const towards = back === 0 ? {} : { towards: back };
  if (back !== 0 && serving?.revision === back) {
    const revisions = [...draining(over.revisions, back), serving];
    return { way: "in-place", stage: "restoring", ...towards, routed: true, revisions };
  }
  const serves = serving !== undefined;
  const stage: HostStage = serves ? "removing" : over.revisions.length > 0 ? "draining" : "stopping";
  const revisions = serves ? over.revisions : draining(over.revisions, 0);
  return { way: "in-place", stage, ...towards, routed: false, revisions };
}
