/**
 * Which of all hosts a service may have to do with: where the revisions in question are placed, where its rollout moves
 * hosts, and every gateway. In a fleet of many services, looking at these alone is what keeps one service's round from
 * costing the others' hosts.
 *
 * Cost  one pass over all hosts when hosts, revisions in question or the rollout's hosts change; else nothing.
 */
import { placed } from "./desired/placement.ts";
import type { Rollout } from "./model/rollout.ts";
import type { Host, Revision } from "./model/service.ts";

interface Asked {
  readonly all: readonly Host[];
  /** Stable, and where a rollout comes from and goes to. */
  readonly revisions: readonly (Revision | undefined)[];
  readonly rollout: Rollout | undefined;
}

interface Known {
  readonly asked: Asked;
  readonly hosts: readonly Host[];
}

export class Concerned {
  readonly #known = new Map<string, Known>();

  /** In the order of `all`; the same list as before while the same hosts are in it. */
  of(service: string, asked: Asked): readonly Host[] {
    const before = this.#known.get(service);
    if (before !== undefined && same(before.asked, asked)) return before.hosts;
    const found = concerned(asked);
    const hosts = before !== undefined && equal(before.hosts, found) ? before.hosts : found;
    this.#known.set(service, { asked, hosts });
    return hosts;
  }

  /** Forgets all other services. */
  keep(services: readonly string[]): void {
    if (this.#known.size <= services.length) return;
    for (const name of this.#known.keys()) if (!services.includes(name)) this.#known.delete(name);
  }
}

export function concerned({ all, revisions, rollout }: Asked): readonly Host[] {
  const names = new Set(rollout?.hosts.map((track) => track.host));
  for (const revision of revisions) {
    if (revision !== undefined) for (const name of placed(revision.spec, all)) names.add(name);
  }
  return all.filter(({ name, role }) => role === "gateway" || names.has(name));
}

/** A rollout's hosts are only ever added to. */
const same = (a: Asked, b: Asked): boolean =>
  a.all === b.all &&
  a.rollout?.id === b.rollout?.id &&
  a.rollout?.hosts.length === b.rollout?.hosts.length &&
  a.revisions.length === b.revisions.length &&
  a.revisions.every((revision, i) => revision === b.revisions[i]);

const equal = (a: readonly Host[], b: readonly Host[]): boolean =>
  a.length === b.length && a.every((host, i) => host === b[i]);
