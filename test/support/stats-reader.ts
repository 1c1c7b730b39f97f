/**
 * The statistics file as a test sees it, whole; the core's own reader (agent/core/stats/read.ts) reads what is in use.
 * A read may fall into the middle of a write: every float is 8-byte aligned and written whole by one pwrite into a page,
 * so a value is old or new, never half.
 *
 * Errors  a file that is absent, short, of another layout or not ours at all is an answer with the reason.
 */
import { readFileSync } from "node:fs";
import { LATENCY_BUCKETS } from "../../proto/contract/histogram.ts";
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
} from "../../agent/proxy/stats-layout.ts";

export interface StatsSnapshot {
  /** Slots 0 .. slots-1 hold something. */
  readonly slots: number;
  readonly downstreamOpen: number;
  readonly downstreamAccepted: number;
  /** A slot's counters, indexed by COUNTER; a view, not a copy. */
  counters(slot: number): Float64Array;
  /** A slot's latency buckets (contract/histogram.ts); a view, not a copy. */
  latency(slot: number): Float64Array;
}

export type StatsRead =
  | { readonly kind: "ok"; readonly stats: StatsSnapshot }
  | { readonly kind: "absent" }
  | { readonly kind: "unreadable"; readonly why: string };

export function readStats(path: string): StatsRead {
  try {
    return parseStats(readFileSync(path));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === "ENOENT" ? { kind: "absent" } : { kind: "unreadable", why: message };
  }
}

const EMPTY_COUNTERS = new Float64Array(COUNTERS);
const EMPTY_LATENCY = new Float64Array(LATENCY_BUCKETS);

export function parseStats(file: Uint8Array): StatsRead {
  if (file.byteLength < HEADER_BYTES) return unreadable(`it has ${file.byteLength} bytes, less than a header`);
  // A copy: the views below must begin at a multiple of 8, which a pooled buffer does not promise.
  const { buffer } = new Uint8Array(file);
  const header = new Float64Array(buffer, 0, HEADER_FLOATS);
  if (header[HEADER.magic] !== MAGIC) return unreadable("it is not a statistics file (wrong magic)");
  if (header[HEADER.version] !== LAYOUT_VERSION) {
    return unreadable(`its layout is version ${String(header[HEADER.version])}, this reads ${LAYOUT_VERSION}`);
  }
  // The capacity is not in the header: it follows from the size, of which each slot takes the same part.
  const capacity = (file.byteLength - HEADER_BYTES) / (COUNTER_BYTES + LATENCY_BYTES);
  if (!Number.isInteger(capacity)) return unreadable(`${file.byteLength} bytes is no whole number of slots`);
  const slots = header[HEADER.slots] ?? 0;
  if (!Number.isInteger(slots) || slots < 0 || fileBytes(slots) > file.byteLength) {
    return unreadable(`it claims ${slots} slots and has room for ${capacity}`);
  }
  const inside = (slot: number): boolean => Number.isInteger(slot) && slot >= 0 && slot < capacity;
  return {
    kind: "ok",
    stats: {
      slots,
      downstreamOpen: header[HEADER.downstreamOpen] ?? 0,
      downstreamAccepted: header[HEADER.downstreamAccepted] ?? 0,
      counters: (slot) => (inside(slot) ? new Float64Array(buffer, countersAt(slot), COUNTERS) : EMPTY_COUNTERS),
      latency: (slot) =>
        inside(slot) ? new Float64Array(buffer, latencyAt(slot, capacity), LATENCY_BUCKETS) : EMPTY_LATENCY,
    },
  };
}

const unreadable = (why: string): StatsRead => ({ kind: "unreadable", why });
