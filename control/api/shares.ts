/**
 * The traffic's shares of a rollout's versions: as asked of the hosts that gateways may send to, and as those hosts
 * have confirmed. Each routed host counts the same, as a gateway picks among them by load.
 *
 * Units  basis points; what no host confirms is in no share, so applied ones may sum to less than the whole.
 */
import type { AssignedService } from "../../proto/contract/assignment.ts";
import { WHOLE } from "../../proto/contract/units.ts";
import type { Agent } from "../fleet/agent.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { Rollout } from "../model/rollout.ts";
import type { Revision } from "../model/service.ts";
import { splits } from "../rollout/program.ts";

export interface Shares {
  readonly asked: ReadonlyMap<number, number>;
  readonly applied: ReadonlyMap<number, number>;
}

export function sharesOf(fleet: Fleet, rollout: Rollout): Shares {
  const routed = rollout.hosts.filter((track) => track.routed).map((track) => fleet.agent(track.host));
  const of = (services: readonly AssignedService[] | null | undefined): AssignedService | undefined =>
    services?.find((service) => service.name === rollout.service);
  // While weights are walked, as the engine counts them: what was confirmed and is not reported with its counts yet is not
  // applied yet, and the next weight would be refused.
  const walked = splits(rollout) && rollout.endedAtMs === 0;
  const applies = (agent: Agent | undefined): boolean => !walked || agent?.liveHash(rollout.service) !== "";
  return {
    asked: meanWeights(routed.map((agent) => of(agent?.wanted?.services))),
    applied: meanWeights(routed.map((agent) => (applies(agent) ? of(agent?.live()) : undefined))),
  };
}

function meanWeights(services: readonly (AssignedService | undefined)[]): Map<number, number> {
  const sums = new Map<number, number>();
  for (const service of services) {
    for (const { revision, mode, weight } of service?.revisions ?? []) {
      if (mode === "serving") sums.set(revision, (sums.get(revision) ?? 0) + weight);
    }
  }
  for (const [revision, sum] of sums) sums.set(revision, Math.min(WHOLE, Math.round(sum / services.length)));
  return sums;
}

/** Instances of a revision that the rollout asks for now. */
export function instancesWanted(rollout: Rollout, { revision, spec, version }: Revision): number {
  const hosts = rollout.hosts.filter((track) => {
    return track.revisions.some((asked) => asked.revision === revision && asked.mode !== "draining");
  });
  if (spec.run.kind !== "external") return hosts.length * spec.run.count;
  const { instances } = spec.run;
  const at = (host: string): number =>
    instances.filter((i) => i.version === version && (i.host === null || i.host === host)).length;
  return hosts.reduce((total, track) => total + at(track.host), 0);
}
