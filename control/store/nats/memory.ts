/**
 * What a controller knew of the store when it read or wrote it last. Servers may lose records, all of them, and the newest
 * commits, thousands of them (nats-server 2.9 after a full disk, both seen); what a controller still has in memory is then
 * not lost. It outlives the stores that are opened one after another as a controller leads and follows, not the process.
 *
 * It may speak of other records than those that are there now: of a bucket that was made anew since, or of a time since
 * which others have committed. So it is asked last, and of what may have changed since only for what never changes, and for
 * hosts, whose agents tell the rest.
 */
import type { HostTrack } from "../../model/rollout.ts";
import type { Meta } from "./head.ts";
import { readKey, recordKey } from "./keys.ts";
import type { RecordKind } from "./keys.ts";
import { TRACKS_A_CHUNK } from "./state.ts";
import type { KeptRollout, State } from "./state.ts";

/** Commits that are known again when servers go back to one of them. */
const PAST = 20_000;
const LASTING: ReadonlySet<string | undefined> = new Set(["revision", "host"]);

export class Memory {
  #state: State | null = null;
  /** Which bucket its records are of (`Meta.of`). */
  #of = "";
  /** The highest that was ever seen: servers may have forgotten it, and it is not to be used twice. */
  epoch = 0;
  /** Heads that stood before what is known now; the newest last. */
  readonly #past = new Set<string>();
  /** What it was asked for in vain. */
  readonly #unknown = new Set<string>();

  /** `state` is followed from now on: it changes with each commit. */
  keep(state: State, { of, epoch }: Meta): void {
    if (of !== this.#of) this.#past.clear();
    else if (this.#state !== null && this.#state !== state) this.left(this.#state.id);
    [this.#state, this.#of] = [state, of];
    this.#past.delete(state.id);
    this.saw(epoch);
  }

  /** What is known is now the state after a later head than this one. */
  left(id: string): void {
    this.#past.add(id);
    for (const oldest of this.#past) {
      if (this.#past.size <= PAST) break;
      this.#past.delete(oldest);
    }
  }

  /** An epoch was raised over `before`, which `id` repeats. */
  raised(before: Meta, id: string): void {
    if (this.ahead(before) !== null) this.left(id);
  }

  /** What is known, where this head is one of its past: servers have lost the commits in between. */
  ahead({ of, id }: Meta): State | null {
    return this.#of === of && this.#past.has(id) ? this.#state : null;
  }

  saw(epoch: number): void {
    this.epoch = Math.max(this.epoch, epoch);
  }

  /** Of these records, and not of a later time than they are. */
  knows({ of, seq }: Meta): boolean {
    return this.#state !== null && this.#of === of && this.#state.seq <= seq;
  }

  /** Nothing was committed since but the head's own batch: whatever it has and the records have not, they have lost. */
  isWhole(head: Meta): boolean {
    return this.knows(head) && (this.#state?.seq ?? 0) >= head.batch - 1;
  }

  /** Whether there is anything among these that was not asked for before. */
  newlyUnknown(keys: readonly string[]): boolean {
    const before = this.#unknown.size;
    for (const key of keys) this.#unknown.add(key);
    return this.#unknown.size > before;
  }

  /** Gives `state` all that it lacks, before the head's batch is applied; answers the keys. */
  giveAll(state: State): readonly string[] {
    return this.#state === null ? [] : give(this.#state, state, keysOf(this.#state));
  }

  /** Gives it those of these keys that may be given at any time; answers them. */
  giveLasting(state: State, keys: readonly string[]): readonly string[] {
    if (this.#state === null) return [];
    return give(
      this.#state,
      state,
      keys.filter((key) => LASTING.has(readKey(key)?.kind)),
    );
  }
}

/** Of all that it holds. */
export const everyKey = (state: State): readonly string[] => [
  ...keysOf(state),
  ...state.events.slots().map((slot) => recordKey("events", slot)),
];

/** Rollouts come before their tracks. Events are history, and not among them. */
function keysOf(state: State): readonly string[] {
  const named = (kind: RecordKind, names: Iterable<string>): string[] =>
    [...names].map((name) => recordKey(kind, name));
  return [
    ...named("service", state.services.keys()),
    ...[...state.revisions].flatMap(([name, of]) =>
      [...of.keys()].map((number) => recordKey("revision", name, number)),
    ),
    ...named("retirement", state.retirements.keys()),
    ...named("host", state.hosts.keys()),
    ...named("rollout", state.rollouts.keys()),
    ...[...state.rollouts].flatMap(([id, kept]) => chunksOf(kept).map((chunk) => recordKey("tracks", id, chunk))),
    ...named("ledger", state.ledgers.keys()),
    ...named("counts", state.counts.keys()),
  ];
}

const chunksOf = ({ rollout: { hosts } }: KeptRollout): readonly number[] =>
  Array.from({ length: Math.ceil(hosts.length / TRACKS_A_CHUNK) }, (_, chunk) => chunk);

function give(from: State, to: State, keys: readonly string[]): readonly string[] {
  const given: string[] = [];
  for (const key of keys) {
    if (has(to, key) || !has(from, key)) continue;
    given.push(key);
    const { kind, names: [name = ""] = [] } = readKey(key) ?? {};
    const kept = from.rollouts.get(name);
    if ((kind === "rollout" || kind === "tracks") && kept !== undefined) giveRollout(kept, to);
    else to.absorb(key, from.record(key));
  }
  return given;
}

/** Its hosts may be there in part. */
function giveRollout(kept: KeptRollout, to: State): void {
  const { id, hosts: known } = kept.rollout;
  const there = to.rollouts.get(id) ?? kept;
  const hosts = there.rollout.hosts.map((track: HostTrack | undefined, at) => track ?? known[at]) as HostTrack[];
  to.rollouts.set(id, { ...there, rollout: { ...there.rollout, hosts } });
}

function has(state: State, key: string): boolean {
  const record = state.record(key);
  return Array.isArray(record) ? !record.includes(undefined) : record !== undefined;
}
