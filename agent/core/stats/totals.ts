/**
 * What all workers of this boot have counted, dead ones included: totals only grow, whoever dies.
 *
 * Fold   a dead worker's counts are added to `folded`, on disk before the keeper may remove its file; the worker's number
 *        is kept with them, so that a core that died between the two counts nothing twice.
 * Cut    what a worker had in flight when it was killed is lost, and on record as `worker_killed`: levels end with
 *        their worker.
 */
import { LATENCY_BUCKETS } from "../../../proto/contract/histogram.ts";
import { LOSS_CAUSES } from "../../../proto/contract/report.ts";
import { CAUSES_END, COUNTER, COUNTERS } from "../../proxy/stats-layout.ts";
import type { WorkerCounts } from "./read.ts";

const KILLED = COUNTER.lost + LOSS_CAUSES.indexOf("worker_killed");
const LEVELS = [COUNTER.inFlight, COUNTER.connections] as const;

/** JSON; sparse: a slot's counters, and [bucket, count] pairs. */
export interface FoldedTotals {
  readonly workers: readonly number[];
  readonly slots: readonly {
    readonly slot: number;
    readonly counters: readonly number[];
    readonly latency: readonly (readonly [number, number])[];
  }[];
  readonly downstreamAccepted: number;
}

export const NOTHING_FOLDED: FoldedTotals = { workers: [], slots: [], downstreamAccepted: 0 };

export interface Totals {
  readonly counters: (slot: number) => Float64Array;
  readonly latency: (slot: number) => Float64Array;
  readonly downstreamOpen: number;
  readonly downstreamAccepted: number;
}

/** What one dead worker left open, slot by slot. */
export interface CutBySlot {
  readonly slot: number;
  readonly inFlight: number;
}

export class Counts {
  /** Newest reading of each living worker. */
  readonly #living = new Map<number, WorkerCounts>();
  readonly #folded = new Map<number, { readonly counters: Float64Array; readonly latency: Float64Array }>();
  readonly #foldedWorkers: Set<number>;
  #foldedAccepted: number;

  constructor(folded: FoldedTotals) {
    this.#foldedWorkers = new Set(folded.workers);
    this.#foldedAccepted = folded.downstreamAccepted;
    for (const { slot, counters, latency } of folded.slots) {
      const record = this.#record(slot);
      record.counters.set(counters.slice(0, COUNTERS));
      for (const [bucket, count] of latency) record.latency[bucket] = count;
    }
  }

  /** A reading that failed leaves the one before it. */
  living(worker: number, counts: WorkerCounts | null): void {
    if (counts !== null) this.#living.set(worker, counts);
  }

  isFolded(worker: number): boolean {
    return this.#foldedWorkers.has(worker);
  }

  /** Takes a dead worker's last words in, once; its own file if that can be read, else what was read of it before. */
  fold(worker: number, last: WorkerCounts | null): CutBySlot[] {
    const counts = last ?? this.#living.get(worker) ?? null;
    this.#living.delete(worker);
    if (this.#foldedWorkers.has(worker)) return [];
    this.#foldedWorkers.add(worker);
    if (counts === null) return [];
    this.#foldedAccepted += counts.downstreamAccepted;
    const cut: CutBySlot[] = [];
    for (let slot = 0; slot * COUNTERS < counts.counters.length; slot++) {
      const own = counts.counters.subarray(slot * COUNTERS, (slot + 1) * COUNTERS);
      if (!own.some((value) => value !== 0)) continue;
      const record = this.#record(slot);
      own.forEach((value, index) => {
        if (!LEVELS.includes(index as (typeof LEVELS)[number])) add(record.counters, index, value);
      });
      const inFlight = own[COUNTER.inFlight] ?? 0;
      if (inFlight > 0) {
        add(record.counters, KILLED, inFlight);
        // A head that was not whole yet is in flight before it has started: the books balance all the same.
        add(record.counters, COUNTER.started, Math.max(0, inFlight - open(own)));
        cut.push({ slot, inFlight });
      }
      const latency = counts.latency.subarray(slot * LATENCY_BUCKETS, (slot + 1) * LATENCY_BUCKETS);
      latency.forEach((value, bucket) => add(record.latency, bucket, value));
    }
    return cut;
  }

  totals(): Totals {
    const living = [...this.#living.values()];
    const sum = (slot: number, size: number, of: "counters" | "latency"): Float64Array => {
      const total = new Float64Array(size);
      for (const part of [this.#folded.get(slot)?.[of], ...living.map((one) => partOf(one[of], slot, size))]) {
        part?.forEach((value, index) => add(total, index, value));
      }
      return total;
    };
    return {
      counters: (slot) => sum(slot, COUNTERS, "counters"),
      latency: (slot) => sum(slot, LATENCY_BUCKETS, "latency"),
      downstreamOpen: living.reduce((open, one) => open + one.downstreamOpen, 0),
      downstreamAccepted: living.reduce((all, one) => all + one.downstreamAccepted, this.#foldedAccepted),
    };
  }

  folded(): FoldedTotals {
    const slots = [...this.#folded].map(([slot, { counters, latency }]) => ({
      slot,
      counters: [...counters],
      latency: sparse(latency),
    }));
    return { workers: [...this.#foldedWorkers], slots, downstreamAccepted: this.#foldedAccepted };
  }

  #record(slot: number): { readonly counters: Float64Array; readonly latency: Float64Array } {
    let record = this.#folded.get(slot);
    if (record === undefined) {
      record = { counters: new Float64Array(COUNTERS), latency: new Float64Array(LATENCY_BUCKETS) };
      this.#folded.set(slot, record);
    }
    return record;
  }
}

/** Of what a slot has started, what has not ended; more than is in flight where an attempt was not the last. */
function open(own: Float64Array): number {
  const ended = [COUNTER.completed, COUNTER.clientGone].reduce((sum, at) => sum + (own[at] ?? 0), 0);
  return (
    (own[COUNTER.started] ?? 0) - own.subarray(COUNTER.lost, CAUSES_END).reduce((sum, value) => sum + value, ended)
  );
}

export function sparse(counts: Float64Array): [number, number][] {
  const pairs: [number, number][] = [];
  counts.forEach((count, bucket) => {
    if (count !== 0) pairs.push([bucket, count]);
  });
  return pairs;
}

const partOf = (all: Float64Array, slot: number, size: number): Float64Array =>
  all.subarray(slot * size, (slot + 1) * size);

function add(to: Float64Array, index: number, value: number): void {
  to[index] = (to[index] ?? 0) + value;
}
