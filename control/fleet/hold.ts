/**
 * When a controller must not tell an agent anything: when it knows less than the agent does. An assignment is a whole
 * snapshot, and what it does not name is drained and stopped; so an empty or older store, set up after the real one was
 * lost, would take a running fleet down by its first message. Such an agent is held: it keeps its last good state,
 * is shown STALE with the reason, and goes on as soon as its services are applied again or deleted on purpose.
 *
 * Held are
 *   an agent that serves a service unknown here, unless that was deleted on purpose;
 *   a host that runs a revision unknown here (a store restored from an older copy);
 *   a gateway that would lose its last endpoint of a service although no host of it has been heard of yet (I5).
 */
import type { AssignedService } from "../../proto/contract/assignment.ts";
import type { InstanceReport, Report } from "../../proto/contract/report.ts";
import type { Agent } from "./agent.ts";

export interface Known {
  /** What of it serves is known. */
  service(name: string): boolean;
  revision(service: string, revision: number): boolean;
  /** Deleted on purpose: to be let go by agents of this role. */
  retired(service: string, role: "host" | "gateway"): boolean;
  /** Whether any host that serves it has reported since the controller started. */
  heardOf(service: string): boolean;
}

/** "" or the reason, one sentence. */
export function holdReason(agent: Agent, wanted: readonly AssignedService[], known: Known): string {
  const serving = Object.keys(agent.applied?.services ?? {});
  const role = agent.hello?.role ?? "host";
  const strange = serving.filter((name) => !known.service(name) && !known.retired(name, role));
  const first = strange[0];
  if (first !== undefined) {
    return (
      `it serves ${strange.join(", ")}, which this controller does not know: it is left as it is; ` +
      `apply ${first} again to go on, or delete ${first} to stop it`
    );
  }
  const running = unknownInstances(agent.report, known)[0];
  if (running !== undefined) {
    const { service, version, revision } = running;
    return (
      `it runs ${service} ${version} (revision ${revision}), which this controller does not know: ` +
      `it is left as it is; apply the document of ${service} ${version} again to go on`
    );
  }
  if (role !== "gateway") return "";
  const emptied = wanted.find(
    (service) => service.endpoints.length === 0 && serving.includes(service.name) && !known.heardOf(service.name),
  );
  if (emptied === undefined) return "";
  return `no host of ${emptied.name} has reported to this controller yet: it keeps the endpoints it has`;
}

/** Instances that carry traffic, or are about to, of revisions that are not stored. */
export function unknownInstances(report: Report | null, known: Known): readonly InstanceReport[] {
  const running = (report?.instances ?? []).filter((i) => ["starting", "ready", "serving"].includes(i.state));
  return running.filter((i) => !known.retired(i.service, "host") && !known.revision(i.service, i.revision));
}
