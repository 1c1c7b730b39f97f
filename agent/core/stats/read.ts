/**
 * The part of a worker's statistics file that is in use (agent/proxy/stats-layout.ts), read with three short reads: the
 * file has room for thousands of records and holds a few, and this runs four times a second.
 *
 * Errors  null: absent, or not readable as this layout. The caller then keeps what it read before.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { LATENCY_BUCKETS } from "../../../proto/contract/histogram.ts";
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
  latencyAt,
} from "../../proxy/stats-layout.ts";

export interface WorkerCounts {
  /** COUNTERS a slot. */
  readonly counters: Float64Array;
  /** LATENCY_BUCKETS a slot. */
  readonly latency: Float64Array;
  readonly downstreamOpen: number;
  readonly downstreamAccepted: number;
}

/** The first `slots` records. */
export function readCounts(path: string, slots: number): WorkerCounts | null {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return null;
  }
  try {
    const header = floats(fd, 0, HEADER_FLOATS);
    if (header[HEADER.magic] !== MAGIC || header[HEADER.version] !== LAYOUT_VERSION) return null;
    const capacity = (fstatSync(fd).size - HEADER_BYTES) / (COUNTER_BYTES + LATENCY_BYTES);
    if (!Number.isInteger(capacity)) return null;
    const used = Math.min(slots, capacity);
    return {
      counters: floats(fd, countersAt(0), used * COUNTERS),
      latency: floats(fd, latencyAt(0, capacity), used * LATENCY_BUCKETS),
      downstreamOpen: header[HEADER.downstreamOpen] ?? 0,
      downstreamAccepted: header[HEADER.downstreamAccepted] ?? 0,
    };
  } catch {
    return null;
  } finally {
    closeSync(fd);
  }
}

function floats(fd: number, at: number, count: number): Float64Array {
  const values = new Float64Array(count);
  readSync(fd, values, 0, values.byteLength, at);
  return values;
}
