/** The stored record of a host, as its agent announces itself. */
import type { Host } from "../model/service.ts";
import type { Agent } from "./agent.ts";

/** What is to be stored now; null when the record stands, or nothing was announced yet. */
export function announcedHost(agent: Agent, before: Host | undefined): Host | null {
  const { hello } = agent;
  if (hello === null) return null;
  const ports = portsOf(agent, before);
  const host: Host = {
    name: agent.name,
    role: hello.role,
    labels: hello.labels,
    address: hello.address,
    software: hello.software,
    adminState: before?.adminState ?? "ready",
    inboundPorts: hello.inboundPorts,
    ports,
  };
  return before !== undefined && same(host, before) ? null : host;
}

export function joinMessage(host: Host, before: Host | undefined): string {
  if (before === undefined) return `${host.role} ${host.name} joined at ${host.address || "no address"}`;
  if (before.software !== host.software) return `${host.name} runs ${host.software} now, ${before.software} before`;
  if (before.address !== host.address) return `${host.name} is at ${host.address} now, at ${before.address} before`;
  return "";
}

/**
 * "service/listener index" → port. Before this session's first report, as they were; and so are those of services that the
 * agent is still to listen for, as far as it says: one that was just started has nothing applied yet. A controller that
 * starts meanwhile would know of no port there, and leave the host out of the gateways' tables.
 */
function portsOf({ reportedInSession, report }: Agent, before: Host | undefined): Readonly<Record<string, number>> {
  if (!reportedInSession || report === null) return before?.ports ?? {};
  const here = new Set(report.endpoints.map(({ service }) => service));
  const stays = (service: string): boolean =>
    !here.has(service) && (report.applied === null || report.applied.services[service] !== undefined);
  return Object.fromEntries([
    ...Object.entries(before?.ports ?? {}).filter(([key]) => stays(key.slice(0, key.lastIndexOf("/")))),
    ...report.endpoints.map((e) => [`${e.service}/${e.listener}`, e.port] as const),
  ]);
}

function same(a: Host, b: Host): boolean {
  return (
    a.role === b.role &&
    a.address === b.address &&
    a.software === b.software &&
    a.inboundPorts === b.inboundPorts &&
    sameEntries(a.labels, b.labels) &&
    sameEntries(a.ports, b.ports)
  );
}

function sameEntries<T>(a: Readonly<Record<string, T>>, b: Readonly<Record<string, T>>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
