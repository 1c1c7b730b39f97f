/**
 * Which host moves next. The window is continuous: a host begins as soon as a slot is free and every host that was moved
 * before is healthy, so a failing version reaches `maxSurge` + `maxUnavailable` hosts and no more (I3, I6).
 *
 * maxSurge        hosts that run both versions side by side
 * maxUnavailable  hosts that may be out of routing, whatever the reason: moved in place, drained by an operator, lost,
 *                 or with nothing ready. What is out for another reason leaves less for the rollout.
 * Percent         as Kubernetes: surge rounded up, unavailable down; one host surges when both come to nothing.
 * First rollout   all hosts at once: there is no traffic to protect yet (as Kubernetes and Nomad do).
 */
import { resolveCount } from "../../proto/contract/units.ts";
import type { HostTrack, Rollout } from "../model/rollout.ts";
import type { Draft } from "./draft.ts";
import { draining, enter, moving, standby, sweep, type Turn } from "./track.ts";
import type { Context } from "./types.ts";
import { list, versionName } from "./words.ts";

export interface Slots {
  readonly surge: number;
  readonly unavailable: number;
}

export function slots(rollout: Rollout, context: Pick<Context, "from" | "to">): Slots {
  const total = rollout.hosts.filter((track) => track.goal !== 0).length;
  const surge = resolveCount(rollout.strategy.maxSurge, total, "up");
  const unavailable = resolveCount(rollout.strategy.maxUnavailable, total, "down");
  const external =
    context.to.spec.run.kind === "external" && (context.from?.spec.run.kind ?? "external") === "external";
  // Nothing is started or stopped for external instances: both versions are there anyway, so no host need go out.
  if (external) return { surge: Math.max(1, surge + unavailable), unavailable: 0 };
  return { surge: surge === 0 && unavailable === 0 ? 1 : surge, unavailable };
}

/** Hosts whose share of the service's traffic is not being served, as far as is known. Newcomers and leavers have none. */
export function notServing(draft: Draft): ReadonlySet<string> {
  const counted = draft.rollout.hosts.filter((track) => track.goal !== 0 && track.home !== 0);
  // By what was asked before: what this very step puts in or back is not there yet; what it takes out is gone.
  const before = new Map(draft.before.hosts.map((track) => [track.host, track]));
  const serves = (track: HostTrack): boolean => track.routed && draft.evidence.serves(before.get(track.host) ?? track);
  return new Set(counted.filter((track) => !serves(track)).map((track) => track.host));
}

/** May this host be taken out of routing without more than `maxUnavailable` being out? */
export function mayGoOut(draft: Draft, track: HostTrack, unavailable: number): boolean {
  const { evidence, rollout } = draft;
  // A gateway that has not caught up may not send to the others yet.
  if (!evidence.gatewaysConfirmed()) return false;
  const out = rollout.hosts.filter(
    (t) => moving(t) && t.way === "in-place" && t.goal !== 0 && !evidence.leftBehind(t.host),
  );
  if (out.length >= unavailable) return false;
  const down = notServing(draft);
  return down.has(track.host) || down.size + 1 <= unavailable;
}

/** Begins as many waiting hosts as the window has room for. */
export function beginHosts(draft: Draft): void {
  const waiting = draft.before.hosts.filter((track) => track.stage === "waiting");
  if (waiting.length === 0) return;
  const sick = unhealthyBefore(draft);
  for (const track of inOrder(draft, waiting)) {
    if (sick.length > 0) draft.track(track.host, { waitingFor: `for ${list(sick)} to be healthy` });
    else beginHost(draft, track);
  }
}

/** Hosts that serve the target and are not known to be well: nobody follows them. */
function unhealthyBefore(draft: Draft): readonly string[] {
  return draft.rollout.hosts
    .filter((track) => track.goal !== 0 && (track.stage === "done" || track.servesSinceMs > 0))
    .filter((track) => !draft.evidence.leftBehind(track.host) && !draft.evidence.healthy(track.host, track.goal))
    .map((track) => track.host);
}

/** Hosts that take no traffic now, first; then those with leftovers; then as given. Leavers come last. */
function inOrder(draft: Draft, tracks: readonly HostTrack[]): readonly HostTrack[] {
  const rank = (track: HostTrack): number => {
    if (track.goal === 0) return 3;
    if (!draft.evidence.serves(track)) return 0;
    return track.revisions.length > 1 ? 1 : 2;
  };
  return tracks.toSorted((a, b) => rank(a) - rank(b));
}

function beginHost(draft: Draft, track: HostTrack): Turn {
  const { evidence, context, rollout } = draft;
  const { host, goal } = track;
  const wait = (waitingFor: string): Turn => {
    draft.track(host, { waitingFor });
    return "waits";
  };
  if (!evidence.live(host))
    return wait(evidence.leftBehind(host) ? "to come back; the rollout goes on without it" : "to report");
  if (!evidence.confirmed(host)) return wait("to apply what it is asked");
  const version = versionName(context, goal);

  if (goal === 0) {
    const unmoved = rollout.hosts.some((t) => t.goal !== 0 && t.stage !== "done" && !evidence.leftBehind(t.host));
    if (unmoved) return wait("for the hosts that stay");
    return enter(
      draft,
      track,
      "removing",
      { way: "in-place", routed: false },
      "is not placed any more: out of routing",
    );
  }
  if (track.revisions.some((asked) => asked.revision === goal && asked.mode === "serving")) {
    const rest = draining(track.revisions, goal);
    const revisions = [...rest, { revision: goal, mode: "serving" as const }];
    return enter(
      draft,
      track,
      "draining",
      { way: "surge", revisions, servesSinceMs: context.now },
      `serves ${version} already`,
    );
  }
  const room = slots(rollout, context);
  const surging = rollout.hosts.filter((t) => moving(t) && t.way === "surge" && !evidence.leftBehind(t.host)).length;
  const exitsAllowed = evidence.exits(host, goal) + 1;
  const fresh = { healthyAtMs: 0, healthyMark: 0, unhealthyAtMs: 0, servesSinceMs: 0, exitsAllowed };
  if (rollout.from === 0 || surging < room.surge) {
    const patch = { ...fresh, way: "surge" as const, revisions: standby(track.revisions, goal) };
    const beside = track.revisions.length === 0 ? "" : " beside what serves";
    return enter(draft, track, "starting", patch, `starts ${version}${beside}`);
  }
  if (track.home !== 0 && room.unavailable > 0 && mayGoOut(draft, track, room.unavailable)) {
    const patch = { ...fresh, way: "in-place" as const, routed: false };
    return enter(draft, track, "removing", patch, `out of routing, to start ${version} in place`);
  }
  return sweep(draft, track) ? "moved" : wait("for its turn");
}
