/**
 * Walks the frames of one direction of a WebSocket, to know where messages end. Payload is never looked at and frames
 * are never changed: a header is at most 14 bytes, the rest is counted.
 *
 * Source  RFC 6455 §5.2. Control frames may stand between the fragments of a message, so "between two frames" is not
 *         yet "between two messages".
 */
const OPCODE_CLOSE = 8;

export class FrameWalker {
  /** No frame has begun that has not ended, and no message that still has fragments to come. */
  atBoundary = true;
  /** A Close frame has gone through, whole. */
  closed = false;
  /** Whole messages seen. */
  messages = 0;
  #header = 0;
  #headerBytes = 2;
  #opcode = 0;
  #final = true;
  #length = 0;
  #masked = false;
  #payload = 0;
  #fragmented = false;

  /**
   * Walks over `bytes[from, to)`. Asked for "boundary" it answers the offset behind the last message that ends there,
   * having walked on; asked for "close" it stops behind a Close frame and answers that. -1 when there is none.
   */
  walk(bytes: Uint8Array, from: number, to: number, until: "boundary" | "close" | null): number {
    let at = from;
    let boundary = -1;
    while (at < to) {
      if (this.#payload > 0) {
        const step = Math.min(this.#payload, to - at);
        this.#payload -= step;
        at += step;
      } else {
        this.#takeHeader(bytes[at] as number);
        at++;
        if (this.#header < this.#headerBytes) continue;
        this.#payload = this.#length;
        if (this.#payload > 0) {
          this.#header = this.#headerBytes;
          continue;
        }
      }
      if (this.#payload === 0) {
        this.#endFrame();
        if (this.atBoundary) boundary = at;
        if (until === "close" && this.closed) return at;
      }
    }
    return until === "boundary" ? boundary : -1;
  }

  #takeHeader(byte: number): void {
    const at = this.#header++;
    this.atBoundary = false;
    if (at === 0) {
      this.#final = (byte & 128) !== 0;
      this.#opcode = byte & 15;
    } else if (at === 1) {
      this.#masked = (byte & 128) !== 0;
      const short = byte & 127;
      const extended = short === 126 ? 2 : short === 127 ? 8 : 0;
      this.#length = extended === 0 ? short : 0;
      this.#headerBytes = 2 + extended + (this.#masked ? 4 : 0);
    } else if (at < this.#headerBytes - (this.#masked ? 4 : 0)) {
      this.#length = this.#length * 256 + byte;
    }
  }

  #endFrame(): void {
    this.#header = 0;
    this.#headerBytes = 2;
    if (this.#opcode === OPCODE_CLOSE) this.closed = true;
    // Control frames (8 and up) leave the state of the message that they stand in alone.
    if (this.#opcode < 8) {
      this.#fragmented = !this.#final;
      if (this.#final) this.messages += 1;
    }
    this.atBoundary = !this.#fragmented;
  }
}

/** Why a WebSocket is closed by us (RFC 6455 §7.4.1 and the IANA registry). */
export const SERVICE_RESTART = 1_012;

/** A Close frame with a status; masked, as a client must, when `mask` is given. */
export function closeFrame(status: number, mask: number | null): Buffer {
  const payload = Buffer.from([status >> 8, status & 255]);
  if (mask === null) return Buffer.concat([Buffer.from([0x88, payload.length]), payload]);
  const key = Buffer.alloc(4);
  key.writeUInt32BE(mask >>> 0);
  for (let i = 0; i < payload.length; i++) payload[i] = (payload[i] as number) ^ (key[i] as number);
  return Buffer.concat([Buffer.from([0x88, 0x80 | payload.length]), key, payload]);
}
