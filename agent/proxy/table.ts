/**
 * The routing table: compiled whole from what the core says, immutable, replaced in one assignment. Endpoints are
 * carried over by identity, so that their connections and counts survive a change that does not concern them (R5).
 *
 * Errors  a table that does not hold together is refused with one sentence, and nothing has changed.
 * Cost    a request on a listener with one service that answers for every host and path costs two compares; otherwise
 *         one string for the host, a map lookup, and what the rules' matches cost (match.ts).
 */
import type { DrainSpec } from "../../proto/contract/spec/types.ts";
import type { ServiceConfig, TableConfig } from "./config.ts";
import { Endpoint } from "./endpoint.ts";
import type { Ground } from "./ground.ts";
import { Picker } from "./picker.ts";
import { catchAllOf, compileRules } from "./rules.ts";
import type { Rule } from "./rules.ts";
import { compileSplit } from "./split.ts";
import type { Split } from "./split.ts";
import { checkTable } from "./table-check.ts";

/** What a service's endpoints share, whichever table is live. */
export class Service {
  readonly name: string;
  slot = 0;
  drain: DrainSpec;
  accepting = true;
  /** It has had other agents for endpoints: here is where its clients come in, whatever they say of themselves. */
  balances = false;
  rules: readonly Rule[] = [];
  /** The rule that has every request; null: they have to be matched. */
  catchAll: Rule | null = null;
  /** How requests are given to versions, if not by chance alone. */
  split: Split | null = null;
  picker: Picker;

  constructor(name: string, drain: DrainSpec, picker: Picker) {
    this.name = name;
    this.drain = drain;
    this.picker = picker;
  }

  take({ rules, split }: Routing): void {
    this.rules = rules;
    this.catchAll = catchAllOf(rules);
    this.split = split;
  }
}

/** What a service's document says of its requests, compiled. */
interface Routing {
  readonly rules: readonly Rule[];
  readonly split: Split | null;
}

export class ListenerTable {
  /** Every request is for this one: no host to look at. */
  readonly only: Service | null;
  /** Some service behind it takes new traffic; one without services has nothing to part from. */
  readonly accepting: boolean;
  /** Where a request is in flight whose head is not whole yet: nobody knows whose it is, so the first one's. -1: none. */
  readonly slot: number;
  readonly #exact = new Map<string, Service>();
  readonly #wildcards: { readonly suffix: string; readonly service: Service }[] = [];
  #any: Service | null = null;

  constructor(services: readonly { readonly service: Service; readonly hostnames: readonly string[] }[]) {
    for (const { service, hostnames } of services) {
      if (hostnames.length === 0) this.#any ??= service;
      for (const hostname of hostnames) {
        const name = hostname.toLowerCase();
        if (name.startsWith("*.")) this.#wildcards.push({ suffix: name.slice(1), service });
        else if (!this.#exact.has(name)) this.#exact.set(name, service);
      }
    }
    // The longest suffix is the most specific one (Gateway API).
    this.#wildcards.sort((a, b) => b.suffix.length - a.suffix.length);
    const simple = this.#exact.size === 0 && this.#wildcards.length === 0;
    this.accepting = services.length === 0 || services.some(({ service }) => service.accepting);
    this.slot = services[0]?.service.slot ?? -1;
    this.only = simple ? this.#any : null;
  }

  /** `authority` is a Host value, port and all. */
  service(authority: string): Service | null {
    const host = withoutPort(authority).toLowerCase();
    const exact = this.#exact.get(host);
    if (exact !== undefined) return exact;
    for (const { suffix, service } of this.#wildcards) {
      if (host.length > suffix.length && host.endsWith(suffix)) return service;
    }
    return this.#any;
  }
}

export interface Table {
  readonly sequence: number;
  readonly agent: string;
  readonly listeners: ReadonlyMap<string, ListenerTable>;
  readonly services: ReadonlyMap<string, Service>;
  readonly endpoints: ReadonlyMap<string, Endpoint>;
}

export const EMPTY_TABLE: Table = {
  sequence: -1,
  agent: "",
  listeners: new Map(),
  services: new Map(),
  endpoints: new Map(),
};

export type Compiled =
  { readonly kind: "ok"; readonly table: Table } | { readonly kind: "rejected"; readonly why: string };

/**
 * Makes the next table from the one that is live. Services and endpoints that go on keep their objects, and are
 * brought up to date only after the whole config has been found sound.
 */
export function compileTable(ground: Ground, config: TableConfig, live: Table): Compiled {
  const why = checkTable(config, ground.stats.slots);
  if (why !== null) return { kind: "rejected", why };
  const routing: Routing[] = [];
  for (const wanted of config.services) {
    try {
      routing.push({ rules: compileRules(wanted.rules), split: compileSplit(wanted) });
    } catch (error) {
      return { kind: "rejected", why: `service "${wanted.name}": ${(error as Error).message}` };
    }
  }
  const services = new Map<string, Service>();
  const endpoints = new Map<string, Endpoint>();
  const first = live.sequence < 0;
  config.services.forEach((wanted, at) => {
    const service = live.services.get(wanted.name) ?? new Service(wanted.name, wanted.drain, new Picker([], 0));
    services.set(wanted.name, service);
    service.take(routing[at] as Routing);
    update(ground, service, wanted, live, endpoints, !first);
  });
  for (const [key, endpoint] of live.endpoints) if (!endpoints.has(key)) endpoint.startDraining();
  const byIndex = config.services.map(({ name, hostnames }) => ({ service: services.get(name) as Service, hostnames }));
  const listeners = new Map<string, ListenerTable>();
  for (const { key, services: indices } of config.listeners) {
    listeners.set(key, new ListenerTable(indices.flatMap((index) => byIndex[index] ?? [])));
  }
  return { kind: "ok", table: { sequence: config.sequence, agent: config.agent, listeners, services, endpoints } };
}

function update(
  ground: Ground,
  service: Service,
  wanted: ServiceConfig,
  live: Table,
  endpoints: Map<string, Endpoint>,
  fresh: boolean,
): void {
  service.slot = wanted.slot;
  service.drain = wanted.drain;
  service.accepting = wanted.accepting;
  ground.stats.use(wanted.slot + 1);
  const shares = wanted.versions.map(({ version, revision, weight, endpoints: members }) => {
    const serving: Endpoint[] = [];
    for (const member of members) {
      service.balances ||= member.kind === "agent";
      const key = `${wanted.name}/${member.id}/${member.address}/${member.port}`;
      const endpoint = live.endpoints.get(key) ?? new Endpoint(ground, member, fresh);
      endpoints.set(key, endpoint);
      endpoint.assign(version, revision, member.slot);
      ground.stats.use(member.slot + 1);
      if (member.mode === "draining") endpoint.startDraining();
      else {
        if (endpoint.draining) endpoint.stopDraining();
        serving.push(endpoint);
      }
    }
    return { revision, weight, endpoints: serving };
  });
  service.picker = new Picker(shares, ground.limits.ejectPercent);
}

/** `host:port`, `[::1]:port`, `host` → the host. */
function withoutPort(authority: string): string {
  const colon = authority.lastIndexOf(":");
  return colon === -1 || authority.endsWith("]") ? authority : authority.slice(0, colon);
}
