/**
 * What the controller keeps, and the only way it is changed: a batch of changes, taken whole or not at all, written to
 * stable storage before `commit` resolves. So "journalled before acted on" is one `await`.
 *
 * Fencing  every batch names the epoch of its writer; one below the stored epoch changes nothing and is told so. A
 *          rollout is written by compare-and-set on its `change`. Both hold for an engine with several writers too.
 * Errors   outcomes that are expected (fenced, conflict) are values. A promise rejects when storage itself fails: a
 *          full disk, a lost server. Nothing was changed then; if that can't be told (`StoreUnsure`), the writer must stop
 *          acting on what it has in memory and load again.
 */
import type { JournalEntry, Rollout } from "../model/rollout.ts";
import type { Host, Revision, Service } from "../model/service.ts";
import type { HostCounts, RolloutLedger } from "../ledger/types.ts";

/** A service that is being taken away, or was: hosts that still run it are to let it go. */
export interface Retirement {
  readonly service: string;
  /** Gateways let go first, then hosts (RACES R5); `done` remembers that it went on purpose. */
  readonly stage: "gateways" | "hosts" | "done";
  readonly sinceMs: number;
}

export interface NewEvent {
  readonly atMs: number;
  readonly kind: string;
  readonly service: string;
  readonly rollout: string;
  readonly host: string;
  readonly actor: string;
  readonly message: string;
}

export interface StoredEvent extends NewEvent {
  /** Grows, never reused. */
  readonly seq: number;
}

export type Change =
  | { readonly kind: "service"; readonly service: Service }
  /** A revision is never rewritten: storing another under its number is a conflict. */
  | { readonly kind: "revision"; readonly revision: Revision }
  /** The service, its revisions, rollouts, journals and ledgers. */
  | { readonly kind: "forget-service"; readonly service: string }
  | { readonly kind: "retirement"; readonly retirement: Retirement }
  | { readonly kind: "end-retirement"; readonly service: string }
  | { readonly kind: "host"; readonly host: Host }
  /** `expect`: the stored rollout's `change`, -1 when there is none yet. */
  | {
      readonly kind: "rollout";
      readonly rollout: Rollout;
      readonly expect: number;
      readonly entries: readonly JournalEntry[];
    }
  | { readonly kind: "ledger"; readonly ledger: RolloutLedger }
  | { readonly kind: "counts"; readonly counts: HostCounts }
  | { readonly kind: "event"; readonly event: NewEvent };

export type Committed =
  | { readonly kind: "ok"; readonly events: readonly StoredEvent[] }
  | { readonly kind: "fenced"; readonly epoch: number }
  | { readonly kind: "conflict"; readonly message: string };

/** What one `commit` changed, as the others hear of it. */
export interface Batch {
  /** Counts up by one a batch. */
  readonly seq: number;
  readonly epoch: number;
  readonly changes: readonly Change[];
  readonly events: readonly StoredEvent[];
}

export interface Follower {
  /** In the order in which they were committed, each once, beginning after what the newest `load` answered. */
  committed(batch: Batch): void;
  /** Some may have been missed (a lost connection): `load` again. Nothing is told before that. */
  gap(why: string): void;
}

export interface StoredState {
  readonly epoch: number;
  readonly services: readonly Service[];
  readonly revisions: readonly Revision[];
  readonly retirements: readonly Retirement[];
  readonly hosts: readonly Host[];
  /** The kept ones, oldest first. */
  readonly rollouts: readonly Rollout[];
  readonly ledgers: readonly RolloutLedger[];
  readonly counts: readonly HostCounts[];
}

export interface EventQuery {
  /** Only later ones. */
  readonly afterSeq: number;
  /** "" = all. */
  readonly service: string;
  /** The newest so many, given oldest first. */
  readonly limit: number;
}

export interface Store {
  /** For people: the engine and where it keeps things. */
  readonly description: string;
  load(): Promise<StoredState>;
  /** The number of the newest batch that this store has loaded, committed, or told its follower; 0 where nobody follows. */
  readonly position: number;
  commit(epoch: number, changes: readonly Change[]): Promise<Committed>;
  /** Compare-and-set: `ok` only if the stored epoch was lower, and is `to` now. */
  raiseEpoch(to: number): Promise<{ readonly kind: "ok" } | { readonly kind: "taken"; readonly epoch: number }>;
  journal(rollout: string): Promise<readonly JournalEntry[]>;
  events(query: EventQuery): Promise<readonly StoredEvent[]>;
  /** Tells of what *others* commit, until the answer is called. An engine with one writer has nothing to tell. */
  follow(follower: Follower): () => void;
  /** Idempotent. What was committed is kept. */
  close(): Promise<void>;
}

/** What can't be opened, in one sentence for an operator. */
export class StoreUnusable extends Error {
  override readonly name = "StoreUnusable";
}

/** A batch was sent and no answer came: it may be stored or not. */
export class StoreUnsure extends Error {
  override readonly name = "StoreUnsure";
}

/** Bounds of what is kept. */
export const KEEP = { events: 10_000, rolloutsPerService: 100 } as const;
