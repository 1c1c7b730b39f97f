/** What an operator should know before beginning: one sentence each, the gravest first. */
import type { Host } from "../model/service.ts";
import { splits } from "../rollout/program.ts";
import { list } from "../rollout/words.ts";
import type { Plan, PlanInput } from "./types.ts";

type Told = Pick<Plan, "steps" | "minCapacityPercent" | "maxInstances" | "maxHostsOut">;

export function warningsOf(input: PlanInput, told: Told): readonly string[] {
  return [nowhere(input), ...silent(input), sameLabel(input), short(told), crowded(input, told), moved(input)].filter(
    (warning) => warning !== "",
  );
}

function nowhere({ beginning }: PlanInput): string {
  if (beginning.hosts.length > 0) return "";
  const until = beginning.from === null ? "" : `; until then ${beginning.from.version} serves where it does`;
  return `no host matches the placement: the rollout begins when one connects${until}`;
}

function silent({ beginning, hosts, lost }: PlanInput): readonly string[] {
  const concerned = new Set([...beginning.hosts, ...(beginning.fromHosts ?? [])]);
  const matters = (host: Host): boolean => concerned.has(host.name) || host.role === "gateway";
  const gone = hosts.filter((host) => matters(host) && lost.includes(host.name)).map(({ name }) => name);
  const drained = hosts.filter((host) => matters(host) && host.adminState === "drain").map(({ name }) => name);
  const pauses = beginning.to.spec.strategy.onPartition === "pause";
  return [
    gone.length === 0
      ? ""
      : `${list(gone)} is not heard from: the rollout would ${pauses ? "pause (FleetPartitioned) until it is" : "go on without it"}`,
    drained.length === 0
      ? ""
      : `${list(drained)} is drained by an operator: it is moved too, and counts as unavailable meanwhile`,
  ];
}

function sameLabel({ beginning: { from, to } }: PlanInput): string {
  if (from === null || from.version !== to.version) return "";
  return (
    `both revisions are labelled ${to.version}: their traffic can't be told apart, so neither maxErrorRate nor an ` +
    "analysis can judge the new one; give it a version of its own"
  );
}

function short({ minCapacityPercent, maxHostsOut }: Told): string {
  if (minCapacityPercent >= 100) return "";
  const out = maxHostsOut === 0 ? "" : `, with ${String(maxHostsOut)} hosts out of routing at once`;
  return `capacity goes down to ${String(minCapacityPercent)} % on the way${out}; a larger maxSurge keeps it up`;
}

function crowded({ beginning: { from, to, fastTrack } }: PlanInput, { steps, maxInstances }: Told): string {
  const last = steps.at(-1);
  if (from === null || last === undefined || to.spec.run.kind === "external") return "";
  const needed = last.newServing + last.oldServing;
  if (maxInstances <= needed) return "";
  const everywhere = splits({ strategy: to.spec.strategy, from: from.revision }) && fastTrack !== true;
  const why = everywhere ? "every host runs both versions until the end" : "hosts that are moved run both versions";
  return `${why}: up to ${String(maxInstances)} processes at once, where ${String(needed)} are needed otherwise`;
}

function moved({ beginning: { from, to } }: PlanInput): string {
  if (from === null || JSON.stringify(from.spec.listen) === JSON.stringify(to.spec.listen)) return "";
  return "listeners change: gateways listen where the new revision says once it is promoted, and no more where the old one did";
}
