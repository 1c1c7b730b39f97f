/**
 * Which host moves next. The window is continuous: a host begins as soon as a slot is free and every host that was moved
 * before is healthy, so a failing version reaches `maxSurge` + `maxUnavailable` hosts and no more (I3, I6).
 *
 * maxSurge        hosts that run both versions side by side
 * maxUnavailable  hosts that may be out of routing, whatever the reason: moved in place, drained by an operator, lost,
 *                 or with nothing ready. What is out for another reason leaves less for the rollout.
 * Percent         as Kubernetes: surge rounded up, unavailable down; one host surges when both come to nothing.
 * Both by weight  no host goes out; `maxSurge` hosts start the new version at a time.
 * Hosts by weight no more hosts begin than the program's present weight says (rounded up).
 * Rolling         `firstHost` goes alone, `stagger` spreads the others, `orderBy` takes hosts group by group.
 * First rollout   all hosts at once: there is no traffic to protect yet (as Kubernetes and Nomad do).
 *
 * Cost            a look at all hosts for each that moves, a look at its own for each that waits (Draft.ofAll).
 */
import { formatDuration, resolveCount, WHOLE } from "../../proto/contract/units.ts";
import type { HostTrack, Rollout } from "../model/rollout.ts";
import type { Draft } from "./draft.ts";
import { currentStep, programOver, splits } from "./program.ts";
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
  if (external || splits(rollout)) return { surge: Math.max(1, surge + unavailable), unavailable: 0 };
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
  const { evidence } = draft;
  // A gateway that has not caught up may not send to the others yet; a host that has not may not take anything yet.
  if (!evidence.gatewaysConfirmed()) return false;
  if (draft.ofAll(comingBack).some((host) => host !== track.host)) return false;
  if (draft.ofAll(outInPlace) >= unavailable) return false;
  if (servesNobody(draft, track)) return true;
  const down = draft.ofAll(notServing);
  return down.size + (down.has(track.host) ? 0 : 1) <= unavailable;
}

/** Nor is about to: it is not made worse by being taken out, and need not wait for its turn. */
export function servesNobody(draft: Draft, track: HostTrack): boolean {
  return draft.ofAll(notServing).has(track.host) && !draft.evidence.mayServe(track);
}

const comingBack = ({ rollout, evidence }: Draft): readonly string[] =>
  rollout.hosts.filter((t) => evidence.comesBack(t)).map((t) => t.host);

const outInPlace = ({ rollout, evidence }: Draft): number =>
  rollout.hosts.filter((t) => moving(t) && t.way === "in-place" && t.goal !== 0 && !evidence.leftBehind(t.host)).length;

/** Begins as many waiting hosts as the window has room for. */
export function beginHosts(draft: Draft): void {
  const waiting = draft.before.hosts.filter((track) => track.stage === "waiting");
  if (waiting.length === 0) return;
  const sick = unhealthyBefore(draft);
  for (const track of inOrder(draft, waiting)) {
    const waitingFor = sick.length > 0 ? `for ${list(sick)} to be healthy` : turnOf(draft, track);
    if (waitingFor !== "") draft.track(track.host, { waitingFor });
    else if (beginHost(draft, track) === "moved") draft.set({ lastBegunAtMs: draft.context.now });
  }
}

/** Of hosts that serve both before and after: how many have begun, and how many the program asks for by now. */
export function movedShare({ rollout, context }: Draft): { readonly moved: number; readonly due: number } {
  const counted = rollout.hosts.filter((track) => track.goal !== 0 && track.home !== 0);
  const moved = counted.filter((track) => track.stage !== "waiting").length;
  if (programOver(rollout)) return { moved, due: counted.length };
  // Hosts that the view has lost are among those that count: the share is of the fleet as it should be.
  const due = Math.ceil((rollout.split.weight * counted.length) / WHOLE);
  return { moved: context.cluster.hosts.length === 0 ? 0 : moved, due };
}

/** What a host's turn waits for besides a free slot; "" for nothing. */
function turnOf(draft: Draft, track: HostTrack): string {
  const { rollout, context } = draft;
  if (rollout.from === 0 || track.goal === 0) return "";
  if (currentStep(rollout) !== undefined && !splits(rollout)) {
    const { moved, due } = draft.ofAll(movedShare);
    return track.home !== 0 && moved < due ? "" : "for the program to move more hosts";
  }
  const { strategy } = rollout;
  if (strategy.kind !== "rolling") return "";
  const first =
    strategy.firstHostMs === 0 || rollout.skipBakes || rollout.fastTrack ? undefined : draft.ofAll(firstBegun);
  if (first !== undefined && !draft.ofAll(watched)) {
    return `for ${first.host}, which goes first, to be watched for ${formatDuration(strategy.firstHostMs)}`;
  }
  if (rollout.lastBegunAtMs > 0 && context.now < rollout.lastBegunAtMs + strategy.staggerMs) {
    return `for ${formatDuration(strategy.staggerMs)} to pass since the host before began`;
  }
  if (strategy.orderBy === "") return "";
  const group = context.cluster.groups?.[track.host] ?? "";
  const before = draft.ofAll(unfinished).find((of) => of.group < group);
  return before === undefined ? "" : `for ${before.host}, whose ${strategy.orderBy} comes before`;
}

const firstBegun = ({ rollout }: Draft): HostTrack | undefined =>
  rollout.hosts.find((t) => t.goal !== 0 && t.stage !== "waiting");

/** Of each group that is not done, the first host: groups are few, hosts are not. */
function unfinished({
  rollout,
  context,
  evidence,
}: Draft): readonly { readonly host: string; readonly group: string }[] {
  const first = new Map<string, string>();
  for (const { host, goal, stage } of rollout.hosts) {
    const group = context.cluster.groups?.[host] ?? "";
    if (goal === 0 || stage === "done" || first.has(group) || evidence.leftBehind(host)) continue;
    first.set(group, host);
  }
  return [...first].map(([group, host]) => ({ group, host }));
}

/** Some host has served long enough to be followed. */
function watched({ rollout, context }: Draft): boolean {
  const { strategy, hosts } = rollout;
  const firstHostMs = strategy.kind === "rolling" ? strategy.firstHostMs : 0;
  return hosts.some((t) => t.goal !== 0 && t.stage === "done" && context.now - t.sinceMs >= firstHostMs);
}

/** Hosts that serve what they were taken to and are not known to be well: nobody follows them. */
function unhealthyBefore(draft: Draft): readonly string[] {
  return draft.rollout.hosts
    .filter((track) => track.goal !== 0 && (track.stage === "done" || track.servesSinceMs > 0))
    .filter((track) => !draft.evidence.leftBehind(track.host) && !draft.evidence.healthy(track.host, track.towards))
    .map((track) => track.host);
}

/** Hosts that take no traffic now, first; then those with leftovers; then as given. Leavers come last. */
function inOrder(draft: Draft, tracks: readonly HostTrack[]): readonly HostTrack[] {
  const rank = (track: HostTrack): number => {
    if (track.goal === 0) return 3;
    if (!draft.evidence.serves(track)) return 0;
    return track.revisions.length > 1 ? 1 : 2;
  };
  return tracks
    .map((track) => ({ track, rank: rank(track), group: draft.context.cluster.groups?.[track.host] ?? "" }))
    .sort((a, b) => a.rank - b.rank || (a.group < b.group ? -1 : a.group > b.group ? 1 : 0))
    .map(({ track }) => track);
}

export const roomOf = ({ rollout, context }: Draft): Slots => slots(rollout, context);

/** Where both serve by weight, both stay: it is the starting that is spread. */
function surging({ rollout, evidence }: Draft): number {
  const surges = (t: HostTrack): boolean => (splits(rollout) ? t.stage === "starting" : moving(t) && t.way === "surge");
  return rollout.hosts.filter((t) => surges(t) && !evidence.leftBehind(t.host)).length;
}

/** Some host that stays takes traffic: without one, those that leave are all there is. */
const stayServing = ({ before, evidence }: Draft): boolean =>
  before.hosts.some((t) => t.goal !== 0 && t.stage === "done" && evidence.serves(t));

/** Some host that stays has still to be moved. */
const unmoved = ({ rollout, evidence }: Draft): boolean =>
  rollout.hosts.some((t) => t.goal !== 0 && t.stage !== "done" && !evidence.leftBehind(t.host));

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
    if (draft.ofAll(unmoved)) return wait("for the hosts that stay");
    if (!draft.ofAll(stayServing)) return wait("for a host that stays to serve: none does now");
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
  const { surge, unavailable } = draft.ofAll(roomOf);
  const exitsAllowed = evidence.exits(host, goal) + 1;
  const fresh = { healthyAtMs: 0, healthyMark: 0, unhealthyAtMs: 0, servesSinceMs: 0, exitsAllowed };
  if (rollout.from === 0 || draft.ofAll(surging) < surge) {
    const patch = { ...fresh, way: "surge" as const, revisions: standby(track.revisions, goal) };
    const beside = track.revisions.length === 0 ? "" : " beside what serves";
    return enter(draft, track, "starting", patch, `starts ${version}${beside}`);
  }
  if (track.home !== 0 && unavailable > 0 && mayGoOut(draft, track, unavailable)) {
    const patch = { ...fresh, way: "in-place" as const, routed: false };
    return enter(draft, track, "removing", patch, `out of routing, to start ${version} in place`);
  }
  return sweep(draft, track) ? "moved" : wait("for its turn");
}
