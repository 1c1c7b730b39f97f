/**
 * How a rollout comes to be: at once, in place of one that runs, or behind it. A rollout whose strategy says
 * `onSupersede: rollBackFirst` goes back before the next one begins; that one is stored meanwhile as `blocked`, so that
 * whoever asked for it has something to wait on, and a controller that starts anew goes on with it. Of several that
 * would wait, the newest does.
 *
 * Also whether it is on the fast track: back to one of the last `rollbackWindow` stable revisions, as the revision that
 * serves now says, without steps and analysis.
 */
import { placed } from "./desired/placement.ts";
import type { Books } from "./ledger/books.ts";
import type { JournalEntry, Rollout } from "./model/rollout.ts";
import type { Revision, Service } from "./model/service.ts";
import { eventChange } from "./registry.ts";
import type { Registry } from "./registry.ts";
import { begin } from "./rollout/engine.ts";
import type { Beginning, Decision } from "./rollout/types.ts";
import { versionName } from "./rollout/words.ts";
import type { Change } from "./store/store.ts";

export interface Wanted {
  readonly id: string;
  readonly service: Service;
  readonly to: Revision;
  readonly actor: string;
  /** The rollout that it supersedes. */
  readonly over?: Rollout;
}

export interface Grounds {
  readonly registry: Registry;
  readonly books: Books;
  readonly now: () => number;
}

export function beginningOf({ registry, now }: Pick<Grounds, "registry" | "now">, wanted: Wanted): Beginning {
  const { id, service, to, actor, over } = wanted;
  const from = registry.revision(service.name, service.stable) ?? null;
  const hosts = registry.hosts();
  const window = from?.spec.strategy.rollbackWindow ?? 0;
  return {
    id,
    service: service.name,
    from,
    to,
    hosts: placed(to.spec, hosts),
    fromHosts: from === null ? [] : placed(from.spec, hosts),
    now: now(),
    actor,
    epoch: registry.epoch,
    fastTrack: stableBefore(registry, service).slice(0, window).includes(to.revision),
    ...(over === undefined ? {} : { over }),
  };
}

/** What the service rested on before the present stable revision, each once, the latest first. */
export function stableBefore(registry: Registry, { name, stable, previous }: Service): readonly number[] {
  const promoted = registry.rollouts(name).filter(({ stage }) => stage.kind === "succeeded");
  // `previous` knows of what was taken over as it ran, which no rollout promoted.
  const all = [previous, ...promoted.map(({ to }) => to).toReversed()];
  return [...new Set(all)].filter((number) => number !== 0 && number !== stable);
}

/** What is stored for one that begins now. */
export function begun({ registry, books, now }: Grounds, wanted: Wanted): Begun {
  const beginning = beginningOf({ registry, now }, wanted);
  const { rollout, journal } = begin(beginning);
  return { rollout, changes: opened({ books, now }, beginning, { rollout, journal }, -1) };
}

export interface Begun {
  readonly rollout: Rollout;
  readonly changes: readonly Change[];
}

/** What is stored for one that waits for `behind` to go back. */
export function blocked({ registry, now }: Pick<Grounds, "registry" | "now">, wanted: Wanted, behind: Rollout): Begun {
  const { rollout: blank, journal } = begin(beginningOf({ registry, now }, wanted));
  const { service, actor, to } = wanted;
  const why = `its strategy says onSupersede: rollBackFirst`;
  const stage = { kind: "blocked", behind: behind.id, why } as const;
  // Nothing is asked for it, so it has no hosts; which it takes is decided when it begins.
  const rollout: Rollout = { ...blank, hosts: [], stage };
  const message = `${service.name} goes to ${to.version} once ${behind.id} is back on ${nameOf(registry, behind)}`;
  const entries = journal.map((entry) => ({ ...entry, stage: "Blocked", reason: "Blocked", message }));
  const event = { kind: "rollout_blocked", service: service.name, rollout: rollout.id, actor, message };
  return {
    rollout,
    changes: [{ kind: "rollout", rollout, expect: -1, entries }, eventChange({ atMs: now(), ...event })],
  };
}

/** What is stored for those whose way has become free: each begins under the id that it has been waited for by. */
export function unblocked(grounds: Grounds): readonly Change[] {
  const { registry, now } = grounds;
  return registry.blocked().flatMap((waiting) => {
    const { service: name, change, startedAtMs } = waiting;
    const service = registry.service(name);
    const to = registry.revision(name, waiting.to);
    if (service === undefined || to === undefined || registry.activeOf(name) !== undefined) return [];
    const beginning = beginningOf({ registry, now }, { id: waiting.id, service, to, actor: waiting.actor });
    const { rollout, journal } = begin(beginning);
    const next = { ...rollout, change: change + rollout.change, startedAtMs };
    const entries = journal.map((entry) => ({ ...entry, change: change + entry.change }));
    return opened(grounds, beginning, { rollout: next, journal: entries }, change);
  });
}

type Decided = Pick<Decision, "rollout" | "journal">;

function opened(
  { books, now }: Pick<Grounds, "books" | "now">,
  { from, to, actor }: Beginning,
  { rollout, journal }: Decided,
  expect: number,
): readonly Change[] {
  const { service, fastTrack } = rollout;
  const fast = fastTrack ? ", by the fast track: it was stable lately" : "";
  const message = `${service} goes from ${from?.version ?? "nothing"} to ${to.version}${fast}`;
  const entries: readonly JournalEntry[] = journal;
  const event = { kind: "rollout_started", service, rollout: rollout.id, actor, message };
  return [
    { kind: "rollout", rollout, expect, entries },
    { kind: "ledger", ledger: books.open(rollout) },
    eventChange({ atMs: now(), ...event }),
  ];
}

function nameOf(registry: Registry, { service, from, to }: Rollout): string {
  const before = registry.revision(service, from) ?? null;
  const after = registry.revision(service, to);
  return after === undefined ? `revision ${from}` : versionName({ from: before, to: after }, from);
}
