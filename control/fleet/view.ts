/** The fleet as the engine is told of it, for one service: reports and leases, put into the model's words. */
import type { InstanceReport } from "../../proto/contract/report.ts";
import type { Books } from "../ledger/books.ts";
import type { Host } from "../model/service.ts";
import type { FleetView, HostView, InstanceView } from "../model/view.ts";
import type { Agent } from "./agent.ts";
import type { Fleet } from "./fleet.ts";

export interface ViewOf {
  readonly service: string;
  /** The active rollout's id, "" if none. */
  readonly rollout: string;
  /** The rollout's `change` that was compiled into what is wanted of the agents now; 0 without a rollout. */
  readonly change: number;
}

export function fleetView(fleet: Fleet, books: Books, hosts: readonly Host[], of: ViewOf): FleetView {
  return {
    change: of.change,
    hosts: Object.fromEntries(hosts.map((host) => [host.name, hostView(fleet, host, of.service)])),
    traffic: of.rollout === "" ? {} : books.traffic(of.rollout),
    unexplainedLoss: of.rollout === "" ? 0 : books.unexplained(of.rollout),
  };
}

export function hostView(fleet: Fleet, host: Host, service: string): HostView {
  const agent = fleet.agent(host.name);
  const report = agent?.report ?? null;
  return {
    name: host.name,
    role: host.role,
    lease: agent === undefined ? "lost" : fleet.leaseOf(agent),
    adminState: host.adminState,
    appliedHash: agent?.liveHash(service) ?? "",
    askedHash: agent?.held === "" ? (agent.wanted?.hashes[service] ?? "") : "",
    rejected: agent?.refusal(service) ?? "",
    instances: (report?.instances ?? []).filter((instance) => instance.service === service).map(instanceView),
    endpointInFlight: host.role === "gateway" ? endpointInFlight(agent, service) : {},
  };
}

function endpointInFlight(agent: Agent | undefined, service: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const row of agent?.report?.traffic ?? []) {
    if (row.service !== service || row.endpoint === "") continue;
    counts[row.endpoint] = (counts[row.endpoint] ?? 0) + row.inFlight;
  }
  return counts;
}

function instanceView(instance: InstanceReport): InstanceView {
  const { id, revision, state, healthySinceMs, wasReady, restarts, inFlight, reason } = instance;
  return { id, revision, state, healthySinceMs, wasReady, restarts, inFlight, exit: exitText(instance.exit), reason };
}

/** "exit code 3", "signal SIGKILL", "" while the first run goes on. */
export function exitText(exit: InstanceReport["exit"]): string {
  if (exit === null) return "";
  return exit.signal === null ? `exit code ${exit.code ?? "unknown"}` : `signal ${exit.signal}`;
}
