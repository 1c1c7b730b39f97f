/**
 * The bytes of /download: a fixed block repeated, so that both ends know every byte. Its length is prime, so that a
 * piece that is lost, doubled or moved by any buffer's size changes what follows.
 */
import { createHash } from "node:crypto";

const PERIOD = 65_521;

// xorshift32 from a fixed seed: looks random to a compressor, the same everywhere.
const block = Buffer.alloc(PERIOD);
for (let i = 0, state = 0x9e3779b9; i < PERIOD; i++) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  block[i] = state & 0xff;
}

/** Bytes [from, to) of the endless pattern, in pieces of at most one period; views, not copies. */
export function* pattern(from: number, to: number): Generator<Buffer> {
  for (let at = from; at < to;) {
    const start = at % PERIOD;
    const piece = block.subarray(start, Math.min(PERIOD, start + to - at));
    yield piece;
    at += piece.length;
  }
}

export function patternSha256(bytes: number): string {
  const hash = createHash("sha256");
  for (const piece of pattern(0, bytes)) hash.update(piece);
  return hash.digest("hex");
}
