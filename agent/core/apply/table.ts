/**
 * The workers' table, made from the assignment and from what the instances are now. Pure; equal input, equal table.
 *
 * Who is in it
 *   serving   instances that are ready, with the weight that their revision was asked to have. A revision without any
 *             keeps its weight, too: the workers share out its callers, and nobody else changes version on its account
 *             (proxy/picker.ts). A weight of 0 is for version routes and mirrors alone.
 *   draining  instances of draining and of left revisions that were in a table before: nothing new, and the workers say
 *             the protocols' farewells. They stay until they are gone, so that what runs on them is found and counted.
 *   fallback  when a serving revision is asked for and none of its instances can take a request (it has crashed), a
 *             draining one that is well serves on. Leaving waits for what is in flight in any case (R14).
 *   panic     when no instance of a serving revision is ready, those that still run and once were ready stay in: a
 *             failing readiness probe may be wrong, a 503 for everybody never is right. One that was never ready is
 *             never in, and one that liveness has given up is being stopped and so is out.
 */
import type { AssignedRevision, AssignedService, Assignment } from "../../../proto/contract/assignment.ts";
import { WHOLE } from "../../../proto/contract/units.ts";
import type { EndpointConfig, ListenerConfig, ServiceConfig, VersionConfig } from "../../proxy/config.ts";
import type { InstanceView } from "../instances/record.ts";

export interface TableInput {
  readonly assignment: Assignment | null;
  readonly instances: readonly InstanceView[];
  /** Every bound listener that is wanted, and the services on it. */
  readonly listeners: readonly { readonly key: string; readonly services: readonly string[] }[];
  /** false: this agent takes nothing new from outside (drained by hand, or stopping). */
  readonly accepting: boolean;
  readonly slot: (service: string, version: string, endpoint: string) => number;
  readonly hasSlot: (service: string, version: string, endpoint: string) => boolean;
}

export interface TableParts {
  readonly listeners: readonly ListenerConfig[];
  readonly services: readonly ServiceConfig[];
}

export function buildTable(input: TableInput): TableParts {
  const assigned = input.assignment?.services ?? [];
  const services = assigned.map((service) => serviceConfig(service, input));
  for (const left of leftServices(assigned, input)) services.push(left);
  const index = new Map(services.map(({ name }, at) => [name, at]));
  const listeners = input.listeners.map(({ key, services: names }) => ({
    key,
    services: names.flatMap((name) => index.get(name) ?? []),
  }));
  return { listeners, services };
}

function serviceConfig(service: AssignedService, input: TableInput): ServiceConfig {
  const mine = input.instances.filter(({ service: name }) => name === service.name);
  const revisions = [...service.revisions].sort((a, b) => a.revision - b.revision);
  const named = new Set<InstanceView>();
  const drafts: Draft[] = revisions.map((revision) => {
    const own = mine.filter((instance) => instance.mode !== "absent" && instance.revision === revision.revision);
    for (const instance of own) named.add(instance);
    return revisionDraft(revision, own, input);
  });
  if (!drafts.some(canTake) && drafts.some(({ weight }) => weight > 0)) fallBack(revisions, mine, drafts, input);
  const agents = agentDrafts(service, input, drafts.some(canTake));
  if (agents.some(({ weight }) => weight > 0)) setAside(drafts);
  const left = mine.filter((instance) => !named.has(instance));
  // A version with nobody to send to, and no share of its own, is no news for the workers.
  const versions = weighted(
    [...leftDrafts(left, input), ...drafts, ...agents].filter(
      ({ weight, endpoints }) => weight > 0 || endpoints.length > 0,
    ),
  );
  return {
    name: service.name,
    hostnames: service.hostnames,
    rules: service.rules,
    drain: service.drain,
    accepting: service.accepting && input.accepting,
    versions,
    slot: input.slot(service.name, "", ""),
    sticky: service.sticky,
    routes: service.routes,
    mirrors: service.mirrors,
  };
}

/** What is to serve can't: the newest of those that are leaving, and are well, takes the requests until it can. */
function fallBack(
  revisions: readonly AssignedRevision[],
  mine: readonly InstanceView[],
  drafts: Draft[],
  input: TableInput,
): void {
  for (let at = revisions.length - 1; at >= 0; at--) {
    const { revision, version, mode } = revisions[at] as AssignedRevision;
    const ready = mine.filter((one) => one.mode === "draining" && one.revision === revision && one.ready);
    if (mode !== "draining" || ready.length === 0) continue;
    setAside(drafts);
    drafts[at] = {
      revision,
      version,
      weight: WHOLE,
      endpoints: ready.map((instance) => app(instance, "serving", input)),
    };
    return;
  }
}

/** Others stand in for all of them. */
function setAside(drafts: Draft[]): void {
  drafts.forEach((draft, at) => (drafts[at] = { ...draft, weight: 0 }));
}

type Draft = VersionConfig;
const canTake = ({ weight, endpoints }: Draft): boolean =>
  weight > 0 && endpoints.some((endpoint) => endpoint.mode === "serving");

function revisionDraft(asked: AssignedRevision, own: readonly InstanceView[], input: TableInput): Draft {
  const { revision, version, weight, mode } = asked;
  switch (mode) {
    case "standby":
      return { revision, version, weight: 0, endpoints: [] };
    case "draining":
      return { revision, version, weight: 0, endpoints: draining(own, input) };
    case "serving": {
      const ready = own.filter((instance) => instance.ready);
      const chosen = ready.length > 0 ? ready : own.filter((instance) => instance.alive && instance.wasReady);
      return { revision, version, weight, endpoints: chosen.map((instance) => app(instance, "serving", input)) };
    }
  }
}

/** Instances of what is no longer named, by version. */
function leftDrafts(left: readonly InstanceView[], input: TableInput): Draft[] {
  const versions = new Map<string, InstanceView[]>();
  for (const instance of left) versions.set(instance.version, [...(versions.get(instance.version) ?? []), instance]);
  return [...versions]
    .map(([version, own]) => ({ revision: own[0]?.revision ?? 0, version, weight: 0, endpoints: draining(own, input) }))
    .filter(({ endpoints }) => endpoints.length > 0);
}

const draining = (own: readonly InstanceView[], input: TableInput): EndpointConfig[] =>
  own
    .filter((instance) => instance.alive && input.hasSlot(instance.service, instance.version, instance.id))
    .map((instance) => app(instance, "draining", input));

function app(instance: InstanceView, mode: EndpointConfig["mode"], input: TableInput): EndpointConfig {
  const { id, address, port, service, version } = instance;
  return { id, address, port, kind: "app", mode, slot: input.slot(service, version, id) };
}

/** Other agents: all there is at a gateway; beside own instances, only while none of those can take a request. */
function agentDrafts(service: AssignedService, input: TableInput, ownCan: boolean): Draft[] {
  if (service.endpoints.length === 0) return [];
  const endpoints = service.endpoints.map(({ host, address, port, mode }) => ({
    ...{ id: host, address, port, kind: "agent" as const, mode },
    slot: input.slot(service.name, "", host),
  }));
  return [{ revision: 0, version: "", weight: ownCan ? 0 : WHOLE, endpoints }];
}

const NO_SPLIT = { sticky: null, routes: [], mirrors: [] } as const;

/** A service that the assignment no longer names, as long as something of it runs. */
function leftServices(assigned: readonly AssignedService[], input: TableInput): ServiceConfig[] {
  const named = new Set(assigned.map(({ name }) => name));
  const services = new Map<string, InstanceView[]>();
  for (const instance of input.instances) {
    if (named.has(instance.service)) continue;
    services.set(instance.service, [...(services.get(instance.service) ?? []), instance]);
  }
  return [...services].flatMap(([name, instances]) => {
    const versions = leftDrafts(instances, input);
    const [first] = instances;
    if (versions.length === 0 || first === undefined) return [];
    const slot = input.slot(name, "", "");
    return [{ name, hostnames: [], rules: [], drain: first.drain, accepting: false, versions, slot, ...NO_SPLIT }];
  });
}

/** Shares as they were asked for, scaled to sum to WHOLE; all 0 when nobody was given any. */
function weighted(drafts: readonly Draft[]): VersionConfig[] {
  const total = drafts.reduce((sum, { weight }) => sum + weight, 0);
  const last = drafts.findLastIndex(({ weight }) => weight > 0);
  let given = 0;
  return drafts.map((draft, at) => {
    if (draft.weight === 0) return draft;
    // The last one takes what rounding left, so that the sum is exact.
    const weight = at === last ? WHOLE - given : Math.floor((draft.weight * WHOLE) / total);
    given += weight;
    return { ...draft, weight };
  });
}
