/**
 * What is wrong with services only when parts are looked at side by side: within one, what repeats or leads back to
 * itself; between two, a name used twice, a socket that only one can bind, or a request that both would take.
 *
 * Services may share a listener when each request on it has one taker: none of their host names with the same match is
 * the same (of different ones the more specific takes the request). Placement is not looked at, as a gateway serves all of them on one machine.
 */
import { formatHostPort, isLoopback, isUnspecified, overlaps } from "../address.ts";
import type { HostPort } from "../address.ts";
import { formatMatch } from "./match.ts";
import type { Path } from "./problem.ts";
import type { ListenerSpec, ServiceSpec } from "./types.ts";

/** Where in a service's document, and what. */
export interface Complaint {
  readonly path: Path;
  readonly message: string;
}

export interface Conflict extends Complaint {
  /** The index of the later service: its document is where `path` points. */
  readonly service: number;
  /** The index of the earlier one, which stands. */
  readonly with: number;
}

/** What `checkTogether` finds first for each pair; empty when they can all be served by one agent. */
export function checkTogether(specs: readonly ServiceSpec[]): readonly Conflict[] {
  const found: Conflict[] = [];
  const sets = new Map<ServiceSpec, ReadonlySet<string>>();
  const matches = (spec: ServiceSpec): ReadonlySet<string> => {
    const known = sets.get(spec) ?? new Set(matchesOf(spec));
    sets.set(spec, known);
    return known;
  };
  for (const [later, spec] of specs.entries()) {
    for (let earlier = 0; earlier < later; earlier++) {
      const other = specs[earlier];
      const complaint = other === undefined ? undefined : between(other, spec, matches);
      if (complaint !== undefined) found.push({ service: later, with: earlier, ...complaint });
    }
  }
  return found;
}

type Matches = (spec: ServiceSpec) => ReadonlySet<string>;

function between(a: ServiceSpec, b: ServiceSpec, matches: Matches): Complaint | undefined {
  if (a.name === b.name) return { path: ["metadata", "name"], message: `a second service named ${b.name}` };
  for (const [i, theirs] of b.listen.entries()) {
    for (const ours of a.listen) {
      if (!overlaps(ours, theirs)) continue;
      if (ours.address !== theirs.address) {
        const message = `${at(theirs)} can't be bound beside ${at(ours)} of service ${a.name}; give both the same address`;
        return { path: ["spec", "listen", i], message };
      }
      const taken = matches(b)
        .values()
        .find((match) => matches(a).has(match));
      if (taken !== undefined) {
        const message = `service ${a.name} already takes ${taken} on ${at(theirs)}; tell them apart by hostnames, paths or headers`;
        return { path: ["spec", "listen", i], message };
      }
    }
  }
  return undefined;
}

/** Every (host name, match) that a service takes, as text: equal text, equal requests. */
function matchesOf(spec: ServiceSpec): string[] {
  const hostnames = spec.hostnames.length === 0 ? ["any host"] : spec.hostnames;
  return hostnames.flatMap((hostname) => spec.rules.map((rule) => `${hostname} ${formatMatch(rule)}`));
}

const at = (listener: ListenerSpec): string => formatHostPort(listener.address, listener.port);

/** What is wrong inside one service that no single key shows. */
export function checkWithin(spec: ServiceSpec): readonly Complaint[] {
  return [...listeners(spec), ...repeatedHostnames(spec), ...externalInstances(spec), ...containers(spec)];
}

function* listeners(spec: ServiceSpec): Generator<Complaint> {
  for (const [i, listener] of spec.listen.entries()) {
    const first = spec.listen.slice(0, i).findIndex((other) => overlaps(other, listener));
    if (first < 0) continue;
    const other = spec.listen[first];
    const message = `${at(listener)} is the same socket as listen[${String(first)}]${other === undefined ? "" : `, ${at(other)}`}`;
    yield { path: ["spec", "listen", i], message };
  }
}

function* repeatedHostnames(spec: ServiceSpec): Generator<Complaint> {
  for (const [i, hostname] of spec.hostnames.entries()) {
    if (spec.hostnames.indexOf(hostname) < i) {
      yield { path: ["spec", "hostnames", i], message: `${hostname} stands here twice` };
    }
  }
}

function* externalInstances(spec: ServiceSpec): Generator<Complaint> {
  if (spec.run.kind !== "external") return;
  const { instances } = spec.run;
  const path = (i: number): Path => ["spec", "run", "external", "instances", i, "address"];
  for (const [i, instance] of instances.entries()) {
    const where = formatHostPort(instance.address, instance.port);
    const first = instances.findIndex(
      (other) =>
        other.address === instance.address &&
        other.port === instance.port &&
        (other.host === null || instance.host === null || other.host === instance.host),
    );
    if (first < i) yield { path: path(i), message: `${where} is already instances[${String(first)}]` };
    // Through its own listener a request would come back for ever.
    if (spec.listen.some((listener) => leadsTo(instance, listener))) {
      yield {
        path: path(i),
        message: `${where} is a listener of this service: requests would come back to it for ever`,
      };
    }
  }
  if (instances.length > 0 && !instances.some((instance) => instance.version === spec.version)) {
    const versions = [...new Set(instances.map((instance) => instance.version))].join(", ");
    const message = `no instance of version ${spec.version}; spec.version names the one to serve, and here are ${versions}`;
    yield { path: ["spec", "run", "external", "instances"], message };
  }
}

function* containers({ run, health }: ServiceSpec): Generator<Complaint> {
  if (run.kind !== "docker") {
    for (const which of ["readiness", "liveness"] as const) {
      if (health?.[which]?.kind !== "container") continue;
      yield { path: ["spec", "health"], message: `container asks an image's HEALTHCHECK, and run is ${run.kind}` };
    }
    return;
  }
  for (const [i, { target }] of run.mounts.entries()) {
    const first = run.mounts.findIndex((other) => other.target === target);
    const path: Path = ["spec", "run", "docker", "volumes", i];
    if (first < i) yield { path, message: `${target} is already volumes[${String(first)}]` };
  }
}

/** Whether connecting to `target` surely reaches `listener`; another machine's address may be behind any other. */
function leadsTo(target: HostPort, listener: HostPort): boolean {
  if (target.port !== listener.port) return false;
  const wide = isUnspecified(listener.address) || target.address === "localhost";
  return target.address === listener.address || (wide && isLoopback(target.address) && reachesSelf(listener.address));
}

const reachesSelf = (address: string): boolean => isUnspecified(address) || isLoopback(address);
