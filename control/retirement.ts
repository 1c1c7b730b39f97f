/**
 * How a service is taken away without cutting what runs: first every gateway lets go of it and finishes what it has,
 * then the hosts drain and stop it (RACES R5), then its records go. That it was deleted on purpose is remembered, so
 * that a host which comes back later may stop it too (fleet/hold.ts).
 *
 * An agent whose lease has run out is not waited for: it is told when it comes back.
 */
import type { Millis } from "../proto/kernel/clock.ts";
import type { Agent } from "./fleet/agent.ts";
import type { Fleet } from "./fleet/fleet.ts";
import type { Books } from "./ledger/books.ts";
import { eventChange } from "./registry.ts";
import type { Registry } from "./registry.ts";
import type { Change, Retirement } from "./store/store.ts";

interface Around {
  readonly registry: Registry;
  readonly fleet: Fleet;
  readonly books: Books;
  readonly now: Millis;
}

export async function retire(around: Around): Promise<void> {
  for (const retirement of around.registry.retirements()) {
    if (retirement.stage === "gateways" && gatewaysLetGo(around, retirement)) await hostsNext(around, retirement);
    else if (retirement.stage === "hosts" && hostsLetGo(around, retirement)) await forget(around, retirement);
  }
}

function gatewaysLetGo({ registry, fleet, now }: Around, { service, sinceMs }: Retirement): boolean {
  const revision = registry.revision(service, registry.service(service)?.newest ?? 0);
  const overdue = now - sinceMs > (revision?.spec.drain.timeoutMs ?? 0);
  return heard(fleet, registry, "gateway").every((agent) => {
    if (agent.report?.applied?.services[service] !== undefined) return false;
    return overdue || agent.report?.traffic.every((row) => row.service !== service || row.inFlight === 0) === true;
  });
}

function hostsLetGo({ registry, fleet }: Around, { service }: Retirement): boolean {
  return heard(fleet, registry, "host").every((agent) => {
    if (agent.report === null || agent.report.applied?.services[service] !== undefined) return false;
    return agent.report.instances.every((i) => i.service !== service || ["stopped", "failed"].includes(i.state));
  });
}

async function hostsNext({ registry, now }: Around, { service }: Retirement): Promise<void> {
  const message = `no gateway sends to ${service} any more; its instances are drained and stopped`;
  await registry.commit([
    { kind: "retirement", retirement: { service, stage: "hosts", sinceMs: now } },
    eventChange({ atMs: now, kind: "service_deleting", service, message }),
  ]);
}

async function forget({ registry, books, now }: Around, { service }: Retirement): Promise<void> {
  const changes: Change[] = [
    { kind: "forget-service", service },
    { kind: "retirement", retirement: { service, stage: "done", sinceMs: now } },
    eventChange({
      atMs: now,
      kind: "service_deleted",
      service,
      message: `${service} is stopped everywhere and forgotten`,
    }),
  ];
  await registry.commit(changes);
  books.forget(service);
}

/** Those whose word is needed: a lease that runs, or may still come back after a start of ours. */
function heard(fleet: Fleet, registry: Registry, role: "host" | "gateway"): Agent[] {
  return [...fleet.agents()].filter((agent) => {
    return registry.host(agent.name)?.role === role && fleet.leaseOf(agent) !== "lost";
  });
}
