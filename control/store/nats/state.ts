/**
 * All that the bucket's records say, in memory: on the writer so that it knows what a batch changes, on a follower so that
 * a batch can be told whole. `apply` is idempotent, and only what is newest of a record counts: batches that are applied
 * again, in order, over records that hold some of them already, lead to the same state.
 *
 * Cost  applying: what the batch changes, and one array of a changed rollout's hosts.
 */
import type { HostCounts, RolloutLedger } from "../../ledger/types.ts";
import type { HostTrack, JournalEntry, Rollout } from "../../model/rollout.ts";
import type { Host, Revision, Service } from "../../model/service.ts";
import type { Change, Retirement, StoredEvent, StoredState } from "../store.ts";
import { EventRing } from "./event-ring.ts";
import type { StoredBatch, StoredChange, StoredRollout } from "./head.ts";
import { readKey, recordKey } from "./keys.ts";

/** Tracks that share a record: a change writes few records, and a new rollout of 10,000 hosts no 10,000. */
export const TRACKS_A_CHUNK = 64;

export interface KeptRollout {
  readonly rollout: Rollout;
  readonly born: number;
  /** Entries in its journal. */
  readonly entries: number;
}

/** Entries of the newest batch, which may not be in the journal's pages yet. */
export interface Appended {
  readonly at: number;
  readonly entries: readonly JournalEntry[];
}

export interface Applied {
  /** Keys whose records are not what they were. */
  readonly touched: ReadonlySet<string>;
  /** The batch as it was committed. */
  readonly changes: readonly Change[];
  readonly appended: ReadonlyMap<string, Appended>;
  /** Rollouts that are gone, and their journals with them. */
  readonly dropped: readonly string[];
}

interface RolloutRecord {
  readonly rollout: Omit<Rollout, "hosts">;
  readonly hosts: number;
  readonly born: number;
  readonly entries: number;
}

export class State {
  seq = 0;
  epoch = 0;
  /** The commit that this is the state after. */
  id = "";
  readonly events = new EventRing();
  readonly services = new Map<string, Service>();
  readonly revisions = new Map<string, Map<number, Revision>>();
  readonly retirements = new Map<string, Retirement>();
  readonly hosts = new Map<string, Host>();
  readonly rollouts = new Map<string, KeptRollout>();
  readonly ledgers = new Map<string, RolloutLedger>();
  readonly counts = new Map<string, HostCounts>();
  appended: ReadonlyMap<string, Appended> = new Map();
  /** While records are read: tracks by rollout, in whatever order they come. */
  #tracks = new Map<string, (HostTrack | undefined)[]>();

  /** `given`: the batch as its writer has it, so that its values stay the objects that they are. */
  apply(batch: StoredBatch, given?: readonly Change[]): Applied {
    const touched = new Set<string>();
    const changes: Change[] = [];
    const appended = new Map<string, Appended>();
    const dropped: string[] = [];
    let told = 0;
    for (const [i, change] of batch.changes.entries()) {
      const whole = this.#whole(change, batch.events[told], given?.[i]);
      if (change.kind === "event") told += 1;
      if (change.kind === "rollout") {
        appended.set(change.rollout.id, mergeAppended(appended.get(change.rollout.id), change));
        dropped.push(...change.drop);
      } else if (change.kind === "forget-service") dropped.push(...change.rollouts);
      this.#apply(change, whole, touched);
      changes.push(whole);
    }
    for (const event of batch.events) touched.add(recordKey("events", this.events.add(event)));
    this.appended = appended;
    return { touched, changes, appended, dropped };
  }

  /** A record as it was read. Slices are put together before. */
  absorb(key: string, value: unknown): void {
    const [kind, [name = "", part = ""]] = [readKey(key)?.kind, readKey(key)?.names ?? []];
    switch (kind) {
      case "service":
        this.services.set(name, value as Service);
        break;
      case "revision":
        this.#revisionsOf(name).set(Number(part), value as Revision);
        break;
      case "retirement":
        this.retirements.set(name, value as Retirement);
        break;
      case "host":
        this.hosts.set(name, value as Host);
        break;
      case "rollout": {
        const { rollout, hosts, born, entries } = value as RolloutRecord;
        const tracks = new Array<HostTrack>(hosts);
        this.rollouts.set(name, { rollout: { ...rollout, hosts: tracks }, born, entries });
        break;
      }
      case "tracks": {
        const tracks = this.#tracks.get(name) ?? [];
        this.#tracks.set(name, tracks);
        for (const [i, track] of (value as HostTrack[]).entries()) tracks[Number(part) * TRACKS_A_CHUNK + i] = track;
        break;
      }
      case "ledger":
        this.ledgers.set(name, value as RolloutLedger);
        break;
      case "counts":
        this.counts.set(name, value as HostCounts);
        break;
      case "events":
        for (const event of value as StoredEvent[]) this.events.add(event);
        break;
      case "more":
      case undefined:
        break;
    }
  }

  /** All records are read: rollouts get their hosts. */
  assemble(): void {
    for (const [id, kept] of this.rollouts) {
      const tracks = this.#tracks.get(id) ?? [];
      const hosts = Array.from({ length: kept.rollout.hosts.length }, (_, i) => tracks[i]) as HostTrack[];
      this.rollouts.set(id, { ...kept, rollout: { ...kept.rollout, hosts } });
    }
  }

  /**
   * After the last batch was applied: rollouts of which not all is there are taken away, as nobody can go on with them.
   * Answers the keys of what they lack.
   */
  dropPartial(): readonly string[] {
    this.#tracks = new Map();
    const lacking: string[] = [];
    for (const { rollout } of [...this.rollouts.values()]) {
      const chunks = rollout.hosts.flatMap((track: HostTrack | undefined, i) =>
        track === undefined ? [chunkOf(i)] : [],
      );
      if (chunks.length === 0) continue;
      for (const chunk of new Set(chunks)) lacking.push(recordKey("tracks", rollout.id, chunk));
      this.#drop(rollout.id, new Set());
    }
    return lacking;
  }

  /** Keys of what others speak of, and what is not there: the servers that were asked have lost it. */
  lost(): readonly string[] {
    const active = [...this.rollouts.values()].map(({ rollout }) => rollout).filter(({ endedAtMs }) => endedAtMs === 0);
    const meant = [
      // Forgotten together.
      ...[...this.revisions].flatMap(([name, numbers]) => (numbers.size === 0 ? [] : [recordKey("service", name)])),
      ...[...this.rollouts.values()].map(({ rollout }) => recordKey("service", rollout.service)),
      ...[...this.ledgers.keys()].map((id) => recordKey("rollout", id)),
      ...[...this.services.values(), ...active.map(({ service, to }) => ({ name: service, stable: to }))].flatMap(
        ({ name, stable }) => (stable === 0 ? [] : [recordKey("revision", name, stable)]),
      ),
      // Hosts are never forgotten. An agent is stored as it connects, and its counts after that.
      ...active.flatMap(({ hosts }) => hosts.map(({ host }) => recordKey("host", host))),
      ...[...this.counts.keys()].map((host) => recordKey("host", host)),
    ];
    return [...new Set(meant)].filter((key) => this.record(key) === undefined);
  }

  /** What the record under this key is to hold; undefined: nothing, it is to be gone. */
  record(key: string): unknown {
    const [kind, [name = "", part = ""]] = [readKey(key)?.kind, readKey(key)?.names ?? []];
    switch (kind) {
      case "service":
        return this.services.get(name);
      case "revision":
        return this.revisions.get(name)?.get(Number(part));
      case "retirement":
        return this.retirements.get(name);
      case "host":
        return this.hosts.get(name);
      case "rollout": {
        const kept = this.rollouts.get(name);
        if (kept === undefined) return undefined;
        const { hosts, ...rollout } = kept.rollout;
        return { rollout, hosts: hosts.length, born: kept.born, entries: kept.entries } satisfies RolloutRecord;
      }
      case "tracks": {
        const from = Number(part) * TRACKS_A_CHUNK;
        const chunk = this.rollouts.get(name)?.rollout.hosts.slice(from, from + TRACKS_A_CHUNK) ?? [];
        return chunk.length === 0 ? undefined : chunk;
      }
      case "ledger":
        return this.ledgers.get(name);
      case "counts":
        return this.counts.get(name);
      case "events":
        return this.events.slot(Number(name));
      case "more":
      case undefined:
        return undefined;
    }
  }

  rolloutsOf(service: string): KeptRollout[] {
    return [...this.rollouts.values()].filter(({ rollout }) => rollout.service === service);
  }

  stored(): StoredState {
    const by = <T>(values: Iterable<T>, name: (value: T) => string): T[] =>
      [...values].sort((a, b) => (name(a) < name(b) ? -1 : 1));
    return {
      epoch: this.epoch,
      services: by(this.services.values(), ({ name }) => name),
      revisions: by([...this.revisions.keys()], (name) => name).flatMap((service) =>
        [...this.#revisionsOf(service).values()].sort((a, b) => a.revision - b.revision),
      ),
      retirements: by(this.retirements.values(), ({ service }) => service),
      hosts: by(this.hosts.values(), ({ name }) => name),
      rollouts: [...this.rollouts.values()].sort(older).map(({ rollout }) => rollout),
      ledgers: by(this.ledgers.values(), ({ rollout }) => rollout),
      counts: by(this.counts.values(), ({ host }) => host),
    };
  }

  #whole(change: StoredChange, event: StoredEvent | undefined, given: Change | undefined): Change {
    if (given !== undefined) return given;
    switch (change.kind) {
      case "event": {
        if (event === undefined) throw new Error("a batch lacks an event");
        const { seq: _seq, ...told } = event;
        return { kind: "event", event: told };
      }
      case "forget-service":
        return { kind: "forget-service", service: change.service };
      case "rollout": {
        const { rollout: body, expect, entries } = change;
        const before = this.rollouts.get(body.id)?.rollout.hosts ?? this.#tracks.get(body.id) ?? [];
        const hosts = Array.from({ length: change.hosts }, (_, i) => before[i]) as HostTrack[];
        for (const [i, track] of change.tracks) hosts[i] = track;
        return { kind: "rollout", rollout: { ...body, hosts }, expect, entries };
      }
      default:
        return change;
    }
  }

  #apply(change: StoredChange, whole: Change, touched: Set<string>): void {
    switch (change.kind) {
      case "service":
        this.services.set(change.service.name, change.service);
        touched.add(recordKey("service", change.service.name));
        break;
      case "revision": {
        const { service, revision } = change.revision;
        this.#revisionsOf(service).set(revision, change.revision);
        touched.add(recordKey("revision", service, revision));
        break;
      }
      case "forget-service":
        touched.add(recordKey("service", change.service));
        this.services.delete(change.service);
        for (const number of this.revisions.get(change.service)?.keys() ?? []) {
          touched.add(recordKey("revision", change.service, number));
        }
        this.revisions.delete(change.service);
        for (const id of change.rollouts) this.#drop(id, touched);
        break;
      case "retirement":
        this.retirements.set(change.retirement.service, change.retirement);
        touched.add(recordKey("retirement", change.retirement.service));
        break;
      case "end-retirement":
        this.retirements.delete(change.service);
        touched.add(recordKey("retirement", change.service));
        break;
      case "host":
        this.hosts.set(change.host.name, change.host);
        touched.add(recordKey("host", change.host.name));
        break;
      case "rollout":
        if (whole.kind === "rollout") this.#rollout(change, whole.rollout, touched);
        break;
      case "ledger":
        this.ledgers.set(change.ledger.rollout, change.ledger);
        touched.add(recordKey("ledger", change.ledger.rollout));
        break;
      case "counts":
        this.counts.set(change.counts.host, change.counts);
        touched.add(recordKey("counts", change.counts.host));
        break;
      case "event":
        break;
    }
  }

  #rollout(change: StoredRollout, rollout: Rollout, touched: Set<string>): void {
    const { id } = rollout;
    const before = this.rollouts.get(id)?.rollout.hosts.length ?? 0;
    this.rollouts.set(id, { rollout, born: change.born, entries: change.at + change.entries.length });
    touched.add(recordKey("rollout", id));
    for (const [i] of change.tracks) touched.add(recordKey("tracks", id, chunkOf(i)));
    // A chunk that lost its last ones, and those that are no more.
    for (let i = rollout.hosts.length; i < before; i++) touched.add(recordKey("tracks", id, chunkOf(i)));
    for (const old of change.drop) this.#drop(old, touched);
  }

  #drop(id: string, touched: Set<string>): void {
    const hosts = this.rollouts.get(id)?.rollout.hosts.length ?? 0;
    for (let i = 0; i < hosts; i += TRACKS_A_CHUNK) touched.add(recordKey("tracks", id, chunkOf(i)));
    touched.add(recordKey("rollout", id)).add(recordKey("ledger", id));
    this.rollouts.delete(id);
    this.ledgers.delete(id);
  }

  #revisionsOf(service: string): Map<number, Revision> {
    const known = this.revisions.get(service) ?? new Map<number, Revision>();
    this.revisions.set(service, known);
    return known;
  }
}

export const older = (a: KeptRollout, b: KeptRollout): number =>
  a.rollout.startedAtMs - b.rollout.startedAtMs || a.born - b.born;

const chunkOf = (position: number): number => Math.floor(position / TRACKS_A_CHUNK);

/** A rollout may change twice in one batch. */
const mergeAppended = (before: Appended | undefined, { at, entries }: StoredRollout): Appended =>
  before === undefined ? { at, entries } : { at: before.at, entries: [...before.entries, ...entries] };
