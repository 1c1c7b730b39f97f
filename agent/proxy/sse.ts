/**
 * Where a server-sent event ends: behind a blank line, whatever ends its lines. So that a stream can be ended without
 * cutting an event in two (S4).
 *
 * Source  WHATWG HTML, "Parsing an event stream": lines end with CRLF, LF or CR; a blank line dispatches the event.
 * Cost    only the last bytes of each read are looked at until an end is asked for.
 */
const CR = 13;
const LF = 10;
/** The longest run that decides: CR LF CR LF. */
const TAIL = 4;

export class EventBoundary {
  /** The stream stands between two events. */
  atBoundary = true;
  #lineEmpty = true;
  #afterCr = false;

  reset(): void {
    this.atBoundary = this.#lineEmpty = true;
    this.#afterCr = false;
  }

  /** Passes over `bytes[from, to)`, to know where the stream stands behind it. */
  skip(bytes: Uint8Array, from: number, to: number): void {
    if (to - from > TAIL) {
      this.#lineEmpty = this.#afterCr = false;
      this.find(bytes, to - TAIL, to, false);
    } else this.find(bytes, from, to, false);
  }

  /** The offset behind the first event that ends in `bytes[from, to)`, or -1. Stops there when told to. */
  find(bytes: Uint8Array, from: number, to: number, stop = true): number {
    let found = -1;
    for (let at = from; at < to; at++) {
      const byte = bytes[at];
      if (byte === LF && this.#afterCr) {
        // The second half of a CRLF whose CR has already ended the line.
        this.#afterCr = false;
        if (stop && this.atBoundary) return at + 1;
        continue;
      }
      this.#afterCr = byte === CR;
      if (byte === CR || byte === LF) {
        this.atBoundary = this.#lineEmpty;
        this.#lineEmpty = true;
        // A CR may be half of a CRLF: the LF still belongs to this event when it is here already.
        if (this.atBoundary && found === -1 && !(byte === CR && bytes[at + 1] === LF && at + 1 < to)) found = at + 1;
        if (found !== -1 && stop) return found;
      } else {
        this.atBoundary = this.#lineEmpty = false;
      }
    }
    return found;
  }
}
