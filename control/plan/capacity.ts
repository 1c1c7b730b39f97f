/** How many instances serve at one moment of a plan, where, and what share of the traffic each version is asked to take. */
import type { AssignedService } from "../../proto/contract/assignment.ts";
import { sizeOf } from "./ideal.ts";
import type { Assigned } from "./ideal.ts";

export interface Moment {
  /** Revision → instances that take traffic. */
  readonly serving: ReadonlyMap<number, number>;
  /** Whatever they do: processes that are there at once. */
  readonly instances: number;
  /** Hosts on which something takes traffic. */
  readonly hosts: ReadonlySet<string>;
  /** Revision → basis points of the traffic, each host counting the same. */
  readonly weights: ReadonlyMap<number, number>;
}

export function momentOf(assigned: Assigned, service: string): Moment {
  const serving = new Map<number, number>();
  const weights = new Map<number, number>();
  const hosts = new Set<string>();
  let instances = 0;
  for (const [host, services] of assigned) {
    const own = services.find((one) => one.name === service);
    if (own === undefined) continue;
    for (const revision of own.revisions) instances += sizeOf(revision);
    for (const { revision, weight, size } of taking(own)) {
      hosts.add(host);
      serving.set(revision, (serving.get(revision) ?? 0) + size);
      weights.set(revision, (weights.get(revision) ?? 0) + weight);
    }
  }
  for (const [revision, sum] of weights) weights.set(revision, Math.round(sum / hosts.size));
  return { serving, instances, hosts, weights };
}

function taking(service: AssignedService) {
  if (!service.accepting) return [];
  return service.revisions
    .filter(({ mode, weight }) => mode === "serving" && weight > 0)
    .map((revision) => ({ revision: revision.revision, weight: revision.weight, size: sizeOf(revision) }));
}

export const servingIn = ({ serving }: Moment): number => [...serving.values()].reduce((sum, n) => sum + n, 0);

/** Rounded down; with nothing before, nothing can be missing. */
export const percentOf = (moment: Moment, before: Moment): number => {
  const whole = servingIn(before);
  return whole === 0 ? 100 : Math.floor((100 * servingIn(moment)) / whole);
};
