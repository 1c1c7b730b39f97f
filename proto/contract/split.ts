/**
 * Which of several versions a caller gets. The agent asks once per request; the controller asks only to explain a
 * decision, so both must give one answer.
 *
 * Units   weights in basis points that sum to WHOLE; key is the caller's sticky id, any string.
 * Errors  none: weights are checked when their snapshot is decoded, never per request.
 * Source  FNV-1a/32, then the fmix32 finaliser of MurmurHash3: FNV-1a alone leaves keys that differ in their last
 *         byte side by side.
 * Cost    one pass over the key, no allocation.
 */
import { WHOLE } from "./units.ts";

/** A point in [0, WHOLE), the same for the same key on every host and for ever. */
export function stickyPoint(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) {
    hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  }
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  hash ^= hash >>> 16;
  return Math.floor(((hash >>> 0) / 4_294_967_296) * WHOLE);
}

/**
 * The index of the version whose share holds `point`. Shares are laid out from the *last* entry down (the newest
 * version is last and grows from point 0), so raising the newest one's weight moves nobody back.
 */
export function pickShare(weights: readonly number[], point: number): number {
  let edge = 0;
  for (let i = weights.length - 1; i > 0; i--) {
    edge += weights[i] ?? 0;
    if (point < edge) return i;
  }
  return 0;
}
