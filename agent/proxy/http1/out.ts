/**
 * Bytes on their way out: a message, or what one read makes of it, gathered into one buffer so that one write sends
 * it. Used in two ways: one scratch buffer a worker for what goes out at once, and one image a request, which is kept
 * until the request is over so that it can be sent again (R1).
 *
 * Cost    hot: one native copy a run of bytes; short text goes byte by byte, which is cheaper than a call.
 */
import { CR, LF } from "./chars.ts";

const HEX_DIGITS = Uint8Array.from("0123456789abcdef", (char) => char.charCodeAt(0));
/** Below this many bytes a loop is quicker than crossing into native code. */
const SHORT = 24;

export class Out {
  buffer: Buffer;
  length = 0;

  constructor(bytes: number) {
    this.buffer = Buffer.allocUnsafeSlow(bytes);
  }

  /** Makes room for `bytes` more. */
  reserve(bytes: number): void {
    if (this.length + bytes <= this.buffer.length) return;
    let size = this.buffer.length * 2;
    while (size < this.length + bytes) size *= 2;
    const grown = Buffer.allocUnsafeSlow(size);
    this.buffer.copy(grown, 0, 0, this.length);
    this.buffer = grown;
  }

  bytes(source: Buffer, from: number, to: number): void {
    const count = to - from;
    this.reserve(count);
    const { buffer, length } = this;
    if (count < SHORT) for (let i = 0; i < count; i++) buffer[length + i] = source[from + i] as number;
    else source.copy(buffer, length, from, to);
    this.length = length + count;
  }

  /** Latin-1 text. */
  text(text: string): void {
    const { length } = text;
    this.reserve(length);
    const { buffer, length: at } = this;
    if (length < SHORT) for (let i = 0; i < length; i++) buffer[at + i] = text.charCodeAt(i);
    else buffer.write(text, at, "latin1");
    this.length = at + length;
  }

  decimal(value: number): void {
    this.text(String(value));
  }

  crlf(): void {
    this.reserve(2);
    this.buffer[this.length++] = CR;
    this.buffer[this.length++] = LF;
  }

  /** `digits` lower-case hexadecimal digits of a 32-bit value. */
  hex(value: number, digits: number): void {
    this.reserve(digits);
    for (let shift = (digits - 1) * 4; shift >= 0; shift -= 4) {
      this.buffer[this.length++] = HEX_DIGITS[(value >>> shift) & 15] as number;
    }
  }

  /** A chunk's size line. */
  chunkSize(bytes: number): void {
    let digits = 1;
    for (let rest = Math.floor(bytes / 16); rest > 0; rest = Math.floor(rest / 16)) digits++;
    this.hex(bytes, digits);
    this.crlf();
  }

  view(from: number): Buffer {
    return this.buffer.subarray(from, this.length);
  }

  /** The buffer belongs to a write that has not ended: another takes its place. */
  detach(): void {
    this.buffer = Buffer.allocUnsafeSlow(this.buffer.length);
    this.length = 0;
  }
}
