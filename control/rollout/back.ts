/**
 * The way back: every host returns to the revision before (its `home`). Capacity first: where the old version is gone it
 * is started beside the new one and has to be ready; only then does traffic turn; only then does the new one drain and
 * stop. Hosts are taken back independently of each other, and all at once where surge is allowed: speed is what counts,
 * and the old version is known. Without surge they keep to `maxUnavailable`.
 *
 * A rollback bakes and judges nothing and can't be rolled back. If the old version does not get ready either, it ends as
 * Failed with every host left as it is; desired/ then keeps serving what is ready there.
 *
 * After a first rollout there is nothing to go back to: the version is taken out again.
 */
import type { HostTrack, Stage } from "../model/rollout.ts";
import { concludeAnalyses } from "./analyses.ts";
import type { Draft } from "./draft.ts";
import { crashed, neverReady } from "./judge.ts";
import { advance, draining, enter, shifted, standby, type Turn, wait } from "./track.ts";
import { mayGoOut, roomOf, servesNobody } from "./window.ts";
import { list, versionName } from "./words.ts";

export function turnBack(draft: Draft, why: string, actor = "engine"): void {
  draft.set({ pause: null, progressAtMs: draft.context.now, split: { weight: 0, routes: [], mirrors: [] } });
  concludeAnalyses(draft);
  draft.stage({ kind: "rolling-back", of: "capacity", why });
  for (const track of draft.rollout.hosts) {
    const settled = track.revisions.every((asked) => asked.revision === track.home);
    const stays = settled && track.routed && track.stage !== "starting";
    draft.track(track.host, {
      towards: track.home,
      stage: stays ? "done" : "waiting",
      sinceMs: draft.context.now,
      drainSinceMs: 0,
      servesSinceMs: 0,
      healthyAtMs: 0,
      healthyMark: 0,
      unhealthyAtMs: 0,
      waitingFor: "",
    });
  }
  draft.note("RollingBack", why, actor);
}

export function rollBack(draft: Draft, why: string): void {
  for (const track of draft.before.hosts) {
    if (track.stage === "waiting") beginBack(draft, track);
    else advance(draft, track);
  }
  const lost = hopeless(draft);
  if (lost !== null) {
    draft.set({ endedAtMs: draft.context.now });
    draft.stage({ kind: "failed", why: `${why}; and the rollback failed: ${lost}` });
    draft.note("RollbackFailed", `${lost}: traffic stays on what is healthy`);
    return;
  }
  const left = draft.rollout.hosts.filter((track) => track.stage !== "done");
  const behind = left.filter((track) => draft.evidence.leftBehind(track.host)).map((track) => track.host);
  if (left.length === behind.length && draft.evidence.gatewaysConfirmed()) {
    draft.set({ endedAtMs: draft.context.now, pause: null });
    const without = behind.length === 0 ? "" : `; without ${list(behind)}, which is lost`;
    const before = draft.rollout.from === 0 ? "nothing ran before, so nothing is left running" : "";
    draft.stage({ kind: "rolled-back", why: `${why}${without}${before === "" ? "" : `; ${before}`}` });
    draft.note("RolledBack", `every host is back on ${versionName(draft.context, draft.rollout.from)}${without}`);
    return;
  }
  const { stage } = draft.rollout;
  if (stage.kind === "rolling-back") draft.stage({ ...stage, of: rungs(draft.rollout.hosts) });
}

type Rung = Extract<Stage, { kind: "rolling-back" }>["of"];
function rungs(tracks: readonly HostTrack[]): Rung {
  const at = new Set(tracks.map((track) => track.stage));
  if (at.has("waiting") || at.has("removing") || at.has("starting")) return "capacity";
  return at.has("shifting") || at.has("restoring") ? "traffic" : "drain";
}

function beginBack(draft: Draft, track: HostTrack): Turn {
  const { evidence, context } = draft;
  const { host, home } = track;
  const version = versionName(context, home);
  const asked = track.revisions.find((entry) => entry.revision === home);
  const others = draining(track.revisions, home);
  const exitsAllowed = evidence.exits(host, home) + 1;
  // A host that comes back into routing takes up its slot until every gateway knows.
  const way = track.routed ? ("surge" as const) : ("in-place" as const);

  if (home === 0) {
    if (!evidence.live(host)) return wait(draft, track, "to report");
    return enter(
      draft,
      track,
      "removing",
      { way: "in-place", routed: false },
      "nothing ran here before: out of routing",
    );
  }
  if (asked?.mode === "serving") {
    // Where both serve by weight, the weight is back already; the new one goes on hearing, and on evidence.
    const both = track.revisions.some((entry) => entry !== asked && entry.mode === "serving");
    if (both && !evidence.live(host)) return wait(draft, track, "to report");
    if (both && !evidence.confirmed(host)) return wait(draft, track, "to apply what it is asked");
    if (both && !evidence.up(host, home)) return wait(draft, track, `for ${version} to be ready`);
    const revisions = [...others, asked];
    const patch = { revisions, routed: true, way };
    return enter(draft, track, "draining", patch, `${version} still serves; the rest goes`);
  }
  if (asked !== undefined && evidence.confirmed(host) && evidence.up(host, home)) {
    // It was never told to stop, so nothing needs to be started before traffic turns.
    const patch = { revisions: shifted(track.revisions, home), routed: true, way, exitsAllowed };
    return enter(draft, track, "shifting", patch, `${version} is still up and takes new requests`);
  }
  if (!track.routed && track.revisions.some((entry) => entry.mode === "serving")) {
    // Gateways may not have heard yet that it is out.
    const patch = { way: "in-place" as const, exitsAllowed };
    return enter(draft, track, "removing", patch, `stays out of routing, to start ${version} in place`);
  }
  if (!track.routed) {
    // Out of routing in mid-move: the target goes first, as it would have had to on the way there.
    const patch = {
      way: "in-place" as const,
      revisions: asked === undefined ? others : [...others, asked],
      exitsAllowed,
    };
    return enter(draft, track, "draining", patch, `${version} comes back in place`);
  }
  const room = draft.ofAll(roomOf);
  if (room.surge > 0) {
    const patch = { way: "surge" as const, revisions: standby(track.revisions, home), exitsAllowed };
    return enter(draft, track, "starting", patch, `starts ${version} beside what serves`);
  }
  if (evidence.live(host) && (servesNobody(draft, track) || mayGoOut(draft, track, room.unavailable))) {
    const patch = { way: "in-place" as const, routed: false, exitsAllowed };
    return enter(draft, track, "removing", patch, `out of routing, to start ${version} in place`);
  }
  return wait(draft, track, "for its turn");
}

/** The old version can't be had back on some host. */
function hopeless(draft: Draft): string | null {
  for (const track of draft.rollout.hosts) {
    if (track.stage !== "starting" || !draft.evidence.live(track.host)) continue;
    const found = crashed(draft, track) ?? neverReady(draft, track, true);
    if (found !== null) return found;
  }
  return null;
}
