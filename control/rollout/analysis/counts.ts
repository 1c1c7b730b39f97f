/**
 * What one version did in one window: the difference of two totals, and figures read from it.
 *
 * Units   counts; latencies in milliseconds out, microseconds within (contract/histogram.ts).
 * Errors  none: a total that went back (an agent's books were lost) gives an empty window, never a negative one.
 * Cost    one pass over the sparse histogram.
 */
import { LATENCY_BUCKETS, bucketLimit, bucketOf } from "../../../proto/contract/histogram.ts";
import type { VersionTraffic } from "../../model/view.ts";

export type Latency = VersionTraffic["latency"];

export const NO_TRAFFIC: VersionTraffic = { requests: 0, errors: 0, lost: 0, latency: [] };

export function difference(now: VersionTraffic, then: VersionTraffic): VersionTraffic {
  return {
    requests: Math.max(0, now.requests - then.requests),
    errors: Math.max(0, now.errors - then.errors),
    lost: Math.max(0, now.lost - then.lost),
    latency: subtract(now.latency, then.latency),
  };
}

/** Both ascend by bucket: one walk. */
function subtract(now: Latency, then: Latency): Latency {
  const window: (readonly [number, number])[] = [];
  let at = 0;
  for (const [bucket, count] of now) {
    while ((then[at]?.[0] ?? Infinity) < bucket) at++;
    const [known, before] = then[at] ?? [-1, 0];
    const more = known === bucket ? count - before : count;
    if (more > 0) window.push([bucket, more]);
  }
  return window;
}

/** What is judged as bad of it: the app's own 5xx, and what was lost on it. */
export function bad(traffic: VersionTraffic): number {
  return traffic.errors + traffic.lost;
}

export function answers(latency: Latency): number {
  return latency.reduce((sum, [, count]) => sum + count, 0);
}

/** Answers that took longer than everything in `bucket`. */
export function slower(latency: Latency, bucket: number): number {
  return latency.reduce((sum, [at, count]) => (at > bucket ? sum + count : sum), 0);
}

/** The bucket that `share` of the answers lie in or below; null without any. */
export function quantileBucket(latency: Latency, share: number): number | null {
  const total = answers(latency);
  if (total === 0) return null;
  let left = Math.max(1, Math.ceil(total * share));
  for (const [bucket, count] of latency) {
    left -= count;
    if (left <= 0) return bucket;
  }
  return LATENCY_BUCKETS - 1;
}

/** Milliseconds: the end of the bucket, so at most 12.5 % too much. */
export function quantileMs(latency: Latency, share: number): number | null {
  const bucket = quantileBucket(latency, share);
  return bucket === null ? null : bucketMs(bucket);
}

export function bucketMs(bucket: number): number {
  return bucketLimit(bucket) / 1_000;
}

/** The bucket of a latency in milliseconds. */
export function bucketOfMs(ms: number): number {
  return bucketOf(ms * 1_000);
}
