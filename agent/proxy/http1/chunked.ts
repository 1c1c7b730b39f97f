/**
 * The chunked coding, read strictly and incrementally: any split of the stream gives the same answers. Extensions are
 * read over and never passed on, within a budget for the whole body; trailers are gathered, checked as fields, and
 * passed on without those that speak of framing or routing.
 *
 * Errors  BAD, for good: bad sizes, a bare CR or LF anywhere (CVE-2025-55315), a space before an extension, missing CRLF
 *         after a chunk's data (CVE-2024-27982), too long extensions or trailers.
 * Source  RFC 9112 §7.1.
 * Cost    a step of a switch for each byte of framing; data is a span, never touched.
 */
import { CR, FIELD, HEX, LF } from "./chars.ts";
import { Fields, NAME } from "./fields.ts";

/** What `next` found. */
export const FOUND = { more: 0, data: 1, done: 2, bad: 3 } as const;

const S = {
  size: 0,
  sizeMore: 1,
  extension: 2,
  sizeLf: 3,
  data: 4,
  dataCr: 5,
  dataLf: 6,
  trailerStart: 7,
  trailerLine: 8,
  trailerLf: 9,
  endLf: 10,
  done: 11,
  bad: 12,
} as const;

const EXTENSION_BYTES = 1_024;
/** 13 digits stay below 2^52; more are refused even when they are zeros. */
const SIZE_DIGITS = 13;
const TRAILER_FIELDS = 32;

export class ChunkedDecoder {
  /** Behind what was looked at; set by every `next`. */
  at = 0;
  /** The span of content, when `next` found data. */
  from = 0;
  to = 0;
  #state: number = S.size;
  #left = 0;
  #digits = 0;
  #extension = 0;
  #trailer: number[] | null = null;
  readonly #trailerLimit: number;

  constructor(trailerLimit: number) {
    this.#trailerLimit = trailerLimit;
  }

  reset(): void {
    this.#state = S.size;
    this.#left = this.#digits = this.#extension = 0;
    this.#trailer = null;
  }

  /** Field lines of the trailer section that may be passed on, each with its CRLF; null when there are none. */
  trailer(): Buffer | null {
    if (this.#trailer === null) return null;
    const section = Buffer.from([...this.#trailer, CR, LF]);
    const fields = new Fields(TRAILER_FIELDS);
    if (fields.scan(section, 0, section.length) !== section.length) return null;
    const kept: Buffer[] = [];
    for (let i = 0; i < fields.count; i++) {
      // Names that Baton understands steer the message; they mean nothing, or harm, behind the body.
      if (fields.names[i] === NAME.other) kept.push(section.subarray(fields.lineStart(i), fields.lineEnd(i)));
    }
    return kept.length === 0 ? null : Buffer.concat(kept);
  }

  next(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (at < end) {
      const byte = bytes[at] as number;
      switch (this.#state) {
        case S.size:
        case S.sizeMore: {
          const digit = HEX[byte] as number;
          if (digit !== 255) {
            if (++this.#digits > SIZE_DIGITS) return this.#bad(at);
            this.#left = this.#left * 16 + digit;
            this.#state = S.sizeMore;
            break;
          }
          if (this.#state === S.size) return this.#bad(at);
          if (byte === CR) this.#state = S.sizeLf;
          else if (byte === 59) this.#state = S.extension;
          else return this.#bad(at);
          break;
        }
        case S.extension:
          if (byte === CR) this.#state = S.sizeLf;
          else if (FIELD[byte] !== 1 || ++this.#extension > EXTENSION_BYTES) return this.#bad(at);
          break;
        case S.sizeLf:
          if (byte !== LF) return this.#bad(at);
          this.#digits = 0;
          this.#state = this.#left === 0 ? S.trailerStart : S.data;
          break;
        case S.data: {
          this.from = at;
          this.to = Math.min(end, at + this.#left);
          this.#left -= this.to - at;
          if (this.#left === 0) this.#state = S.dataCr;
          this.at = this.to;
          return FOUND.data;
        }
        case S.dataCr:
          if (byte !== CR) return this.#bad(at);
          this.#state = S.dataLf;
          break;
        case S.dataLf:
          if (byte !== LF) return this.#bad(at);
          this.#state = S.size;
          break;
        case S.trailerStart:
          if (byte === CR) {
            this.#state = S.endLf;
            break;
          }
          this.#trailer ??= [];
          this.#state = S.trailerLine;
          continue;
        case S.trailerLine:
          if (byte !== CR && FIELD[byte] !== 1) return this.#bad(at);
          if ((this.#trailer?.push(byte) ?? 0) > this.#trailerLimit) return this.#bad(at);
          if (byte === CR) this.#state = S.trailerLf;
          break;
        case S.trailerLf:
          if (byte !== LF) return this.#bad(at);
          this.#trailer?.push(LF);
          this.#state = S.trailerStart;
          break;
        case S.endLf:
          if (byte !== LF || !this.#trailerIsSound()) return this.#bad(at);
          this.#state = S.done;
          this.at = at + 1;
          return FOUND.done;
        case S.done:
          this.at = at;
          return FOUND.done;
        default:
          return this.#bad(at);
      }
      at++;
    }
    this.at = at;
    return this.#state === S.done ? FOUND.done : FOUND.more;
  }

  #trailerIsSound(): boolean {
    if (this.#trailer === null) return true;
    const section = Uint8Array.from([...this.#trailer, CR, LF]);
    return new Fields(TRAILER_FIELDS).scan(section, 0, section.length) === section.length;
  }

  #bad(at: number): number {
    this.#state = S.bad;
    this.at = at;
    return FOUND.bad;
  }
}
