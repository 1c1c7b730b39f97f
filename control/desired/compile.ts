/**
 * Rollout phase + registry + evidence → what every agent is to do, whole. Pure: one input, one answer, in one order, so
 * that equal states hash equally.
 *
 * Each agent is one of two things to a service: a *host* of it (runs and serves revisions) or a *gateway* to it (sends to
 * the hosts). Without a rollout every placed host serves the stable revision.
 *
 * Whose rules     the listeners, hostnames, rules and drain policy of a service are not per revision. A host takes those
 *                 of the revision it serves; a gateway those of the stable one until the rollout is promoted, so that no
 *                 route changes before there is a version behind it everywhere; but see `listenersFor`.
 * Cost            services × agents; run once per change, not per request.
 */
import type { AssignedService } from "../../proto/contract/assignment.ts";
import { EVERY_REQUEST } from "../../proto/contract/spec/types.ts";
import type { ListenerSpec, ServiceSpec } from "../../proto/contract/spec/types.ts";
import { WHOLE } from "../../proto/contract/units.ts";
import type { HostDesire, Rollout, Split } from "../model/rollout.ts";
import type { Host, Revision, Service } from "../model/service.ts";
import type { FleetView, HostView } from "../model/view.ts";
import { endpointsFor } from "./endpoints.ts";
import { placed } from "./placement.ts";
import { isReady, keepServing, revisionsFor } from "./revisions.ts";
import type { CompileInput } from "./types.ts";

export function compile(input: CompileInput): Map<string, AssignedService[]> {
  const byAgent = new Map<string, AssignedService[]>(input.hosts.map((host) => [host.name, []]));
  const services = input.services.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  for (const service of services) {
    for (const [agent, assigned] of compileService(service, input)) byAgent.get(agent)?.push(assigned);
  }
  return byAgent;
}

function compileService(service: Service, input: CompileInput): readonly (readonly [string, AssignedService])[] {
  const known = new Map(
    input.revisions.filter((revision) => revision.service === service.name).map((r) => [r.revision, r]),
  );
  const rollout = input.rollouts.find((candidate) => candidate.service === service.name);
  const public_ = known.get(service.stable) ?? (rollout === undefined ? undefined : known.get(rollout.to));
  if (public_ === undefined) return [];
  const view = input.views.get(service.name);
  const agents = input.hosts.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const desired = desiresOf(service, known, agents, input.desires.get(service.name) ?? []);

  return agents.flatMap((agent): (readonly [string, AssignedService])[] => {
    const desire = desired.get(agent.name);
    const common = { name: service.name, rollout: rollout?.id ?? "" };
    if (desire !== undefined) {
      const kept = input.kept?.(agent, desire);
      return [[agent.name, kept ?? { ...common, ...atHost(agent, desire, public_, known, view) }]];
    }
    const before = input.previous.get(agent.name)?.find((assigned) => assigned.name === service.name);
    if (agent.role !== "gateway") {
      return before !== undefined && listed(agent, agents, service, input) ? [[agent.name, before]] : [];
    }
    const refused = (view?.hosts[agent.name]?.rejected ?? "") !== "";
    const listeners = listenersFor(public_.spec.listen, wayOut(service, rollout, known), before?.listeners, refused);
    const endpoints = endpointsFor(agent, agents, desired, view, before?.endpoints ?? null, service.name);
    return [
      [
        agent.name,
        {
          ...common,
          ...face(public_.spec),
          listeners,
          accepting: agent.adminState === "ready",
          revisions: [],
          endpoints,
          ...NO_SPLIT,
        },
      ],
    ];
  });
}

/**
 * A host that is not placed any more goes on as it was until no gateway lists it: they drain it, and drop it when they
 * have nothing in flight to it (endpoints.ts). So it goes when that was asked of all of them, in this order.
 */
function listed(host: Host, agents: readonly Host[], { name }: Service, input: CompileInput): boolean {
  return agents.some((agent) => {
    const before = input.previous.get(agent.name)?.find((assigned) => assigned.name === name);
    return before?.endpoints.some((endpoint) => endpoint.host === host.name) === true;
  });
}

/** Where a rollout leads to that a gateway can be asked for, when it can't listen as it should; null without one. */
function wayOut(
  service: Service,
  rollout: Rollout | undefined,
  known: ReadonlyMap<number, Revision>,
): readonly ListenerSpec[] | null {
  if (rollout === undefined) return null;
  if (service.stable !== 0) return known.get(rollout.to)?.spec.listen ?? null;
  return rollout.stage.kind === "rolling-back" || rollout.stage.kind === "aborting" ? [] : null;
}

/**
 * A gateway that can't have the listeners of the stable revision takes those of the rollout's target early, or lets go of
 * a service that is taken back to nothing: no rollout that leads away from a taken port may wait for that port. What it
 * was asked for instead stays (`before`), or it would be asked for one and the other in turn.
 */
function listenersFor(
  stable: readonly ListenerSpec[],
  other: readonly ListenerSpec[] | null,
  before: readonly ListenerSpec[] | undefined,
  refused: boolean,
): readonly ListenerSpec[] {
  if (other === null) return stable;
  return refused || JSON.stringify(before) === JSON.stringify(other) ? other : stable;
}

/** The rollout's word where it has one; for every other placed host, the stable revision. */
function desiresOf(
  service: Service,
  known: ReadonlyMap<number, Revision>,
  agents: readonly Host[],
  rolling: readonly HostDesire[],
): ReadonlyMap<string, HostDesire> {
  const stable = known.get(service.stable);
  const steady = stable === undefined ? [] : placed(stable.spec, agents);
  const revisions = [{ revision: service.stable, mode: "serving" as const }];
  return new Map<string, HostDesire>([
    ...steady.map((host) => [host, { host, revisions, routed: true, split: null }] as const),
    ...rolling.map((desire) => [desire.host, desire] as const),
  ]);
}

function atHost(
  agent: Host,
  desire: HostDesire,
  fallback: Revision,
  known: ReadonlyMap<number, Revision>,
  view: FleetView | undefined,
): Omit<AssignedService, "name" | "rollout"> {
  const asked = keepServing(desire, view?.hosts[agent.name], known);
  // A host that was found serving something else is first brought to what it is asked; only then is there a split.
  const split = asked === desire.revisions ? standIn(desire.split, asked, view?.hosts[agent.name]) : null;
  // While both serve, the face stays the one that clients know: that of the version before.
  const serves = (entry: (typeof asked)[number]): boolean =>
    entry.mode === "serving" && (split === null || entry.revision !== split.target);
  const serving = asked.findLast(serves) ?? asked.at(-1);
  const spec = (serving === undefined ? fallback : (known.get(serving.revision) ?? fallback)).spec;
  return {
    ...face(spec),
    listeners: spec.listen.map((listener) => inbound(listener, agent)),
    accepting: agent.adminState === "ready" && desire.routed,
    revisions: revisionsFor(asked, known, agent.name, split),
    endpoints: [],
    ...splitFor(split),
  };
}

/**
 * The target has all of the traffic, and is not ready on this host, whose machine has just come back: the version before,
 * which is, stands in until it is (I1). For less than all, the agent itself leaves the target's callers to the others; a
 * version without a share takes nobody's place there.
 */
function standIn(split: Split | null, asked: HostDesire["revisions"], view: HostView | undefined): Split | null {
  if (split === null || split.weight < WHOLE || view?.lease !== "live") return split;
  const ready = new Set(view.instances.filter(isReady).map((instance) => instance.revision));
  const other = asked.some(
    ({ revision, mode }) => mode === "serving" && revision !== split.target && ready.has(revision),
  );
  return other && !ready.has(split.target) ? { ...split, weight: 0 } : split;
}

/** Routes and mirrors as the agent takes them: to the target, by number. */
function splitFor(split: Split | null): Pick<AssignedService, "sticky" | "routes" | "mirrors"> {
  if (split === null) return NO_SPLIT;
  const { sticky, target, routes, mirrors } = split;
  return {
    sticky,
    routes: routes.map(({ name, matches }) => ({ name, revision: target, matches })),
    mirrors: mirrors.map(({ name, matches, percentage }) => ({
      name,
      revision: target,
      matches: matches.length === 0 ? [EVERY_REQUEST] : matches,
      percentage,
    })),
  };
}

const NO_SPLIT = { sticky: null, routes: [], mirrors: [] } as const;

/** What the service looks like from outside. */
function face(spec: ServiceSpec): Pick<AssignedService, "listeners" | "hostnames" | "rules" | "drain"> {
  return { listeners: spec.listen, hostnames: spec.hostnames, rules: spec.rules, drain: spec.drain };
}

/**
 * Port 0 stays 0 when the port is known: the agent keeps what it got, and the assignment need not change for it. A
 * gateway that serves by itself is the way in and binds what is declared.
 */
function inbound(listener: ListenerSpec, agent: Host): ListenerSpec {
  if (agent.role === "gateway" || agent.inboundPorts === "declared") return listener;
  return { ...listener, address: agent.address, port: 0 };
}
