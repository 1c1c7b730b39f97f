/** What an operator names, found; or a refusal that says what there is, with the nearest to what was meant. */
import { nearest } from "../proto/contract/nearest.ts";
import type { Revision, Service } from "./model/service.ts";
import { Refusal } from "./refusal.ts";
import type { Registry } from "./registry.ts";

/** Neither: the newest revision. */
export interface Which {
  readonly version: string;
  /** 0: by version. */
  readonly revision: number;
}

export function named(registry: Registry, service: Service, which: Which): Revision {
  const all = registry.revisions(service.name);
  const { version } = which;
  const wanted = which.revision === 0 && version === "" ? service.newest : which.revision;
  // A label may be given twice; the newest that bears it is meant.
  const found =
    wanted === 0 ? all.findLast((revision) => revision.version === version) : registry.revision(service.name, wanted);
  if (found !== undefined && (version === "" || found.version === version)) return found;
  const asked =
    wanted === 0 ? `version ${version}` : `revision ${wanted}${version === "" ? "" : ` of version ${version}`}`;
  const known = all.slice(-5).map((revision) => `${revision.version} (revision ${revision.revision})`);
  throw new Refusal("not-found", `${service.name} has no ${asked}; it has ${known.join(", ")}`);
}

export function hint(word: string, known: readonly string[], what: string): string {
  const near = nearest(word, known);
  if (near !== undefined) return `; did you mean ${near}?`;
  if (known.length === 0) return `; there are no ${what} yet`;
  return `; the ${what} are ${known.slice(-10).join(", ")}`;
}
