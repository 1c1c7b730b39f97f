/**
 * Bytes from one connection to another, with backpressure: what can't leave at once stops the reading of where it came
 * from, until it has left. So a stream holds at most one read of memory each way.
 *
 * Cost    small reads are copied once, out of the buffer that all share; reads into a connection's own bulk buffer are
 *         written from there without a copy.
 */
import type { Out } from "./http1/out.ts";
import { WRITE } from "./sockets.ts";
import type { Wire } from "./sockets.ts";

/** Below this, copying is cheaper than what lending brings with it. */
const LEND_BYTES = 16 << 10;

/** Sends what `out` holds, if anything, and pauses `from` when it does not leave at once. */
export function flush(out: Out, from: Wire | null, to: Wire): number {
  if (out.length === 0) return WRITE.done;
  const result = to.write(out.view(0));
  if (result === WRITE.pending) {
    out.detach();
    from?.pause();
  }
  out.length = 0;
  return result;
}

/** Sends `bytes[start, end)`, a part of what was just read from `from`, behind what `out` holds. */
export function pass(out: Out, from: Wire, to: Wire, bytes: Buffer, start: number, end: number): number {
  if (!from.bulk || end - start < LEND_BYTES) {
    out.bytes(bytes, start, end);
    return WRITE.done;
  }
  const first = flush(out, from, to);
  if (first === WRITE.failed) return first;
  const result = to.write(bytes.subarray(start, end));
  if (result === WRITE.pending) from.lend();
  return result;
}
