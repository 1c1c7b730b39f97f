/**
 * Writes the statistics file that stats-layout.ts describes, and is the place where counters live: two typed arrays
 * that the request path adds to, and a port that they are copied out through.
 *
 * Units   counts; latencies are bucketed from microseconds.
 * Errors  a failed write (full disk) is told to `onError`; traffic goes on and the next write carries the same totals.
 *         A slot beyond the file's capacity never gets here: table.ts refuses a table that names one.
 * Cost    an addition and a look at a flag a count; one pwrite of the slots that changed a turn of the event loop
 *         (setImmediate runs after the sockets were served and before the loop waits again), which dozens of requests share.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { LATENCY_BUCKETS, bucketOf } from "../../proto/contract/histogram.ts";
import type { Clock, Millis, Timer } from "../../proto/kernel/clock.ts";
import {
  COUNTERS,
  COUNTER_BYTES,
  HEADER,
  HEADER_BYTES,
  HEADER_FLOATS,
  LATENCY_BYTES,
  LAYOUT_VERSION,
  MAGIC,
  countersAt,
  fileBytes,
  latencyAt,
} from "./stats-layout.ts";

/** Where the counts go: a file that outlives the process, or plain memory in tests. */
export interface StatsFile {
  readonly slots: number;
  /** Writes `bytes[from, from + length)` at `position` of the file. */
  write(bytes: Uint8Array, from: number, length: number, position: number): void;
  close(): void;
}

/** The real file, created whole at once so that a reader never meets a short one for longer than an instant. */
export function openStatsFile(path: string, slots: number): StatsFile {
  const fd = openSync(path, "w+", 0o600);
  ftruncateSync(fd, fileBytes(slots));
  let open = true;
  return {
    slots,
    write(bytes, from, length, position) {
      if (open) writeSync(fd, bytes, from, length, position);
    },
    close() {
      if (!open) return;
      open = false;
      closeSync(fd);
    },
  };
}

/** The same in memory: `bytes` is what the file would hold. */
export function memoryStatsFile(slots: number): StatsFile & { readonly bytes: Uint8Array } {
  const memory = new Uint8Array(fileBytes(slots));
  return {
    slots,
    bytes: memory,
    write: (bytes, from, length, position) => {
      memory.set(bytes.subarray(from, from + length), position);
    },
    close: () => undefined,
  };
}

const LATENCY_EVERY_MS: Millis = 100;
/** Dirty slots that lie within this many go out in one write; wider apart, each in its own. */
const ONE_WRITE_SLOTS = 64;
/** Stands for the header in the list of what is dirty: the slot before the first. */
const HEADER_SLOT = -1;

export class Stats {
  readonly slots: number;
  /** Header and counters, as they lie in the file. */
  readonly #counters: Float64Array;
  readonly #counterBytes: Uint8Array;
  readonly #latency: Float64Array;
  readonly #latencyBytes: Uint8Array;
  readonly #file: StatsFile;
  readonly #onError: (error: Error) => void;
  readonly #timer: Timer;
  /** What has changed since the last write: a flag a slot (the header's is the first), and their list. */
  readonly #dirty: Uint8Array;
  #list: number[] = [];
  #scheduled = false;
  #latencyDirty = new Set<number>();
  #closed = false;
  readonly #flush = (): void => {
    this.flush();
  };

  constructor(file: StatsFile, clock: Clock, onError: (error: Error) => void) {
    this.slots = file.slots;
    this.#file = file;
    this.#onError = onError;
    this.#counters = new Float64Array(HEADER_FLOATS + file.slots * COUNTERS);
    this.#counterBytes = new Uint8Array(this.#counters.buffer);
    this.#latency = new Float64Array(file.slots * LATENCY_BUCKETS);
    this.#latencyBytes = new Uint8Array(this.#latency.buffer);
    this.#dirty = new Uint8Array(file.slots + 1);
    this.#counters[HEADER.magic] = MAGIC;
    this.#counters[HEADER.version] = LAYOUT_VERSION;
    this.#touch(HEADER_SLOT);
    this.flush();
    const periodic = (): void => {
      this.flush();
      this.#writeLatencies();
    };
    this.#timer = clock.every(LATENCY_EVERY_MS, periodic, { background: true });
  }

  /** Adds to one of a slot's COUNTERs. */
  add(slot: number, counter: number, amount: number): void {
    const at = HEADER_FLOATS + slot * COUNTERS + counter;
    this.#counters[at] = (this.#counters[at] as number) + amount;
    if (this.#dirty[slot + 1] === 0) this.#touch(slot);
  }

  get(slot: number, counter: number): number {
    return this.#counters[HEADER_FLOATS + slot * COUNTERS + counter] ?? 0;
  }

  /** One answer's time to its head. */
  latency(slot: number, micros: number): void {
    const at = slot * LATENCY_BUCKETS + bucketOf(micros);
    this.#latency[at] = (this.#latency[at] as number) + 1;
    this.#latencyDirty.add(slot);
  }

  downstream(open: number, accepted: number): void {
    this.#counters[HEADER.downstreamOpen] = (this.#counters[HEADER.downstreamOpen] ?? 0) + open;
    this.#counters[HEADER.downstreamAccepted] = (this.#counters[HEADER.downstreamAccepted] ?? 0) + accepted;
    this.#touch(HEADER_SLOT);
  }

  /** The number of slots that a reader needs to look at. */
  use(slots: number): void {
    if (slots <= (this.#counters[HEADER.slots] ?? 0)) return;
    this.#counters[HEADER.slots] = slots;
    this.#touch(HEADER_SLOT);
  }

  /** Writes what changed, now. Also the last words: call it before leaving. */
  flush(): void {
    this.#scheduled = false;
    const list = this.#list;
    if (list.length === 0 || this.#closed) return;
    let low = this.slots;
    let high = HEADER_SLOT;
    for (const slot of list) {
      if (slot < low) low = slot;
      if (slot > high) high = slot;
    }
    const together = high - low < ONE_WRITE_SLOTS;
    const written = together ? this.#writeSlots(low, high) : list.every((slot) => this.#writeSlots(slot, slot));
    // What could not be written stays dirty; the timer tries again.
    if (!written) return;
    for (const slot of list) this.#dirty[slot + 1] = 0;
    list.length = 0;
  }

  close(): void {
    if (this.#closed) return;
    this.#timer.cancel();
    this.flush();
    this.#writeLatencies();
    this.#closed = true;
    this.#file.close();
  }

  #touch(slot: number): void {
    if (this.#dirty[slot + 1] === 0) {
      this.#dirty[slot + 1] = 1;
      this.#list.push(slot);
    }
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#flush);
  }

  #writeSlots(from: number, to: number): boolean {
    const start = from === HEADER_SLOT ? 0 : countersAt(from);
    return this.#write(this.#counterBytes, start, countersAt(to + 1) - start, start);
  }

  #writeLatencies(): void {
    for (const slot of this.#latencyDirty) {
      const written = this.#write(this.#latencyBytes, slot * LATENCY_BYTES, LATENCY_BYTES, latencyAt(slot, this.slots));
      if (written) this.#latencyDirty.delete(slot);
    }
  }

  #write(bytes: Uint8Array, from: number, length: number, position: number): boolean {
    try {
      this.#file.write(bytes, from, length, position);
      return true;
    } catch (error) {
      this.#onError(error as Error);
      return false;
    }
  }
}

// The header and the counters lie in one array.
if (HEADER_BYTES !== HEADER_FLOATS * 8 || COUNTER_BYTES !== COUNTERS * 8)
  throw new Error("stats-layout: not in floats");
