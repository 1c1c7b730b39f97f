/**
 * The statistics file: what a worker has counted, one file a worker, in memory that outlives the process (/dev/shm, or
 * the state folder). The worker writes the counters that changed once per turn of its event loop, before it waits
 * again; so when it is killed, its last words, what was in flight among them, are on record to the turn. The core
 * reads the files of living and dead workers alike, and no count travels in a message.
 *
 * Layout  HEADER_BYTES of header, then one COUNTERS block of float64 a slot (hot, written every turn), then one
 *         LATENCY_BUCKETS block of float64 a slot (written every 100 ms). Little endian, as the machine is.
 * Cost    one pwrite of the dirty range a turn: under load a turn serves dozens of requests.
 */
import { CUT_CAUSES, LOSS_CAUSES } from "../../proto/contract/report.ts";
import { LATENCY_BUCKETS } from "../../proto/contract/histogram.ts";

/** Indices into a slot's counters. Every one is a total since the worker's start but IN_FLIGHT, which is a level. */
export const COUNTER = {
  started: 0,
  inFlight: 1,
  completed: 2,
  status1xx: 3,
  status2xx: 4,
  status3xx: 5,
  status4xx: 6,
  status5xx: 7,
  retried: 8,
  drained: 9,
  clientGone: 10,
  tunnels: 11,
  eventStreams: 12,
  bytesIn: 13,
  bytesOut: 14,
  /** Connections that endpoint has open now, pooled or in use (a level). */
  connections: 15,
  lost: 16,
  cut: 16 + LOSS_CAUSES.length,
  /**
   * Copies of requests (mirror/): sent to it; of these, those that got no good answer; and those not sent, or ended
   * before their answer. They are in no other counter. From the end on, so that a further cause moves none of them.
   */
  mirrored: 29,
  mirrorErrors: 30,
  mirrorsDropped: 31,
} as const;

export const COUNTERS = 32;
/** Behind the last cause. */
export const CAUSES_END = COUNTER.cut + CUT_CAUSES.length;
if (CAUSES_END > COUNTER.mirrored) throw new Error("stats-layout: a slot has no room for every cause");

/** Header: float64 [magic, layout version, slots in use, downstream connections open now, downstream accepted]. */
export const HEADER_FLOATS = 8;
export const HEADER = { magic: 0, version: 1, slots: 2, downstreamOpen: 3, downstreamAccepted: 4 } as const;
export const MAGIC = 0xba70;
export const LAYOUT_VERSION = 1;

export const HEADER_BYTES = HEADER_FLOATS * 8;
export const COUNTER_BYTES = COUNTERS * 8;
export const LATENCY_BYTES = LATENCY_BUCKETS * 8;

/** `slots` is the file's capacity, fixed at its creation. */
export const countersAt = (slot: number): number => HEADER_BYTES + slot * COUNTER_BYTES;
export const latencyAt = (slot: number, slots: number): number =>
  HEADER_BYTES + slots * COUNTER_BYTES + slot * LATENCY_BYTES;
export const fileBytes = (slots: number): number => HEADER_BYTES + slots * (COUNTER_BYTES + LATENCY_BYTES);
