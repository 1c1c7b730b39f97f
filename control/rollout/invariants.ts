/**
 * The invariants, asked of every plan before it is acted on (control/DESIGN.md numbers them). They look only at what was
 * asked before, what is to be asked now, and what is reported; how the plan came about is not their business, so a
 * defect of the ladder does not hide itself here.
 *
 * I4 has a second half where assignments are sent: (epoch, generation) only grows, and agents refuse less.
 */
import type { HostTrack, Rollout } from "../model/rollout.ts";
import { cutsAtDeadline, drainTimeoutMs } from "./drain.ts";
import { Evidence } from "./evidence.ts";
import { restOf } from "./track.ts";
import { slots } from "./window.ts";
import { list } from "./words.ts";
import type { Context } from "./types.ts";

export interface Violation {
  readonly invariant: "I1" | "I2" | "I3" | "I4" | "I5" | "I6";
  readonly message: string;
}

export function check(before: Rollout, after: Rollout, context: Context): readonly Violation[] {
  if (before === after) return [];
  const evidence = new Evidence(before, context);
  const was = new Map(before.hosts.map((track) => [track.host, track]));
  const found: Violation[] = [];
  if (context.epoch < before.epoch || after.change <= before.change) {
    found.push({ invariant: "I4", message: `epoch ${context.epoch} or change ${after.change} goes back` });
  }
  for (const next of after.hosts) {
    const prior = was.get(next.host);
    if (prior === undefined || !changed(prior, next)) continue;
    found.push(
      ...capacity(prior, next, evidence),
      ...retirement(prior, next, evidence, context),
      ...news(prior, next, evidence),
    );
  }
  return [
    ...found,
    ...weights(before, after, evidence),
    ...availability(before, after, evidence, context),
    ...lastOnes(before, after, evidence),
    ...stopped(before, after, evidence, context),
  ];
}

const modeOf = (track: HostTrack, revision: number) =>
  track.revisions.find((asked) => asked.revision === revision)?.mode;
const servingOf = (track: HostTrack): readonly number[] =>
  track.revisions.filter((asked) => asked.mode === "serving").map((asked) => asked.revision);
const changed = (a: HostTrack, b: HostTrack): boolean => a.routed !== b.routed || a.revisions !== b.revisions;

/** I1: traffic is taken from a ready revision only for another ready one, or once every gateway has gone elsewhere. */
function capacity(prior: HostTrack, next: HostTrack, evidence: Evidence): readonly Violation[] {
  const { host } = next;
  const lost = servingOf(prior).filter((revision) => modeOf(next, revision) !== "serving");
  if (!lost.some((revision) => evidence.up(host, revision))) return [];
  if (servingOf(next).some((revision) => evidence.up(host, revision))) return [];
  if (!prior.routed && !next.routed && evidence.gatewaysConfirmed()) return [];
  return [
    {
      invariant: "I1",
      message: `revision ${lost.join(", ")} would stop serving on ${host} with nothing ready in its place`,
    },
  ];
}

/**
 * I1: more is sent to a version only where it is ready on every host that takes its share; less, only where the version
 * before is. I5: and only when all of them have confirmed what was asked before.
 */
function weights(before: Rollout, after: Rollout, evidence: Evidence): readonly Violation[] {
  const change = after.split.weight - before.split.weight;
  const taking = after.hosts.filter((t) => t.stage === "splitting" && !evidence.leftBehind(t.host));
  if (change === 0 || taking.length === 0) return [];
  const found: Violation[] = [];
  const unready = taking.filter((t) => !evidence.up(t.host, change > 0 ? t.goal : restOf(t)));
  if (unready.length > 0) {
    const to = `${before.split.weight} to ${after.split.weight}`;
    found.push({ invariant: "I1", message: `the weight would go from ${to} with ${names(unready)} not ready for it` });
  }
  const silent = taking.filter((t) => !evidence.confirmed(t.host));
  if (change > 0 && silent.length > 0) {
    found.push({
      invariant: "I5",
      message: `the weight would rise without ${names(silent)} having confirmed the last one`,
    });
  }
  return found;
}

const names = (tracks: readonly HostTrack[]): string => list(tracks.map((track) => track.host));

/** I2: nothing is retired that takes traffic or has something in flight, but for a deadline that may cut it. */
function retirement(prior: HostTrack, next: HostTrack, evidence: Evidence, context: Context): readonly Violation[] {
  const { host } = next;
  const found: Violation[] = [];
  for (const { revision, mode } of prior.revisions) {
    if (modeOf(next, revision) !== undefined) continue;
    if (mode === "serving")
      found.push({ invariant: "I2", message: `revision ${revision} on ${host} would be stopped while it serves` });
    const inFlight = evidence.inFlight(host, revision);
    const overdue = prior.drainSinceMs > 0 && context.now >= prior.drainSinceMs + drainTimeoutMs(context);
    if (inFlight > 0 && !(overdue && cutsAtDeadline(context, prior))) {
      found.push({
        invariant: "I2",
        message: `revision ${revision} on ${host} would be stopped with ${inFlight} in flight`,
      });
    }
  }
  return found;
}

/** I5: what takes something away stands on this host's own confirmation of what it was asked before. */
function news(prior: HostTrack, next: HostTrack, evidence: Evidence): readonly Violation[] {
  const less = prior.revisions.some(({ revision, mode }) => {
    const now = modeOf(next, revision);
    return now === undefined || (mode === "serving" && now !== "serving");
  });
  const out = prior.routed && !next.routed;
  if ((!less || evidence.confirmed(next.host)) && (!out || evidence.live(next.host))) return [];
  return [{ invariant: "I5", message: `${next.host} would be changed without its having confirmed what it was asked` }];
}

/** I3: no host that serves anything, or is about to, goes out of routing when `maxUnavailable` do not serve, for whatever reason. */
function availability(before: Rollout, after: Rollout, evidence: Evidence, context: Context): readonly Violation[] {
  const counts = (track: HostTrack): boolean => track.goal !== 0 && track.home !== 0;
  const leaves = new Set(after.hosts.filter((track) => counts(track) && !track.routed).map((track) => track.host));
  const out = before.hosts.filter((track) => track.routed && leaves.has(track.host));
  if (out.length === 0) return [];
  const down = before.hosts.filter((track) => counts(track) && !evidence.serves(track));
  const idle = new Set(down.map((track) => track.host));
  if (out.every((track) => idle.has(track.host) && !evidence.mayServe(track))) return [];
  const back = before.hosts.filter((track) => counts(track) && evidence.comesBack(track));
  const total = new Set([...idle, ...[...back, ...out].map((track) => track.host)]).size;
  const { unavailable } = slots(before, context);
  if (total <= unavailable) return [];
  return [{ invariant: "I3", message: `${total} hosts would not be serving; maxUnavailable allows ${unavailable}` }];
}

/** I3: hosts that the target leaves go out of routing only while one that stays serves. */
function lastOnes(before: Rollout, after: Rollout, evidence: Evidence): readonly Violation[] {
  if (before.stage.kind !== "step") return [];
  const left = new Set(after.hosts.filter((track) => track.goal === 0 && !track.routed).map((track) => track.host));
  const out = before.hosts.filter((track) => track.routed && left.has(track.host));
  if (out.length === 0 || before.hosts.some((track) => track.goal !== 0 && evidence.serves(track))) return [];
  return [{ invariant: "I3", message: `${names(out)} would go out of routing though no host that stays serves` }];
}

const BY_HAND: ReadonlySet<string> = new Set(["Step", "AwaitingApproval", "Manual"]);

/** I6: a paused rollout, or one that has lost something unexplained, or whose version exits, gives the version to nobody new. */
function stopped(before: Rollout, after: Rollout, evidence: Evidence, context: Context): readonly Violation[] {
  if (after.stage.kind !== "step") return [];
  const had = new Map(before.hosts.map((track) => [track.host, track]));
  const fresh = after.hosts.filter((track) => {
    const prior = had.get(track.host);
    return prior?.stage === "waiting" && track.stage !== "waiting" && track.goal !== 0;
  });
  const more = after.split.weight > before.split.weight;
  if (fresh.length === 0 && !more) return [];
  // At a step's own pause, the operator may set the weight by hand.
  const paused = after.pause !== null && (fresh.length > 0 || !BY_HAND.has(after.pause.reason));
  const why = paused
    ? `paused (${after.pause.reason})`
    : context.view.unexplainedLoss > after.acknowledgedLoss
      ? "unexplained loss"
      : before.hosts.some(
            ({ host, towards, goal, servesSinceMs, exitsAllowed }) =>
              towards === goal && servesSinceMs > 0 && evidence.exits(host, goal) > exitsAllowed,
          )
        ? "an exit of the new version"
        : after.analyses.some((run) => run.phase === "failed")
          ? "a failed analysis"
          : null;
  if (why === null) return [];
  const what = fresh.length === 0 ? "the weight would rise" : `${names(fresh)} would begin`;
  return [{ invariant: "I6", message: `${what} in spite of ${why}` }];
}
