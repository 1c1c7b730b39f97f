/**
 * What stops a rollout: the new version exits, never gets ready, stops being ready, answers too many 5xx, or nothing
 * moves forward (C4, I6). Deadlines count only for hosts that are heard from: silence is a partition's business, not a
 * verdict on the version (I5).
 *
 * Source  error share: pooled two-proportion z-test, one-sided. z = 3 is about one false alarm in 740 looks at a version
 *         that is no worse; `maxErrorRate` and `minRequests` have to be passed as well.
 */
import type { HostTrack, Rollout } from "../model/rollout.ts";
import type { VersionTraffic } from "../model/view.ts";
import { formatDuration } from "../../proto/contract/units.ts";
import { analysisFailed } from "./analyses.ts";
import { drainState, drainTimeoutMs } from "./drain.ts";
import type { Draft } from "./draft.ts";
import { warmMs } from "./program.ts";
import { waitsItsTime } from "./steps.ts";
import { moving } from "./track.ts";
import { list, versionName } from "./words.ts";

const CLEARLY_WORSE_Z = 3;
const PLAINLY_BROKEN = 0.5;

/** Stages in which the target has been given traffic. */
export const SERVES: ReadonlySet<HostTrack["stage"]> = new Set(["splitting", "shifting", "restoring"]);

/** Has the target been asked of this host yet? */
export function begun(track: HostTrack): boolean {
  return (
    track.stage !== "waiting" && track.goal !== 0 && track.revisions.some((asked) => asked.revision === track.goal)
  );
}

/** One clause with the evidence, or null. `deadlines: false` while paused: their clocks stand still. */
export function failure(draft: Draft, deadlines: boolean): string | null {
  for (const track of draft.rollout.hosts) {
    if (!begun(track) || !draft.evidence.live(track.host)) continue;
    const found = crashed(draft, track) ?? neverReady(draft, track, deadlines) ?? unready(draft, track);
    if (found !== null) return found;
  }
  return analysisFailed(draft.rollout) ?? errorRate(draft) ?? (deadlines ? stuck(draft) : null);
}

export function crashed(draft: Draft, track: HostTrack): string | null {
  const exits = draft.evidence.exits(track.host, track.towards);
  if (exits <= track.exitsAllowed) return null;
  const version = versionName(draft.context, track.towards);
  const served = track.servesSinceMs > 0 || SERVES.has(track.stage);
  // One was allowed beyond what it had exited before this rollout, or before the operator went on.
  const times = exits - track.exitsAllowed + 1;
  const how = served ? "exited while it served" : `exited ${times} times before it was ready`;
  return `${version} on ${track.host} ${how}${lastWords(draft, track)}`;
}

export function neverReady(draft: Draft, track: HostTrack, deadlines: boolean): string | null {
  const { healthyDeadlineMs } = draft.rollout.strategy;
  if (!deadlines || track.stage !== "starting" || !draft.evidence.confirmed(track.host)) return null;
  if (draft.evidence.healthy(track.host, track.towards)) return null;
  if (draft.context.now - track.sinceMs < healthyDeadlineMs) return null;
  const version = versionName(draft.context, track.towards);
  const within = formatDuration(healthyDeadlineMs);
  return `${version} on ${track.host} was not ready within ${within}${lastWords(draft, track)}`;
}

/** It served, and is not ready any more: for longer than a restarted core needs to probe it again. */
function unready(draft: Draft, track: HostTrack): string | null {
  if (track.unhealthyAtMs === 0) return null;
  const forMs = draft.context.now - track.unhealthyAtMs;
  if (forMs < unreadyGraceMs(draft)) return null;
  const version = versionName(draft.context, track.towards);
  return `${version} on ${track.host} served and has not been ready for ${formatDuration(forMs)}${lastWords(draft, track)}`;
}

export function unreadyGraceMs(draft: Draft): number {
  const probe = draft.context.to.spec.health?.readiness;
  if (probe === undefined) return 2_000;
  const again = 2 * (probe.healthyThreshold * probe.intervalMs + probe.timeoutMs);
  return Math.min(draft.rollout.strategy.healthyDeadlineMs, Math.max(2_000, again));
}

/** Exit code and reason, as the agent told them: what an operator looks for first. */
function lastWords(draft: Draft, track: HostTrack): string {
  const instances = draft.evidence.instances(track.host, track.towards);
  const worst = instances.find((instance) => instance.exit !== "") ?? instances.find((i) => i.healthySinceMs === 0);
  const words = [worst?.exit, worst?.reason].filter((text) => text !== undefined && text !== "");
  return words.length === 0 ? "" : ` (${words.join("; ")})`;
}

function errorRate(draft: Draft): string | null {
  const { strategy } = draft.rollout;
  const { from, to } = draft.context;
  // One label for both: their answers can't be told apart, and nothing is concluded.
  if (from?.version === to.version) return null;
  const fresh = since(draft, to.version);
  if (fresh.requests < Math.max(1, strategy.minRequests)) return null;
  const rate = fresh.errors / fresh.requests;
  // An analysis says more, and its bound on false alarms holds for any number of looks, which a fixed limit's does not.
  // It takes its time to tell a bad version from a bad minute, though: what is plainly broken does not wait for it.
  const judged = strategy.analysis !== null && !draft.rollout.fastTrack;
  const limit = judged ? Math.max(strategy.maxErrorRate, PLAINLY_BROKEN) : strategy.maxErrorRate;
  if (!(rate > limit)) return null;
  const old = from === null ? null : since(draft, from.version);
  if (old !== null && old.requests > 0 && zScore(fresh, old) < CLEARLY_WORSE_Z) return null;
  const beside =
    old === null || old.requests === 0
      ? ""
      : `, ${from?.version ?? ""} to ${old.errors} of ${old.requests} (${percent(old.errors / old.requests)})`;
  return (
    `${to.version} answered 5xx to ${fresh.errors} of ${fresh.requests} requests (${percent(rate)}; ` +
    `${judged ? "plainly broken, beyond" : "maxErrorRate is"} ${percent(limit)})${beside}`
  );
}

function since(draft: Draft, version: string): VersionTraffic {
  const now = draft.context.view.traffic[version];
  const then = draft.rollout.judgedFrom[version];
  const less = (a = 0, b = 0): number => Math.max(0, a - b);
  return {
    requests: less(now?.requests, then?.requests),
    errors: less(now?.errors, then?.errors),
    lost: less(now?.lost, then?.lost),
    latency: now?.latency ?? [],
  };
}

function zScore(fresh: VersionTraffic, old: VersionTraffic): number {
  const pooled = (fresh.errors + old.errors) / (fresh.requests + old.requests);
  const spread = Math.sqrt(pooled * (1 - pooled) * (1 / fresh.requests + 1 / old.requests));
  return spread === 0 ? 0 : (fresh.errors / fresh.requests - old.errors / old.requests) / spread;
}

const percent = (share: number): string => `${(share * 100).toFixed(share < 0.01 ? 2 : 1)} %`;

/** Nothing moved for `progressDeadline`, counted from when the last thing was over that has a clock of its own. */
function stuck(draft: Draft): string | null {
  const { rollout, context, evidence } = draft;
  const { progressDeadlineMs } = rollout.strategy;
  const clocks = rollout.hosts.map((track) => Math.max(drainedAt(draft, track), bakedAt(draft, track)));
  const since = Math.max(rollout.progressAtMs, heldUntil(rollout), ...clocks);
  if (context.now - since < progressDeadlineMs) return null;
  if (evidence.concerned().some((host) => evidence.lease(host) === "unknown")) return null;
  if (waitsItsTime(draft)) return null;
  const waits = rollout.hosts.filter((track) => track.stage !== "done" && !evidence.leftBehind(track.host));
  if (waits.length === 0 && evidence.gatewaysConfirmed()) return null;
  const on = waits.filter(moving).length > 0 ? waits.filter(moving) : waits;
  const what = on.map((track) => `${track.host} ${track.waitingFor === "" ? "waits" : `waits ${track.waitingFor}`}`);
  return `nothing moved forward for ${formatDuration(progressDeadlineMs)}: ${list(what)}`;
}

/** Until then the next host is held back on purpose: the first one is watched, or the one before has only just begun. */
function heldUntil({ strategy, hosts, lastBegunAtMs }: Rollout): number {
  if (strategy.kind !== "rolling" || !hosts.some((track) => track.stage === "waiting")) return 0;
  const done = hosts.filter((track) => track.stage === "done" && track.goal !== 0).map((track) => track.sinceMs);
  const [first] = done.toSorted((a, b) => a - b);
  const watched = first === undefined ? 0 : first + strategy.firstHostMs;
  return Math.max(watched, lastBegunAtMs === 0 ? 0 : lastBegunAtMs + strategy.staggerMs);
}

/** When a drain that runs reaches its hard cap; 0: none runs. */
function drainedAt(draft: Draft, track: HostTrack): number {
  const drains = (track.stage === "draining" || track.stage === "removing") && track.drainSinceMs > 0;
  if (!drains || drainState(draft, track).kind === "drained") return 0;
  return track.drainSinceMs + drainTimeoutMs(draft.context);
}

/** When the new version has been watched for long enough there; 0: it is not, or is not well. */
function bakedAt(draft: Draft, track: HostTrack): number {
  if (!moving(track) || track.healthyAtMs === 0) return 0;
  return Math.max(track.servesSinceMs, track.healthyAtMs) + warmMs(draft.rollout.strategy);
}
