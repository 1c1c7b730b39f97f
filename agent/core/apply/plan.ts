/**
 * What has to be done so that the instances on this host are those that the assignment names. Pure: the decision is a
 * list of actions; said again after they are carried out, it is empty.
 *
 * An instance that is no longer named is left (`absent`): drains.ts stops it when nothing is in flight on it. One that
 * is named again before SIGTERM was said is taken back, not started anew: an abort costs nothing.
 */
import type { AssignedRevision, AssignedService, Assignment } from "../../../proto/contract/assignment.ts";
import { hashOf } from "../../../proto/contract/canonical.ts";
import type { DrainSpec, HealthSpec, RunSpec } from "../../../proto/contract/spec/types.ts";
import { externalInstances } from "../drivers/external.ts";
import type { InstanceMode, InstanceView } from "../instances/record.ts";

export type PlanAction =
  | {
      readonly kind: "create";
      readonly key: string;
      readonly service: string;
      readonly revision: number;
      readonly version: string;
      readonly index: number;
      readonly run: RunSpec;
      readonly health: HealthSpec | null;
      readonly drain: DrainSpec;
      readonly mode: InstanceMode;
      /** External instances only: where it is. */
      readonly address: string | null;
      readonly port: number | null;
    }
  | { readonly kind: "mode"; readonly id: string; readonly mode: InstanceMode }
  | { readonly kind: "policy"; readonly id: string; readonly health: HealthSpec | null; readonly drain: DrainSpec };

type Wanted = Extract<PlanAction, { kind: "create" }>;

export function plan(assignment: Assignment | null, host: string, instances: readonly InstanceView[]): PlanAction[] {
  const wanted = new Map<string, Wanted>();
  for (const service of assignment?.services ?? []) {
    for (const revision of service.revisions) {
      for (const one of wantedOf(service, revision, host)) wanted.set(one.key, one);
    }
  }
  const actions: PlanAction[] = [];
  const there = new Set<string>();
  for (const instance of instances) {
    if (instance.ending) continue;
    const want = wanted.get(instance.key);
    if (want === undefined || there.has(instance.key)) {
      const drain = drainOf(assignment, instance);
      if (hashOf(drain) !== hashOf(instance.drain)) {
        actions.push({ kind: "policy", id: instance.id, health: instance.health, drain });
      }
      if (instance.mode !== "absent") actions.push({ kind: "mode", id: instance.id, mode: "absent" });
      continue;
    }
    there.add(instance.key);
    if (!samePolicy(instance, want)) {
      actions.push({ kind: "policy", id: instance.id, health: want.health, drain: want.drain });
    }
    if (instance.mode !== want.mode) actions.push({ kind: "mode", id: instance.id, mode: want.mode });
  }
  for (const [key, want] of wanted) if (!there.has(key)) actions.push(want);
  return actions;
}

function wantedOf(service: AssignedService, revision: AssignedRevision, host: string): Wanted[] {
  const { run } = revision;
  const common = {
    kind: "create" as const,
    service: service.name,
    revision: revision.revision,
    version: revision.version,
    run,
    health: revision.health,
    drain: service.drain,
    mode: revision.mode,
  };
  // The revision's number alone would take a controller that lost its store for the one before it.
  const base = `${service.name}/r${String(revision.revision)}/${revision.version}`;
  switch (run.kind) {
    case "process":
    case "docker": {
      const { count, ...how } = run;
      const hash = hashOf(how).slice(0, 12);
      return Array.from({ length: count }, (_, index) => ({
        ...{ ...common, index, address: null, port: null },
        key: `${base}/${hash}/${String(index)}`,
      }));
    }
    case "external":
      return externalInstances(run, revision.version, host).map(({ address, port }, index) => ({
        ...{ ...common, index, address, port },
        key: `${base}/${address}/${String(port)}`,
      }));
  }
}

/** How one that is left is drained: as its service says now; when that is gone too, nobody is left to wait for. */
function drainOf(assignment: Assignment | null, instance: InstanceView): DrainSpec {
  const service = assignment?.services.find(({ name }) => name === instance.service);
  return service?.drain ?? { ...instance.drain, onTimeout: "cut" };
}

const samePolicy = (instance: InstanceView, want: Wanted): boolean =>
  hashOf([instance.health, instance.drain]) === hashOf([want.health, want.drain]);
