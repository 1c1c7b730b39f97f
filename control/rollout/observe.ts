/** Takes down what the newest reports show and later steps must know: since when a host is ready, who came, who is back. */
import type { HostTrack } from "../model/rollout.ts";
import type { Draft } from "./draft.ts";
import { newcomers } from "./tracks.ts";
import { SERVES } from "./judge.ts";

export function observe(draft: Draft): void {
  const { evidence, context } = draft;
  for (const track of draft.rollout.hosts) draft.track(track.host, readiness(draft, track));
  const back = draft.rollout.without.filter((host) => evidence.lease(host) === "lost");
  if (back.length !== draft.rollout.without.length) draft.set({ without: back });
  const kind = draft.rollout.stage.kind;
  if (kind !== "preparing" && kind !== "step") return;
  const added = newcomers(draft.rollout, context);
  draft.add(added);
  for (const track of added) draft.note("HostJoined", `${track.host} is placed now and joins the rollout`);
}

function readiness(draft: Draft, track: HostTrack): Partial<HostTrack> {
  const { evidence, context } = draft;
  if (track.towards === 0 || !track.revisions.some((asked) => asked.revision === track.towards)) return {};
  if (!evidence.live(track.host)) return { unhealthyAtMs: 0 };
  if (!evidence.healthy(track.host, track.towards)) {
    const serves = track.servesSinceMs > 0 || SERVES.has(track.stage);
    const since = track.unhealthyAtMs === 0 ? context.now : track.unhealthyAtMs;
    return { healthyAtMs: 0, healthyMark: 0, unhealthyAtMs: serves ? since : 0 };
  }
  const mark = evidence.readyMark(track.host, track.towards);
  if (track.healthyAtMs > 0 && mark === track.healthyMark) return { unhealthyAtMs: 0 };
  return { healthyAtMs: context.now, healthyMark: mark, unhealthyAtMs: 0 };
}
