/**
 * One host's way from one revision to another: the ladder that HostStage names, one rung a step at most, and only on
 * what the host itself (and, where it is taken out of routing, every gateway) has confirmed.
 *
 * The same ladder leads forward and back. Back, nothing is baked: readiness is enough (a rollback skips analysis).
 */
import type { HostDesire, HostStage, HostTrack } from "../model/rollout.ts";
import { drainState } from "./drain.ts";
import type { Draft } from "./draft.ts";
import { programOver, splits, warmMs } from "./program.ts";
import { list, versionName } from "./words.ts";

type Asked = HostDesire["revisions"];

/** What became of a host in one step: it went on, or it waits. */
export type Turn = "moved" | "waits";

/** Ready, not routed to. */
export const standby = (revisions: Asked, revision: number): Asked =>
  revision === 0
    ? revisions
    : [...revisions.filter((asked) => asked.revision !== revision), { revision, mode: "standby" }];
/** `revision` takes all new requests; what else runs finishes what it has. */
export const shifted = (revisions: Asked, revision: number): Asked => [
  ...draining(revisions, revision),
  { revision, mode: "serving" },
];
/** Both take their weight of new requests; what else runs finishes what it has. */
export const split = (revisions: Asked, home: number, goal: number): Asked => [
  ...draining(revisions, home).filter((asked) => asked.revision !== goal),
  { revision: home, mode: "serving" },
  { revision: goal, mode: "serving" },
];
/** Nothing but `revision` stays as it is; the rest drains. */
export const draining = (revisions: Asked, revision: number): Asked =>
  revisions
    .filter((asked) => asked.revision !== revision)
    .map((asked) => ({ revision: asked.revision, mode: "draining" }));
export const only = (revision: number): Asked => (revision === 0 ? [] : [{ revision, mode: "serving" }]);

export const moving = (track: HostTrack): boolean => track.stage !== "waiting" && track.stage !== "done";
export const isBack = (draft: Draft): boolean => draft.rollout.stage.kind === "rolling-back";

/** Puts a track on a rung of its ladder; `patch` says what is asked from now on. */
export function enter(draft: Draft, track: HostTrack, stage: HostStage, patch: Partial<HostTrack>, why: string): Turn {
  draft.track(track.host, { stage, sinceMs: draft.context.now, drainSinceMs: 0, waitingFor: "", ...patch });
  draft.progress();
  draft.note(`Host${camel(stage)}`, `${track.host}: ${why}`);
  return "moved";
}

const camel = (text: string): string =>
  text.replace(/(^|-)([a-z])/g, (_all, _dash, letter: string) => letter.toUpperCase());

/** Takes the track one rung further if the reports allow it; else says what is waited for. */
export function advance(draft: Draft, track: HostTrack): Turn {
  switch (track.stage) {
    case "waiting":
    case "done":
      return "waits";
    case "splitting":
      return splitting(draft, track);
    case "removing":
      return removing(draft, track);
    case "starting":
      return starting(draft, track);
    case "shifting":
      return shifting(draft, track);
    case "draining":
      return drainingStage(draft, track);
    case "stopping":
      return stopping(draft, track);
    case "restoring":
      return restoring(draft, track);
  }
}

export function wait(draft: Draft, track: HostTrack, waitingFor: string): Turn {
  draft.track(track.host, { waitingFor });
  return "waits";
}
/** Takes down since when; what follows is for the next step. */
function mark(draft: Draft, track: HostTrack, since: Partial<HostTrack>): Turn {
  draft.track(track.host, since);
  return "waits";
}
const unconfirmed = (draft: Draft, track: HostTrack): boolean => {
  if (draft.evidence.confirmed(track.host)) return false;
  wait(draft, track, draft.evidence.live(track.host) ? "to apply what it is asked" : "to report");
  return true;
};
const unconfirmedGateways = (draft: Draft, track: HostTrack): boolean => {
  if (draft.evidence.gatewaysConfirmed()) return false;
  wait(draft, track, `for ${list(draft.evidence.unconfirmedGateways())} to apply the new routes`);
  return true;
};

/** In place, R5: every gateway stops sending before anything on the host changes. */
function removing(draft: Draft, track: HostTrack): Turn {
  if (unconfirmed(draft, track) || unconfirmedGateways(draft, track)) return "waits";
  if (track.drainSinceMs === 0) return mark(draft, track, { drainSinceMs: draft.context.now });
  const state = drainState(draft, track);
  if (state.kind === "running" || state.kind === "overdue") return wait(draft, track, "for gateways' requests to end");
  return enter(
    draft,
    track,
    "draining",
    { revisions: draining(track.revisions, 0) },
    `out of routing; ${leaving(draft, track)} drains`,
  );
}

function starting(draft: Draft, track: HostTrack): Turn {
  const { evidence, context } = draft;
  const version = versionName(context, track.towards);
  if (unconfirmed(draft, track) || sweep(draft, track)) return "waits";
  if (!evidence.healthy(track.host, track.towards)) return wait(draft, track, `for ${version} to be ready`);
  if (!held(draft, track, track.healthyAtMs)) return wait(draft, track, `for ${version} to stay ready`);
  const exitsAllowed = evidence.exits(track.host, track.towards);
  const shares = splits(draft.rollout) && !isBack(draft) && !programOver(draft.rollout);
  if (shares && track.towards === track.goal) {
    // A host that runs nothing else would take all of its traffic there: it waits for the program's end.
    const rest = restOf(track);
    if (rest === 0) return wait(draft, track, "for the traffic to be moved");
    const revisions = split(track.revisions, rest, track.goal);
    const patch = { revisions, exitsAllowed, servesSinceMs: 0 };
    return enter(draft, track, "splitting", patch, `${version} is ready and takes part in the traffic`);
  }
  if (track.way === "surge") {
    const revisions = shifted(track.revisions, track.towards);
    return enter(
      draft,
      track,
      "shifting",
      { revisions, exitsAllowed, servesSinceMs: 0 },
      `${version} is ready and takes new requests`,
    );
  }
  const patch = { revisions: only(track.towards), routed: true, exitsAllowed, servesSinceMs: 0 };
  return enter(draft, track, "restoring", patch, `${version} is ready and goes back into routing`);
}

/**
 * What takes the traffic of a host that the target has not been given: its home, or what a superseded rollout had moved it
 * to; 0: nothing serves there but the target.
 */
export function restOf({ home, goal, revisions }: HostTrack): number {
  const serving = revisions.filter(({ revision, mode }) => mode === "serving" && revision !== goal);
  return (serving.find(({ revision }) => revision === home) ?? serving.at(-1))?.revision ?? 0;
}

/** Both serve by weight, until the program is over; then the new one takes what the other has left. */
function splitting(draft: Draft, track: HostTrack): Turn {
  const { evidence, context, rollout } = draft;
  const version = versionName(context, track.towards);
  if (unconfirmed(draft, track)) return "waits";
  if (track.servesSinceMs === 0) return mark(draft, track, { servesSinceMs: context.now });
  if (!evidence.healthy(track.host, track.towards)) return wait(draft, track, `for ${version} to be ready again`);
  if (!programOver(rollout)) return wait(draft, track, "");
  const patch = { revisions: shifted(track.revisions, track.towards) };
  return enter(draft, track, "shifting", patch, `${version} takes all new requests`);
}

function shifting(draft: Draft, track: HostTrack): Turn {
  const { evidence, context } = draft;
  const version = versionName(context, track.towards);
  if (unconfirmed(draft, track)) return "waits";
  if (!isBack(draft) && !evidence.healthy(track.host, track.towards))
    return wait(draft, track, `for ${version} to be ready`);
  return enter(
    draft,
    track,
    "draining",
    { servesSinceMs: context.now, drainSinceMs: context.now },
    `serves ${version}`,
  );
}

/** What is on its way out ends; meanwhile the new version bakes, with the old one still there to go back to. */
function drainingStage(draft: Draft, track: HostTrack): Turn {
  const { evidence, context } = draft;
  const version = versionName(context, track.towards);
  if (unconfirmed(draft, track)) return "waits";
  if (track.drainSinceMs === 0) return mark(draft, track, { drainSinceMs: context.now });
  const state = drainState(draft, track);
  if (state.kind === "running" || state.kind === "overdue") {
    return wait(draft, track, `for ${leaving(draft, track)} to finish what is in flight`);
  }
  const cut = state.kind === "cut" ? `; ${state.inFlight} still in flight are ended at the drain deadline` : "";
  const kept = track.revisions.filter((asked) => asked.revision === track.towards);
  if (kept.some((asked) => asked.mode === "serving") && !isBack(draft)) {
    if (!evidence.healthy(track.host, track.towards)) return wait(draft, track, `for ${version} to be ready again`);
    if (!held(draft, track, Math.max(track.servesSinceMs, track.healthyAtMs), warmMs(draft.rollout.strategy))) {
      return wait(draft, track, `for ${version} to bake`);
    }
  }
  return enter(draft, track, "stopping", { revisions: kept }, `${leaving(draft, track)} is drained and stops${cut}`);
}

function stopping(draft: Draft, track: HostTrack): Turn {
  const { evidence, context } = draft;
  if (unconfirmed(draft, track)) return "waits";
  if (!evidence.alone(track.host, track.towards)) return wait(draft, track, "for other versions' processes to exit");
  const version = versionName(context, track.towards);
  if (track.towards === 0) return enter(draft, track, "done", {}, "nothing runs here any more");
  if (!track.revisions.some((asked) => asked.mode === "serving")) {
    const exitsAllowed = evidence.exits(track.host, track.towards) + 1;
    const patch = { revisions: standby([], track.towards), exitsAllowed, healthyAtMs: 0, healthyMark: 0 };
    return enter(draft, track, "starting", patch, `starts ${version}`);
  }
  if (!isBack(draft) && !evidence.healthy(track.host, track.towards))
    return wait(draft, track, `for ${version} to be ready`);
  if (unconfirmedGateways(draft, track)) return "waits";
  return enter(draft, track, "done", {}, `serves ${version} alone`);
}

function restoring(draft: Draft, track: HostTrack): Turn {
  const { evidence, context } = draft;
  const version = versionName(context, track.towards);
  if (unconfirmed(draft, track) || unconfirmedGateways(draft, track)) return "waits";
  if (track.servesSinceMs === 0) return mark(draft, track, { servesSinceMs: context.now });
  if (!isBack(draft)) {
    if (!evidence.healthy(track.host, track.towards)) return wait(draft, track, `for ${version} to be ready again`);
    if (!held(draft, track, Math.max(track.servesSinceMs, track.healthyAtMs))) {
      return wait(draft, track, `for ${version} to bake`);
    }
  }
  if (!isBack(draft) && track.towards !== track.goal) {
    const patch = { towards: track.goal, way: "surge" as const, servesSinceMs: 0, healthyAtMs: 0, healthyMark: 0 };
    return enter(draft, track, "waiting", patch, `serves ${version} again`);
  }
  return enter(draft, track, "done", {}, `serves ${version}`);
}

/** Leftovers of a superseded rollout that take no traffic any more: out, as soon as nothing is in flight on them (I2). */
export function sweep(draft: Draft, track: HostTrack): boolean {
  const leftovers = track.revisions.filter((asked) => asked.mode === "draining" && asked.revision !== track.towards);
  if (leftovers.length === 0 || !draft.evidence.confirmed(track.host)) return false;
  if (track.drainSinceMs === 0) {
    draft.track(track.host, { drainSinceMs: draft.context.now });
    return true;
  }
  const out = leftovers.filter((asked) => {
    const inFlight = draft.evidence.inFlight(track.host, asked.revision);
    const { kind } = drainState(draft, track, inFlight);
    return kind === "drained" || kind === "cut";
  });
  if (out.length === 0) return false;
  draft.track(track.host, { revisions: track.revisions.filter((asked) => !out.includes(asked)) });
  const names = out.map((asked) => versionName(draft.context, asked.revision));
  draft.note("HostSwept", `${track.host}: ${list(names)}, left by a superseded rollout, is drained and stops`);
  return true;
}

/** Has it lasted, for `minHealthyTime` unless said otherwise? Back, and after `promote --full`, nothing is waited out. */
function held(draft: Draft, track: HostTrack, sinceMs: number, forMs = draft.rollout.strategy.minHealthyMs): boolean {
  if (isBack(draft) || draft.rollout.skipBakes || track.towards === 0) return true;
  return sinceMs > 0 && draft.context.now - sinceMs >= forMs;
}

function leaving(draft: Draft, track: HostTrack): string {
  const out = track.revisions.filter((asked) => asked.revision !== track.towards);
  return out.length === 0 ? "nothing" : list(out.map((asked) => versionName(draft.context, asked.revision)));
}
