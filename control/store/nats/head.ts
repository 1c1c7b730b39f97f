/**
 * The head: one key, in a bucket of its own, that holds the newest commit whole. Whoever sets it, by compare-and-set, has
 * committed; so a commit is atomic, and one writer can't overlook another. A line of JSON says what it is, then comes
 * the batch (codec.ts), or, where that is too large for one message, nothing: it lies in part keys.
 *
 * Errors  StoreUnusable: written by a newer program, or not by Baton.
 */
import type { JournalEntry, Rollout } from "../../model/rollout.ts";
import type { HostTrack } from "../../model/rollout.ts";
import { StoreUnusable } from "../store.ts";
import type { Change, StoredEvent } from "../store.ts";

export const SCHEMA = 1;

export interface Meta {
  readonly baton: number;
  /** Grows by one with each commit. */
  readonly seq: number;
  readonly epoch: number;
  /** Who set it; `id` names this very commit. */
  readonly writer: string;
  readonly id: string;
  /** The newest event's number. */
  readonly events: number;
  /** An epoch was raised: the batch is the one before, which its writer may have left half done. */
  readonly raised: boolean;
  /** The commit whose batch this is: its own `seq`, or where an epoch was raised that of a head before. */
  readonly batch: number;
  /** Nothing that was committed before is there any more. */
  readonly anew: boolean;
  /** The newest revision among the records of all commits before: whoever reads them must have come so far. */
  readonly records: number;
  /** Which bucket of that name holds them (`Bucket.created`). */
  readonly of: string;
  readonly parts: { readonly epoch: number; readonly id: string; readonly count: number } | null;
}

export interface Head {
  readonly meta: Meta;
  readonly revision: number;
  /** The encoded batch; empty when it lies in parts. */
  readonly payload: Uint8Array;
}

/** A batch as it is stored: what can be had from the state before is left out. */
export interface StoredBatch {
  readonly epoch: number;
  readonly changes: readonly StoredChange[];
  readonly events: readonly StoredEvent[];
}

export type StoredChange =
  | Exclude<Change, { readonly kind: "event" | "rollout" | "forget-service" }>
  /** The next of the batch's events. */
  | { readonly kind: "event" }
  | { readonly kind: "forget-service"; readonly service: string; readonly rollouts: readonly string[] }
  | StoredRollout;

export interface StoredRollout {
  readonly kind: "rollout";
  readonly rollout: Omit<Rollout, "hosts">;
  readonly expect: number;
  /** Its hosts: how many, and those that changed, by position. */
  readonly hosts: number;
  readonly tracks: readonly (readonly [number, HostTrack])[];
  readonly entries: readonly JournalEntry[];
  /** The first entry's place in the journal. */
  readonly at: number;
  /** Order among rollouts that began in one millisecond. */
  readonly born: number;
  /** Old ones of the service that go with it. */
  readonly drop: readonly string[];
}

export const EMPTY: StoredBatch = { epoch: 0, changes: [], events: [] };

export const encodeHead = (meta: Meta, payload: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from(`${JSON.stringify(meta)}\n`), payload]);

export function readHead(bucket: string, revision: number, value: Uint8Array): Head {
  const end = value.indexOf(0x0a);
  let meta: Partial<Meta> = {};
  try {
    meta = JSON.parse(Buffer.from(value.subarray(0, Math.max(0, end))).toString("utf8")) as Partial<Meta>;
  } catch {
    // Told below.
  }
  if (!Number.isSafeInteger(meta.baton)) {
    throw new StoreUnusable(
      `the bucket ${bucket} holds a head that Baton did not write; name another fleet with --cluster`,
    );
  }
  if ((meta.baton ?? 0) > SCHEMA) {
    throw new StoreUnusable(
      `the bucket ${bucket} has schema ${String(meta.baton)}, and this program knows schemas up to ${SCHEMA}: ` +
        "start the newer Baton that wrote it, or name another fleet with --cluster",
    );
  }
  // Heads did not always say it.
  return { meta: { batch: meta.seq, ...meta } as Meta, revision, payload: value.subarray(end + 1) };
}
