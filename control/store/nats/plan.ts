/**
 * From the changes that a controller asks for to the batch that is stored: what is refused, what else goes with it, and
 * what of it is new. Nothing is changed here.
 *
 * Errors  a conflict is a value; a change that names what is not stored throws: a defect of the caller's.
 */
import type { HostTrack } from "../../model/rollout.ts";
import { KEEP } from "../store.ts";
import type { Change, StoredEvent } from "../store.ts";
import type { StoredBatch, StoredChange, StoredRollout } from "./head.ts";
import { older } from "./state.ts";
import type { KeptRollout, State } from "./state.ts";

export type Planned =
  { readonly kind: "ok"; readonly batch: StoredBatch } | { readonly kind: "conflict"; readonly message: string };

class Conflict extends Error {}

export function plan(state: State, epoch: number, changes: readonly Change[]): Planned {
  const planning = new Planning(state);
  try {
    const stored = changes.map((change) => planning.take(change));
    return { kind: "ok", batch: { epoch, changes: stored, events: planning.events } };
  } catch (error) {
    if (error instanceof Conflict) return { kind: "conflict", message: error.message };
    throw error;
  }
}

class Planning {
  readonly events: StoredEvent[] = [];
  readonly #state: State;
  /** What earlier changes of the same batch make of it; null: gone. */
  readonly #rollouts = new Map<string, KeptRollout | null>();
  readonly #services = new Map<string, boolean>();
  readonly #forgotten = new Set<string>();
  readonly #revisions = new Set<string>();

  constructor(state: State) {
    this.#state = state;
  }

  take(change: Change): StoredChange {
    switch (change.kind) {
      case "service":
        this.#services.set(change.service.name, true);
        return change;
      case "revision": {
        const { service, revision } = change.revision;
        this.#needsService(service, `revision ${revision}`);
        const stored = !this.#forgotten.has(service) && this.#state.revisions.get(service)?.has(revision) === true;
        if (stored || this.#revisions.has(`${service}/${revision}`)) {
          throw new Conflict(`revision ${revision} of ${service} is stored already`);
        }
        this.#revisions.add(`${service}/${revision}`);
        return change;
      }
      case "forget-service": {
        const rollouts = this.#of(change.service).map(({ rollout }) => rollout.id);
        for (const id of rollouts) this.#rollouts.set(id, null);
        this.#services.set(change.service, false);
        this.#forgotten.add(change.service);
        for (const key of this.#revisions) if (key.startsWith(`${change.service}/`)) this.#revisions.delete(key);
        return { ...change, rollouts };
      }
      case "rollout":
        return this.#rollout(change);
      case "ledger":
        if (this.#rolloutNow(change.ledger.rollout) === undefined) {
          throw new Error(`a ledger of ${change.ledger.rollout}, which is not stored`);
        }
        return change;
      case "event":
        this.events.push({ ...change.event, seq: this.#state.events.newest + this.events.length + 1 });
        return { kind: "event" };
      case "retirement":
      case "end-retirement":
      case "host":
      case "counts":
        return change;
    }
  }

  #rollout({ rollout, expect, entries }: Extract<Change, { readonly kind: "rollout" }>): StoredRollout {
    const { id, service } = rollout;
    this.#needsService(service, `rollout ${id}`);
    const before = this.#rolloutNow(id);
    const at = before?.rollout.change ?? -1;
    if (at !== expect) throw new Conflict(`rollout ${id} is at change ${at}, not at ${expect}`);
    const { hosts, ...body } = rollout;
    const held = before?.rollout.hosts ?? [];
    const tracks: [number, HostTrack][] = [];
    for (const [i, track] of hosts.entries()) if (held[i] !== track) tracks.push([i, track]);
    const born = before?.born ?? this.#youngest() + 1;
    const first = before?.entries ?? 0;
    this.#rollouts.set(id, { rollout, born, entries: first + entries.length });
    const drop = before === undefined ? this.#tooOld(service) : [];
    for (const old of drop) this.#rollouts.set(old, null);
    return { kind: "rollout", rollout: body, expect, hosts: hosts.length, tracks, entries, at: first, born, drop };
  }

  #youngest(): number {
    let youngest = 0;
    for (const { born } of this.#state.rollouts.values()) youngest = Math.max(youngest, born);
    for (const kept of this.#rollouts.values()) youngest = Math.max(youngest, kept?.born ?? 0);
    return youngest;
  }

  #tooOld(service: string): string[] {
    const old = this.#of(service).sort(older).slice(0, -KEEP.rolloutsPerService);
    return old.filter(({ rollout }) => rollout.endedAtMs > 0).map(({ rollout }) => rollout.id);
  }

  #rolloutNow(id: string): KeptRollout | undefined {
    const pending = this.#rollouts.get(id);
    return pending === undefined ? this.#state.rollouts.get(id) : (pending ?? undefined);
  }

  #of(service: string): KeptRollout[] {
    const ids = new Set([...this.#state.rollouts.keys(), ...this.#rollouts.keys()]);
    return [...ids]
      .map((id) => this.#rolloutNow(id))
      .filter((kept) => kept?.rollout.service === service) as KeptRollout[];
  }

  #needsService(service: string, what: string): void {
    if (!(this.#services.get(service) ?? this.#state.services.has(service))) {
      throw new Error(`${what} of ${service}, which is not stored`);
    }
  }
}
