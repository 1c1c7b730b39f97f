/**
 * What of the counts somebody waits for: that nothing is in flight any more where something drains, and that something
 * was lost or cut. It is reported at once, like a change of state; all other counts are as good a little later, and in a
 * great fleet the controller asks for them seldom (Welcome's report interval).
 *
 * Cost  asked with every tick: what drains is looked up, losses are one sum over the slots in use.
 */
import type { AssignedService } from "../../proto/contract/assignment.ts";
import type { InstanceView } from "./instances/record.ts";
import type { Statistics } from "./stats/statistics.ts";

/** Another text when there is something new to say. Counts are as of the last `refresh`. */
export function waitedFor(
  instances: readonly Pick<InstanceView, "service" | "version" | "id" | "mode">[],
  services: readonly Pick<AssignedService, "name" | "endpoints">[],
  statistics: Pick<Statistics, "endpoint" | "lost">,
): string {
  const empty: string[] = [];
  const look = (service: string, version: string, endpoint: string): void => {
    if (statistics.endpoint(service, version, endpoint).inFlight === 0) empty.push(endpoint);
  };
  for (const { service, version, id, mode } of instances) if (mode === "draining") look(service, version, id);
  for (const { name, endpoints } of services) {
    for (const { host, mode } of endpoints) if (mode === "draining") look(name, "", host);
  }
  return `${statistics.lost()} ${empty.join(" ")}`;
}
