/**
 * A message's content as it comes in, whatever frames it: one question, `next`, for all four framings.
 *
 * Cost    for a body of known length two compares a read; the chunked decoder is made when first needed.
 */
import { ChunkedDecoder, FOUND } from "./chunked.ts";
import { BODY } from "./response.ts";

export class BodyReader {
  kind: number = BODY.none;
  at = 0;
  from = 0;
  to = 0;
  /** Content bytes seen. */
  received = 0;
  #left = 0;
  #chunked: ChunkedDecoder | null = null;
  readonly #trailerBytes: number;

  constructor(limits: { readonly trailerBytes: number }) {
    this.#trailerBytes = limits.trailerBytes;
  }

  /** Content bytes to come, as far as the head told: 0 for a body that says its end itself. */
  get left(): number {
    return this.kind === BODY.length ? this.#left : 0;
  }

  begin(kind: number, length: number): void {
    this.kind = kind;
    this.#left = length;
    this.received = 0;
    if (kind === BODY.chunked) {
      this.#chunked ??= new ChunkedDecoder(this.#trailerBytes);
      this.#chunked.reset();
    }
  }

  /** One of FOUND; `at` is behind what was looked at, `from`..`to` the content when it found data. */
  next(bytes: Uint8Array, start: number, end: number): number {
    this.at = start;
    switch (this.kind) {
      case BODY.none:
        return FOUND.done;
      case BODY.length: {
        if (this.#left === 0) return FOUND.done;
        if (start === end) return FOUND.more;
        return this.#run(start, Math.min(end, start + this.#left));
      }
      case BODY.chunked: {
        const decoder = this.#chunked as ChunkedDecoder;
        const found = decoder.next(bytes, start, end);
        this.at = decoder.at;
        if (found === FOUND.data) {
          this.from = decoder.from;
          this.to = decoder.to;
          this.received += this.to - this.from;
        }
        return found;
      }
      default:
        return start === end ? FOUND.more : this.#run(start, end);
    }
  }

  #run(from: number, to: number): number {
    this.from = from;
    this.to = this.at = to;
    this.received += to - from;
    if (this.kind === BODY.length) this.#left -= to - from;
    return FOUND.data;
  }

  /** Of a chunked body that is done. */
  trailer(): Buffer | null {
    return this.kind === BODY.chunked ? (this.#chunked?.trailer() ?? null) : null;
  }
}
