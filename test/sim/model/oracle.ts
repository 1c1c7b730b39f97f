/**
 * The invariants of control/DESIGN.md, judged from what is *true* in the model world at the moment an agent applies
 * something or the engine decides something. It shares no code with the engine's own check.
 */
import type { AssignedService } from "../../../proto/contract/assignment.ts";
import type { HostTrack } from "../../../control/model/rollout.ts";
import type { HostView } from "../../../control/model/view.ts";
import type { SimAgent, SimInstance } from "./agent.ts";
import type { Plan } from "./controller.ts";

export interface Truth {
  readonly now: number;
  readonly agents: readonly SimAgent[];
  readonly drainMs: number;
  readonly cutsAtDeadline: boolean;
  /** The operator has said that what drains may be ended. */
  readonly operatorCut: boolean;
  /** Going on without lost hosts was allowed, by policy or operator. */
  readonly goesOnWithout: boolean;
}

/** News takes so long, at the worst, to reach an agent that is back: lost messages are sent again. */
const BACK_IN_TOUCH_MS = 6_000;

const modes = (service: AssignedService | null): Map<number, string> =>
  new Map((service?.revisions ?? []).map((revision) => [revision.revision, revision.mode]));
const healthy = (instance: SimInstance): boolean => instance.state === "running" && instance.healthySince > 0;

/** Called just before `agent` puts `next` in place of what it has applied. */
export function onApply(agent: SimAgent, next: AssignedService | null, truth: Truth): readonly string[] {
  if (agent.role !== "host") return [];
  const found: string[] = [];
  const was = modes(agent.applied);
  const will = modes(next);
  const of = (revision: number): SimInstance[] => agent.instances.filter((i) => i.revision === revision);

  // I1: new requests never turn from a ready version to one that was not ready, while anyone sends here.
  const serving = [...was].filter(([revision, mode]) => mode === "serving" && of(revision).some(healthy));
  const kept = serving.some(([revision]) => will.get(revision) === "serving");
  const replaced = [...will].some(([revision, mode]) => mode === "serving" && of(revision).some((i) => i.everReady));
  if (serving.length > 0 && !kept && !replaced) {
    const senders = truth.agents.filter((gateway) => sends(gateway, agent.name, truth));
    if (senders.length > 0) {
      const names = senders.map((gateway) => gateway.name).join(", ");
      found.push(`I1: ${agent.name} stops serving with nothing ready, while ${names} sends to it`);
    }
  }
  // I2: what is not named any more has nothing in flight, or is past its deadline under a policy that cuts.
  for (const [revision, mode] of was) {
    if (will.has(revision) || mode === "serving") continue;
    for (const instance of of(revision)) {
      const overdue = mode === "draining" && truth.now - instance.drainSince >= truth.drainMs;
      if (instance.inFlight > 0 && !(overdue && (truth.cutsAtDeadline || truth.operatorCut))) {
        found.push(`I2: ${agent.name} retires revision ${revision} with ${instance.inFlight} in flight`);
      }
    }
  }
  // I2: and never straight from serving, but where something ready takes over.
  for (const [revision, mode] of was) {
    if (will.has(revision) || mode !== "serving" || replaced || !of(revision).some(healthy)) continue;
    if (truth.agents.some((gateway) => sends(gateway, agent.name, truth))) {
      found.push(`I2: ${agent.name} retires revision ${revision} while it serves`);
    }
  }
  return found;
}

function sends(gateway: SimAgent, host: string, truth: Truth): boolean {
  if (gateway.role !== "gateway" || gateway.down) return false;
  // Going on without it was allowed, and until the controller's news has reached it again it can't be told otherwise.
  if (truth.goesOnWithout && truth.now - gateway.outOfTouchAt < BACK_IN_TOUCH_MS) return false;
  return (gateway.applied?.endpoints ?? []).some((endpoint) => endpoint.host === host && endpoint.mode === "serving");
}

/** Called for every decision that changed the rollout. */
export function onPlan({ before, after, context }: Plan, maxUnavailable: number): readonly string[] {
  const found: string[] = [];
  if (context.epoch < before.epoch || after.epoch < before.epoch) found.push("I4: an older epoch decides");
  if (after.pause?.reason === "InvariantViolation") found.push(`the engine stopped itself: ${after.pause.message}`);
  const was = new Map(before.hosts.map((track) => [track.host, track]));
  const counted = (track: HostTrack): boolean => track.goal !== 0 && track.home !== 0;

  // I3: a host that serves goes out only while enough of the others do; one that is dead already may be taken out too.
  for (const track of after.hosts.filter(counted)) {
    if (track.routed || was.get(track.host)?.routed !== true) continue;
    const others = after.hosts.filter((t) => counted(t) && t.host !== track.host);
    const dead = others.filter((t) => !t.routed || !serves(context.view.hosts[t.host]));
    const self = serves(context.view.hosts[track.host]);
    if (self && dead.length + 1 > maxUnavailable) {
      found.push(`I3: ${track.host} goes out though ${dead.map((t) => t.host).join(", ")} is not serving`);
    }
  }

  for (const track of after.hosts) {
    const prior = was.get(track.host);
    if (prior === undefined) continue;
    const view = context.view.hosts[track.host];
    const agreed = view?.lease === "live" && view.appliedHash === view.askedHash;
    // I5: nothing is taken away from a host that has not just said that it does what it was asked.
    const less = prior.revisions.some(({ revision, mode }) => {
      const now = track.revisions.find((asked) => asked.revision === revision)?.mode;
      return now === undefined || (mode === "serving" && now !== "serving");
    });
    if (less && !agreed) found.push(`I5: ${track.host} is changed without news from it`);
    if (prior.routed && !track.routed && view?.lease !== "live") found.push(`I5: ${track.host} is taken out unheard`);
    // I6
    const begins = prior.stage === "waiting" && track.stage !== "waiting" && track.stage !== "done";
    if (!begins || after.stage.kind !== "step" || track.goal === 0) continue;
    const broken = before.hosts.filter((t) => {
      const served = t.servesSinceMs > 0 || t.stage === "done";
      const here = context.view.hosts[t.host];
      return served && t.goal !== 0 && here?.lease === "live" && !hasReady(here, t.goal);
    });
    if (broken.length > 0)
      found.push(`I6: ${track.host} begins while ${broken.map((t) => t.host).join(", ")} is not well`);
    if (before.pause !== null && after.pause !== null) found.push(`I6: ${track.host} begins while paused`);
    if (context.view.unexplainedLoss > after.acknowledgedLoss) found.push(`I6: ${track.host} begins after a loss`);
  }
  return found;
}

const hasReady = (view: HostView, revision: number): boolean =>
  view.instances.some((instance) => instance.revision === revision && instance.healthySinceMs > 0);
function serves(view: HostView | undefined): boolean {
  if (view?.lease !== "live" || view.adminState === "drain") return false;
  return view.instances.some((instance) => instance.healthySinceMs > 0 && instance.state === "serving");
}
