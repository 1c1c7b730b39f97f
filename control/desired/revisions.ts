/** The revisions that one host runs, as its agent is told them. */
import type { AssignedRevision } from "../../proto/contract/assignment.ts";
import type { RunSpec } from "../../proto/contract/spec/types.ts";
import { WHOLE } from "../../proto/contract/units.ts";
import type { HostDesire, Split } from "../model/rollout.ts";
import type { Revision } from "../model/service.ts";
import type { HostView, InstanceView } from "../model/view.ts";

type Asked = HostDesire["revisions"];

export const isReady = (instance: InstanceView): boolean =>
  instance.healthySinceMs > 0 && (instance.state === "ready" || instance.state === "serving");

/**
 * A host may be found serving something else than it is asked for: it was lost while the fleet moved on, or its last
 * rollout failed there. Then what serves goes on serving, and what it should serve is started beside it; once that is
 * ready, the other is no longer named, and its agent drains and stops it. Stands on reports alone, so a silent host is
 * asked for the plain state (I1, I5). A target that is ready stands for nothing as long as it is given a share only: the
 * rest of the traffic is another's.
 */
export function keepServing(
  { revisions: asked, split }: Pick<HostDesire, "revisions" | "split">,
  view: HostView | undefined,
  known: ReadonlyMap<number, Revision>,
): Asked {
  if (view?.lease !== "live") return asked;
  const carries = (revision: number): boolean => split === null || split.weight === WHOLE || revision !== split.target;
  const serving = asked
    .filter(({ revision, mode }) => mode === "serving" && carries(revision))
    .map(({ revision }) => revision);
  if (serving.length === 0) return asked;
  const ready = view.instances.filter(isReady).map((instance) => instance.revision);
  if (ready.some((revision) => serving.includes(revision))) return asked;
  const named = new Set(asked.map((entry) => entry.revision));
  // One that is still starting may be ready by the time this arrives: a machine that has just come back.
  const starting = view.instances.filter((instance) => instance.state === "starting").map((i) => i.revision);
  const strange = (revisions: readonly number[]): number =>
    Math.max(0, ...revisions.filter((revision) => !named.has(revision) && known.has(revision)));
  const other = strange(ready) === 0 ? strange(starting) : strange(ready);
  if (other === 0) return asked;
  // Both are starting, and nobody here knows which of them its agent serves: both may, as soon as they are ready.
  if (strange(ready) === 0 && starting.some((revision) => serving.includes(revision))) {
    return [{ revision: other, mode: "serving" }, ...asked];
  }
  return [
    { revision: other, mode: "serving" },
    ...asked.map((entry) => (entry.mode === "serving" ? { ...entry, mode: "standby" as const } : entry)),
  ];
}

/** Oldest first, as the split wants it. Shares of new requests sum to WHOLE: the target's is the split's, the rest is equal. */
export function revisionsFor(
  asked: Asked,
  known: ReadonlyMap<number, Revision>,
  host: string,
  split: Pick<Split, "target" | "weight"> | null,
): readonly AssignedRevision[] {
  const named = asked.toSorted((a, b) => a.revision - b.revision);
  const serving = named.filter((entry) => entry.mode === "serving" && known.has(entry.revision));
  const weights = sharesOf(
    serving.map((entry) => entry.revision),
    split,
  );
  return named.flatMap(({ revision: number, mode }) => {
    const revision = known.get(number);
    if (revision === undefined) return [];
    const weight = mode === "serving" ? (weights.get(number) ?? 0) : 0;
    const { version, spec } = revision;
    return [{ revision: number, version, mode, weight, run: runAt(spec.run, version, host), health: spec.health }];
  });
}

function sharesOf(
  serving: readonly number[],
  split: Pick<Split, "target" | "weight"> | null,
): ReadonlyMap<number, number> {
  const target = split !== null && serving.length > 1 && serving.includes(split.target) ? split : null;
  const others = target === null ? serving : serving.filter((revision) => revision !== target.target);
  const whole = WHOLE - (target?.weight ?? 0);
  const share = Math.floor(whole / Math.max(1, others.length));
  const weights = new Map(
    others.map((revision, at) => [revision, at === 0 ? whole - share * (others.length - 1) : share]),
  );
  if (target !== null) weights.set(target.target, target.weight);
  return weights;
}

/** Of an external service, this version's instances that this host may send to. */
function runAt(run: RunSpec, version: string, host: string): RunSpec {
  if (run.kind !== "external") return run;
  const instances = run.instances.filter(
    (instance) => instance.version === version && (instance.host === null || instance.host === host),
  );
  return { ...run, instances };
}
