/**
 * A version change without a controller: the new one starts beside the old one (surge), and takes over in one step once
 * every instance of it has been healthy for `minHealthyMs`; then the old one is drained and stopped. One that is not
 * healthy within `healthyDeadlineMs` is refused, and the old one has never been touched. Pure.
 *
 * A revision is what is run: version and `run`. Everything else of a document (listeners, rules, drain, health) is
 * changed in place.
 */
import type { AssignedRevision, AssignedService } from "../../../proto/contract/assignment.ts";
import { hashOf } from "../../../proto/contract/canonical.ts";
import type { InstanceReport } from "../../../proto/contract/report.ts";
import type { HealthSpec, RunSpec, ServiceSpec } from "../../../proto/contract/spec/types.ts";
import { WHOLE, formatDuration } from "../../../proto/contract/units.ts";
import type { Millis } from "../../../proto/kernel/clock.ts";
import { externalInstances } from "../drivers/external.ts";

export interface LocalRevision {
  readonly revision: number;
  readonly version: string;
  readonly run: RunSpec;
  readonly health: HealthSpec | null;
}

export interface LocalRollout {
  /** The newest document. */
  readonly spec: ServiceSpec;
  readonly serving: LocalRevision;
  /** On its way; `since` is monotonic. */
  readonly next: { readonly revision: LocalRevision; readonly since: Millis } | null;
  /** What was refused is not tried again until the document changes, or somebody says so. */
  readonly refused: LocalRevision | null;
  /** Left, maybe still draining: who comes back to one of these takes it up again. */
  readonly left: readonly LocalRevision[];
}

const LEFT_KEPT = 8;

/** What a document asks for, given how far the service is. `anew`: try again what was refused. */
export function take(spec: ServiceSpec, before: LocalRollout | undefined, now: Millis, anew: boolean): LocalRollout {
  if (before === undefined) {
    return { spec, serving: revisionOf(spec, 1), next: null, refused: null, left: [] };
  }
  const { version, run, health } = spec;
  if (same(before.serving, spec)) {
    const left = before.next === null ? before.left : [before.next.revision, ...before.left].slice(0, LEFT_KEPT);
    return { ...before, spec, serving: { ...before.serving, version, run, health }, next: null, refused: null, left };
  }
  if (before.next !== null && same(before.next.revision, spec)) {
    return { ...before, spec, next: { ...before.next, revision: { ...before.next.revision, health } } };
  }
  if (before.refused !== null && same(before.refused, spec) && !anew) return { ...before, spec };
  const known = before.left.find((revision) => same(revision, spec));
  const revision = known === undefined ? revisionOf(spec, highest(before) + 1) : { ...known, health };
  const left = before.left.filter((other) => other !== known);
  if (before.next !== null) left.unshift(before.next.revision);
  return { ...before, spec, next: { revision, since: now }, refused: null, left: left.slice(0, LEFT_KEPT) };
}

/** Where an agent that was restarted goes on from; undefined when that is no state of a static agent. */
export function restore(service: AssignedService, spec: ServiceSpec, now: Millis): LocalRollout | undefined {
  const serving = service.revisions.find(({ mode }) => mode === "serving");
  const standby = service.revisions.find(({ mode }) => mode === "standby");
  if (serving === undefined) return undefined;
  const next = standby === undefined ? null : { revision: local(standby), since: now };
  return { spec, serving: local(serving), next, refused: null, left: [] };
}

export interface StepFacts {
  readonly now: Millis;
  /** Wall clock, which reports speak in. */
  readonly wall: Millis;
  readonly host: string;
  readonly instances: readonly InstanceReport[];
}
export interface Outcome {
  readonly kind: "promoted" | "refused";
  readonly message: string;
}

export function step(
  rollout: LocalRollout,
  facts: StepFacts,
): { readonly rollout: LocalRollout; readonly outcome: Outcome | null } {
  const { next, serving, spec } = rollout;
  if (next === null) return { rollout, outcome: null };
  const { revision, since } = next;
  const { minHealthyMs, healthyDeadlineMs } = spec.strategy;
  const wanted = revision.run.kind === "external" ? externals(revision, facts.host) : revision.run.count;
  const own = facts.instances.filter(
    (one) => one.service === spec.name && one.revision === revision.revision && one.state !== "stopped",
  );
  const healthy = own.filter(({ healthySinceMs }) => healthySinceMs > 0 && facts.wall - healthySinceMs >= minHealthyMs);
  const [from, to] = [label(serving), label(revision)];
  if (wanted > 0 && healthy.length >= wanted) {
    const left = [serving, ...rollout.left].slice(0, LEFT_KEPT);
    const message = `${spec.name}: ${to} is healthy and takes over from ${from}`;
    return { rollout: { ...rollout, serving: revision, next: null, left }, outcome: { kind: "promoted", message } };
  }
  if (wanted > 0 && facts.now - since < healthyDeadlineMs) return { rollout, outcome: null };
  const why =
    wanted === 0
      ? `run.external.instances has none of version ${revision.version} for this host`
      : `not healthy within ${formatDuration(healthyDeadlineMs)}${evidence(own)}`;
  const message = `${spec.name}: ${to} is refused, ${from} stays: ${why}`;
  const left = [revision, ...rollout.left].slice(0, LEFT_KEPT);
  return { rollout: { ...rollout, next: null, refused: revision, left }, outcome: { kind: "refused", message } };
}

export function assigned({ spec, serving, next }: LocalRollout): AssignedService {
  const revisions: AssignedRevision[] = [{ ...serving, mode: "serving", weight: WHOLE }];
  if (next !== null) revisions.push({ ...next.revision, mode: "standby", weight: 0 });
  return {
    name: spec.name,
    rollout: "",
    listeners: spec.listen,
    hostnames: spec.hostnames,
    rules: spec.rules,
    drain: spec.drain,
    accepting: true,
    revisions,
    endpoints: [],
    sticky: null,
    routes: [],
    mirrors: [],
  };
}

function evidence(own: readonly InstanceReport[]): string {
  const [worst] = [...own].sort((a, b) => b.restarts - a.restarts);
  if (worst === undefined) return "";
  const exit = worst.exit === null ? "" : `; last exit: ${worst.exit.signal ?? `code ${String(worst.exit.code)}`}`;
  const output = worst.output.length === 0 ? "" : `; last output:\n  ${worst.output.slice(-5).join("\n  ")}`;
  return ` (${worst.id}: ${worst.reason}${exit}, ${worst.restarts} restarts${output})`;
}

const revisionOf = ({ version, run, health }: ServiceSpec, revision: number): LocalRevision => ({
  ...{ revision, version, run, health },
});
const local = ({ revision, version, run, health }: AssignedRevision): LocalRevision => ({
  ...{ revision, version, run, health },
});
const label = ({ version, revision }: LocalRevision): string => `${version} (revision ${revision})`;
const externals = ({ run, version }: LocalRevision, host: string): number =>
  run.kind === "external" ? externalInstances(run, version, host).length : 0;

function highest({ serving, next, refused, left }: LocalRollout): number {
  const all = [serving, next?.revision, refused, ...left];
  return Math.max(...all.map((revision) => revision?.revision ?? 0));
}

/**
 * Whether a document asks for just this revision. Of external instances only the version's own count: an address added
 * for the version to come is no change of the one that serves.
 */
const same = (revision: Pick<LocalRevision, "version" | "run">, spec: ServiceSpec): boolean =>
  identity(revision) === identity(spec);

function identity({ version, run }: Pick<LocalRevision, "version" | "run">): string {
  switch (run.kind) {
    case "process":
    case "docker":
      return hashOf([version, { ...run, count: 0 }]);
    case "external":
      return hashOf([version, "external"]);
  }
}
