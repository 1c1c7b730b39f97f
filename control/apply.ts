/**
 * Service documents taken in: all of one call, or none. A document that says what a kept revision says changes
 * nothing and gets no new number: the stable or the newest one, and any other when it is to be rolled out as well. Every
 * other becomes the next revision. The first one of a new service is always rolled out.
 *
 * Taking over  hosts may run revisions that this controller does not know, because its store was lost or is an older
 *              copy (fleet/hold.ts). A document whose version is one of those is stored under that very number, and
 *              what runs goes on untouched; another version is refused until then, since to roll from what is not
 *              known is to stop it.
 */
import { parseFiles, formatProblem } from "../proto/contract/spec/parse.ts";
import type { Source } from "../proto/contract/spec/parse.ts";
import { specHash } from "../proto/contract/spec/document.ts";
import { checkTogether } from "../proto/contract/spec/together.ts";
import { formatPath } from "../proto/contract/spec/problem.ts";
import type { ServiceSpec } from "../proto/contract/spec/types.ts";
import type { Fleet } from "./fleet/fleet.ts";
import type { Revision, Service } from "./model/service.ts";
import { Refusal } from "./refusal.ts";
import { eventChange } from "./registry.ts";
import type { Registry } from "./registry.ts";
import type { Change } from "./store/store.ts";

export interface Applied {
  readonly service: string;
  readonly outcome: "created" | "configured" | "unchanged";
  readonly revision: Revision;
  /** The service as it is once this is stored. */
  readonly state: Service;
  /** It runs already: taken over from the hosts, not rolled out. */
  readonly adopted: boolean;
}

export interface ApplyContext {
  readonly registry: Registry;
  readonly fleet: Fleet;
  readonly nowMs: number;
  readonly actor: string;
  /** The caller is to see to it that the documents are served. */
  readonly deploy: boolean;
}

/** What applying would do, and the changes that do it. */
export function planApply(
  sources: readonly Source[],
  context: ApplyContext,
): { readonly results: readonly Applied[]; readonly changes: readonly Change[] } {
  if (sources.length === 0) throw new Refusal("invalid", "no document was sent");
  const parsed = parseFiles(sources);
  if (parsed.kind === "invalid") throw new Refusal("invalid", parsed.problems.map(formatProblem).join("\n"));
  const results: Applied[] = [];
  const changes: Change[] = [];
  for (const { spec, file, line } of parsed.services) {
    const planned = plan(spec, context);
    const conflict = conflictWithOthers(
      spec,
      parsed.services.map((s) => s.spec.name),
      context.registry,
    );
    if (conflict !== "") throw new Refusal("invalid", `${file}:${line}:1: ${conflict}`);
    results.push(planned.result);
    changes.push(...planned.changes);
  }
  return { results, changes };
}

interface Planned {
  readonly result: Applied;
  readonly changes: readonly Change[];
}

function plan(spec: ServiceSpec, context: ApplyContext): Planned {
  const { registry, nowMs, actor } = context;
  const { name, version } = spec;
  const retirement = registry.retirement(name);
  if (retirement !== undefined && retirement.stage !== "done") {
    throw new Refusal("precondition", `${name} is being deleted; apply it again once \`baton get\` no longer shows it`);
  }
  const service = registry.service(name);
  const hash = specHash(spec);
  const running = strangers(name, context);
  const adopted = [...running].find(([, label]) => label === version)?.[0];
  const same = service === undefined || adopted !== undefined ? undefined : equal(service, hash, context);
  const versions = [...new Set(running.values())];
  const untouched = !context.deploy || versions.length === 0 || same?.revision === service?.stable;
  if (service !== undefined && same !== undefined && untouched) {
    const result = { service: name, outcome: "unchanged", revision: same, state: service, adopted: false } as const;
    return { result, changes: [] };
  }
  if (adopted === undefined && versions.length > 0) {
    throw new Refusal(
      "precondition",
      `hosts run ${name} ${versions.join(" and ")}, which this controller does not know (its store is new or older); ` +
        `apply the document of ${versions[0] ?? ""} first, so that it is taken over as it runs, or delete ${name} to stop it`,
    );
  }
  const number = adopted ?? Math.max(service?.newest ?? 0, highestReported(name, context)) + 1;
  const revision: Revision = { service: name, revision: number, version, spec, specHash: hash, createdAtMs: nowMs };
  const next = nextService(service, revision, adopted !== undefined);
  const outcome = service === undefined ? "created" : "configured";
  const message =
    adopted === undefined
      ? `${name} ${version} is revision ${number}`
      : `${name} ${version} runs already as revision ${number}: taken over as it is`;
  return {
    result: { service: name, outcome, revision, state: next, adopted: adopted !== undefined },
    changes: [
      { kind: "service", service: next },
      { kind: "revision", revision },
      ...(retirement === undefined ? [] : [{ kind: "end-retirement", service: name } as const]),
      eventChange({ atMs: nowMs, kind: `service_${outcome}`, service: name, actor, message }),
    ],
  };
}

/** The kept revision that says the same; of several, where a rollout is going, else the stable one, else the newest. */
function equal({ name, stable, newest }: Service, hash: string, context: ApplyContext): Revision | undefined {
  const { registry, deploy } = context;
  const towards = (registry.blockedOf(name) ?? registry.activeOf(name))?.to;
  const found = registry.revisions(name).filter((revision) => {
    return revision.specHash === hash && (deploy || revision.revision === stable || revision.revision === newest);
  });
  const numbered = (number: number | undefined): Revision | undefined => found.find((r) => r.revision === number);
  return numbered(towards) ?? numbered(stable) ?? found.at(-1);
}

function nextService(before: Service | undefined, revision: Revision, adopted: boolean): Service {
  const { service: name, revision: number } = revision;
  const base = before ?? { name, stable: 0, previous: 0, newest: 0 };
  const newest = Math.max(base.newest, number);
  if (!adopted || number <= base.stable) return { ...base, newest };
  // What hosts run is what traffic rests on, whatever an older copy of the store says.
  return { ...base, newest, stable: number, previous: base.stable };
}

/** Revision → version, of what live hosts run of a service and this controller does not know. */
function strangers(name: string, { registry, fleet }: ApplyContext): ReadonlyMap<number, string> {
  const found = new Map<number, string>();
  for (const agent of fleet.agents()) {
    for (const { service, revision, version, state } of agent.report?.instances ?? []) {
      if (service !== name || registry.revision(name, revision) !== undefined) continue;
      // Deleted on purpose: it is on its way out.
      if (registry.retirement(name) !== undefined) continue;
      if (["starting", "ready", "serving"].includes(state)) found.set(revision, version);
    }
  }
  return found;
}

function highestReported(name: string, { fleet }: ApplyContext): number {
  let highest = 0;
  for (const agent of fleet.agents()) {
    for (const { service, revision } of agent.report?.instances ?? []) {
      if (service === name) highest = Math.max(highest, revision);
    }
  }
  return highest;
}

/** Against every stored service that this call does not replace: what each rests on, and what it is moving to. */
function conflictWithOthers(spec: ServiceSpec, replaced: readonly string[], registry: Registry): string {
  for (const other of registry.services()) {
    if (replaced.includes(other.name)) continue;
    for (const number of new Set([other.stable, other.newest])) {
      const theirs = registry.revision(other.name, number);
      const conflict = theirs === undefined ? undefined : checkTogether([theirs.spec, spec])[0];
      if (conflict !== undefined) return `${formatPath(conflict.path)}: ${conflict.message}`;
    }
  }
  return "";
}
