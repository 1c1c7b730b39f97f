/**
 * The routing table: compiled whole from what the core says, immutable, replaced in one assignment. Endpoints are
 * carried over by identity, so that their connections and counts survive a change that does not concern them (R5).
 *
 * Errors  a table that does not hold together is refused with one sentence, and nothing has changed.
 */
import type { ServiceConfig, TableConfig } from "./config.ts";
import { Endpoint } from "./endpoint.ts";
import type { Ground } from "./ground.ts";
import { ListenerTable } from "./hosts.ts";
import { Picker } from "./picker.ts";
import { compileRules } from "./rules.ts";
import { Service } from "./service.ts";
import type { Routing } from "./service.ts";
import { compileSplit } from "./split.ts";
import { checkTable } from "./table-check.ts";

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
    const service = live.services.get(wanted.name) ?? new Service(wanted.name, wanted.drain);
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
