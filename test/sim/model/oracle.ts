/**
 * The invariants of control/DESIGN.md, judged from what is *true* in the model world at the moment an agent puts a new
 * table in place of the old one or the engine decides something. It shares no code with the engine's own check, and asks
 * the agents where the engine asks the reports.
 */
import type { AssignedService } from "../../../proto/contract/assignment.ts";
import { resolveCount, WHOLE } from "../../../proto/contract/units.ts";
import type { HostTrack, Rollout } from "../../../control/model/rollout.ts";
import type { HostView } from "../../../control/model/view.ts";
import { hashesOf, type SimAgent, type SimInstance } from "./agent.ts";
import type { Plan } from "./controller.ts";

export interface Truth {
  readonly now: number;
  readonly agents: readonly SimAgent[];
  agentNamed(name: string): SimAgent | undefined;
  /** The operator has said that what drains may be ended. */
  readonly operatorCut: boolean;
  /** One of the two documents says so. */
  readonly policyCuts: boolean;
  /** A rollback has failed, and the rollout with it: what each host is asked now is left to its agent to come to. */
  readonly leftToAgents: boolean;
  /** Going on without lost hosts was allowed, by policy or operator. */
  readonly goesOnWithout: boolean;
  /** News takes so long, at the worst, to reach the controller, or an agent that is back in touch. */
  readonly newsMs: number;
  /** Sources outside the controller have said that the target fails, more often than the document puts up with. */
  readonly measuredBad: boolean;
}

const sharesOf = (service: AssignedService | null): Map<number, { readonly mode: string; readonly weight: number }> =>
  new Map((service?.revisions ?? []).map((asked) => [asked.revision, asked]));
const takes = (share: { readonly mode: string; readonly weight: number } | undefined): boolean =>
  share?.mode === "serving" && share.weight > 0;

/** Called just before `agent` puts `next` in place of what is live there. */
export function onApply(agent: SimAgent, next: AssignedService | null, truth: Truth): readonly string[] {
  if (agent.role !== "host") return dropped(agent, next);
  const found: string[] = [];
  const was = sharesOf(agent.service);
  const will = sharesOf(next);
  const of = (revision: number): SimInstance[] => agent.instances.filter((i) => i.revision === revision);
  const up = (revision: number): boolean => of(revision).some((instance) => instance.up);
  const senders = truth.agents.filter((gateway) => sends(gateway, agent.name, truth)).map((gateway) => gateway.name);

  // I1: new requests never turn from a ready version to one that was not ready, while anyone sends here.
  const serving = [...was].filter(([revision, share]) => takes(share) && up(revision));
  const kept = serving.some(([revision]) => takes(will.get(revision)));
  const replaced = [...will].some(([revision, share]) => takes(share) && agent.everReady.has(revision));
  // Its machine is just back, and what it was asked before that arrives now: what drains stands in at the agent, and for
  // what is left without a weight the other hosts do.
  const standsIn =
    agent.justBack && serving.some(([revision]) => (will.get(revision)?.mode ?? "standby") !== "standby");
  if (serving.length > 0 && !kept && !replaced && !standsIn && senders.length > 0) {
    found.push(`I1: ${agent.name} stops serving with nothing ready, while ${senders.join(", ")} sends to it`);
  }
  // I1: no share, no route and no mirror for a version that was never ready here, as long as another one is. On a machine
  // that was started again both may be asked for, until one is ready: the agent leaves the callers of the other to it.
  const again = truth.now - agent.backAt < truth.newsMs;
  for (const [revision, share] of will) {
    const before = was.get(revision);
    const more = takes(share) && share.weight > (takes(before) ? (before?.weight ?? 0) : 0);
    if (more && serving.length > 0 && !agent.everReady.has(revision) && !again && senders.length > 0) {
      found.push(`I1: ${agent.name} gives ${share.weight} to revision ${revision}, which was never ready there`);
    }
  }
  for (const { name, revision } of [...(next?.routes ?? []), ...(next?.mirrors ?? [])]) {
    if (!agent.everReady.has(revision) && serving.length > 0 && !again) {
      found.push(`I1: ${agent.name} has route ${name} to revision ${revision}, which was never ready there`);
    }
  }
  for (const [revision, { mode }] of was) {
    if (will.has(revision)) continue;
    // I2: what is not named any more has nothing in flight, or is past its deadline under a policy that cuts.
    const { timeoutMs } = agent.service?.drain ?? { timeoutMs: 0 };
    for (const instance of mode === "serving" ? [] : of(revision)) {
      const overdue = mode === "draining" && truth.now - instance.drainSince >= timeoutMs;
      // Where it stood in for what could not serve, requests may have come after the report: the agent drains those.
      const inFlight = [...instance.requests].filter((request) => !request.standIn).length;
      const may = (overdue && (truth.policyCuts || truth.operatorCut)) || truth.leftToAgents;
      if (inFlight > 0 && !may) {
        found.push(`I2: ${agent.name} retires revision ${revision} with ${inFlight} in flight`);
      }
    }
    // I2: and never straight from serving, but where something ready takes over.
    if (mode === "serving" && !replaced && up(revision) && senders.length > 0) {
      found.push(`I2: ${agent.name} retires revision ${revision} while it serves`);
    }
  }
  return found;
}

/** I5: whoever is meant to go out of a gateway's table drains there first; nobody else goes. */
function dropped(gateway: SimAgent, next: AssignedService | null): readonly string[] {
  const left = new Set(next?.endpoints.map(({ host }) => host));
  const gone = (gateway.service?.endpoints ?? []).filter(({ host, mode }) => mode === "serving" && !left.has(host));
  return next === null ? [] : gone.map(({ host }) => `I5: ${gateway.name} drops ${host}, which it sent to`);
}

function sends(gateway: SimAgent, host: string, truth: Truth): boolean {
  if (gateway.role !== "gateway" || gateway.down) return false;
  // Going on without it was allowed, and until the controller's news has reached it again it can't be told otherwise.
  const outOfTouch = !gateway.reachable || truth.now - gateway.outOfTouchAt < truth.newsMs;
  if (truth.goesOnWithout && outOfTouch) return false;
  return (gateway.service?.endpoints ?? []).some((endpoint) => endpoint.host === host && endpoint.mode === "serving");
}

/** Called for every decision that changed the rollout. */
export function onPlan(plan: Plan, truth: Truth): readonly string[] {
  const { before, after, context } = plan;
  const found: string[] = [];
  if (context.epoch < before.epoch || after.epoch < before.epoch) found.push("I4: an older epoch decides");
  if (after.change <= before.change) found.push(`I4: change ${after.change} follows ${before.change}`);
  if (after.pause?.reason === "InvariantViolation" && before.pause?.reason !== "InvariantViolation")
    found.push(`the engine stopped itself: ${after.pause.message}`);
  found.push(...outages(plan, truth), ...promotion(plan, truth), ...ahead(plan));
  const was = new Map(before.hosts.map((track) => [track.host, track]));
  for (const track of after.hosts) {
    const prior = was.get(track.host);
    if (prior === undefined || prior === track) continue;
    found.push(...unheard(plan, prior, track, truth));
    const begins = prior.stage === "waiting" && track.stage !== "waiting" && track.stage !== "done";
    if (begins && after.stage.kind === "step" && track.goal !== 0)
      found.push(...stopped(plan, `${track.host} begins`, truth));
  }
  if (splitting(after) && after.split.weight > before.split.weight && plan.said === null) {
    if (after.stage.kind === "step") found.push(...stopped(plan, `the weight rises to ${after.split.weight}`, truth));
    for (const track of before.hosts.filter((one) => one.stage === "splitting")) {
      if (heard(context.view.hosts[track.host]) && !inStep(plan, track.host, truth))
        found.push(`I5: the weight rises to ${after.split.weight}, and ${track.host} is not where it was asked to be`);
    }
  }
  return found;
}

/** I3: a host that serves, or starts, goes out only while enough of the others do; a dead one may be taken out too. */
function outages({ before, after, context }: Plan, truth: Truth): readonly string[] {
  const counted = after.hosts.filter((track) => track.goal !== 0 && track.home !== 0);
  const routed = new Set(before.hosts.filter((track) => track.routed).map((track) => track.host));
  const out = counted.filter((track) => !track.routed && routed.has(track.host));
  if (out.length === 0) return [];
  const total = after.hosts.filter((track) => track.goal !== 0).length;
  const max = splitting(after) ? 0 : resolveCount(after.strategy.maxUnavailable, total, "down");
  return out.flatMap((track) => {
    const since = before.hosts.find((one) => one.host === track.host)?.sinceMs ?? 0;
    const late = context.now >= since + before.strategy.healthyDeadlineMs;
    const known = serves(context.view.hosts[track.host]);
    // Not known to serve again, and not about to as far as was known.
    if (!known && (late || !starts(context.view.hosts[track.host]))) return [];
    const others = counted.filter((one) => one.host !== track.host);
    const reported = others.filter((one) => !one.routed || !serves(context.view.hosts[one.host]));
    const truly = others.filter((one) => {
      const other = truth.agentNamed(one.host);
      return !one.routed || (other?.serves === false && truth.now - other.servesSince >= truth.newsMs);
    });
    const dead = truly.length > reported.length ? truly : reported;
    if (dead.length + 1 <= max) return [];
    return [
      `I3: ${track.host} goes out though ${dead.map((one) => one.host).join(", ") || "none"} may, ${max} at most`,
    ];
  });
}

const splitting = ({ strategy, from }: Rollout): boolean =>
  from !== 0 &&
  (strategy.kind === "blueGreen" || (strategy.kind === "canary" && strategy.trafficRouting === "weighted"));

/** I6: where both share by weight, no host comes to serve the target alone before the program gives that everything. */
function ahead({ before, after }: Plan): readonly string[] {
  if (!splitting(after) || after.stage.kind !== "step" || after.split.weight >= WHOLE) return [];
  const alone = ({ goal, routed, revisions }: HostTrack): boolean => {
    const serving = revisions.filter(({ mode }) => mode === "serving").map(({ revision }) => revision);
    return routed && goal !== 0 && serving.length === 1 && serving[0] === goal;
  };
  const were = new Set(before.hosts.filter(alone).map((track) => track.host));
  return after.hosts
    .filter((track) => alone(track) && !were.has(track.host))
    .map(({ host }) => `I6: ${host} is to serve the target alone, of which only ${after.split.weight} is asked for`);
}

/** I5: nothing is taken away from a host that has not just said that it does what it was asked, and does. */
function unheard(plan: Plan, prior: HostTrack, track: HostTrack, truth: Truth): readonly string[] {
  const view = plan.context.view.hosts[track.host];
  const less = prior.revisions.some(({ revision, mode }) => {
    const now = track.revisions.find((asked) => asked.revision === revision)?.mode;
    return now === undefined || (mode === "serving" && now !== "serving");
  });
  const found: string[] = [];
  if (less && !heard(view)) found.push(`I5: ${track.host} is changed without news from it`);
  else if (less && !inStep(plan, track.host, truth))
    found.push(`I5: ${track.host} is changed, and is not where it was asked to be`);
  if (prior.routed && !track.routed && !heard(view)) found.push(`I5: ${track.host} is taken out unheard`);
  return found;
}

const heard = (view: HostView | undefined): boolean => view?.lease === "live";

/** What is live there, in truth, is what it was asked. */
function inStep({ context }: Plan, host: string, truth: Truth): boolean {
  const live = truth.agentNamed(host)?.live;
  return live != null && hashesOf(live.services)["shop"] === context.view.hosts[host]?.askedHash;
}

/** I6: whatever stops a rollout stops it before the version is given to anyone else. */
function stopped({ before, after, context, said }: Plan, what: string, truth: Truth): readonly string[] {
  const found: string[] = [];
  const broken = before.hosts.filter((track) => {
    const served = track.servesSinceMs > 0 || track.stage === "done";
    const here = context.view.hosts[track.host];
    return served && track.goal !== 0 && here?.lease === "live" && !hasReady(here, track.towards);
  });
  if (broken.length > 0) found.push(`I6: ${what} while ${broken.map((t) => t.host).join(", ")} is not well`);
  if (before.pause !== null && after.pause !== null && said === null) found.push(`I6: ${what} while paused`);
  if (context.view.unexplainedLoss > after.acknowledgedLoss) found.push(`I6: ${what} after an unexplained loss`);
  if (truth.measuredBad && after.accepted.length === 0 && !after.fastTrack)
    found.push(`I6: ${what} though what was measured of it is bad`);
  return found;
}

/** Stable is what every host serves already: nothing is deployed to make it so. */
function promotion({ before, after, context }: Plan, truth: Truth): readonly string[] {
  if (after.stage.kind !== "promoting" || before.stage.kind === "promoting") return [];
  return after.hosts.flatMap((track) => {
    const agent = truth.agentNamed(track.host);
    if (track.goal === 0 || agent === undefined || !heard(context.view.hosts[track.host])) return [];
    const all = [...sharesOf(agent.service)].filter(([, share]) => takes(share)).map(([revision]) => revision);
    return all.length === 1 && all[0] === track.goal
      ? []
      : [`promoted though ${track.host} serves revision ${all.join(" and ") || "none"}`];
  });
}

const hasReady = (view: HostView, revision: number): boolean =>
  view.instances.some((instance) => instance.revision === revision && instance.healthySinceMs > 0);
function starts(view: HostView | undefined): boolean {
  if (view?.lease !== "live" || view.adminState === "drain") return false;
  return view.instances.some((one) => one.state === "starting" && one.exit === "" && !one.wasReady);
}
function serves(view: HostView | undefined): boolean {
  if (view?.lease !== "live" || view.adminState === "drain") return false;
  return view.instances.some((instance) => instance.healthySinceMs > 0 && instance.state === "serving");
}
