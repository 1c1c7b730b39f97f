/**
 * Which agents run a service. An external service that no host agent is placed for is served by the gateways themselves:
 * its instances are addresses, and any agent can forward to them.
 */
import type { ServiceSpec } from "../../proto/contract/spec/types.ts";
import type { Host } from "../model/service.ts";

/** Names, sorted: the order in which hosts are moved. */
export function placed(spec: ServiceSpec, hosts: readonly Host[]): readonly string[] {
  const matching = hosts.filter((host) => matches(spec.placement, host));
  const own = matching.filter((host) => host.role === "host");
  const chosen = own.length === 0 && spec.run.kind === "external" ? matching : own;
  return chosen.map((host) => host.name).toSorted();
}

function matches({ hosts, labels }: ServiceSpec["placement"], host: Host): boolean {
  const wanted = Object.entries(labels);
  if (hosts.length === 0 && wanted.length === 0) return true;
  if (hosts.includes(host.name)) return true;
  return wanted.length > 0 && wanted.every(([key, value]) => host.labels[key] === value);
}

/** Per host, the value of the label that a rolling update's `orderBy` names: hosts of one value go before the next one's. */
export function groupsOf({ strategy }: ServiceSpec, hosts: readonly Host[]): Readonly<Record<string, string>> {
  const key = strategy.kind === "rolling" ? strategy.orderBy : "";
  if (key === "") return {};
  return Object.fromEntries(hosts.map((host) => [host.name, host.labels[key] ?? ""]));
}
