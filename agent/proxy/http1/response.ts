/**
 * The head of an answer, read as strictly as a request's: what is refused here becomes 502, and the connection that it
 * came on is closed.
 *
 * Errors  `parse` answers the offset behind the head, INCOMPLETE, or a refusal (fields.ts REFUSED).
 * Cost    hot: one pass over the bytes, no allocation.
 */
import { CR, FIELD, LF, SP, ascii, equals, matches } from "./chars.ts";
import { Fields, INCOMPLETE, NAME, REFUSED } from "./fields.ts";
import { Framing } from "./framing.ts";

const HTTP_1 = ascii("HTTP/1.");
const EVENT_STREAM = ascii("text/event-stream");
const TIMEOUT = ascii("timeout=");

/** How the end of an answer's body is known. */
export const BODY = { none: 0, length: 1, chunked: 2, close: 3 } as const;

export class ResponseHead {
  readonly fields: Fields;
  readonly framing = new Framing();
  start = 0;
  minor = 1;
  status = 0;
  /** The space before an empty reason is missing. */
  bare = false;
  fieldsStart = 0;
  end = 0;
  eventStream = false;
  /** Of `Keep-Alive: timeout=N`, milliseconds; 0 when not said. */
  keepAliveMs = 0;
  batonError = -1;
  upgradeField = -1;
  readonly #limit: number;

  constructor(limits: { readonly headBytes: number; readonly headFields: number }) {
    this.#limit = limits.headBytes;
    this.fields = new Fields(limits.headFields);
  }

  /** RFC 9112 §6.3, for the answer to a request that was HEAD or not. */
  body(toHead: boolean): number {
    if (toHead || this.status < 200 || this.status === 204 || this.status === 304) return BODY.none;
    if (this.framing.chunked) return BODY.chunked;
    if (this.framing.contentLength >= 0) return this.framing.contentLength === 0 ? BODY.none : BODY.length;
    return BODY.close;
  }

  /** The app will take another request on this connection. */
  get persistent(): boolean {
    return !this.framing.close && (this.minor === 1 || this.framing.keepAlive);
  }

  parse(bytes: Uint8Array, start: number, end: number): number {
    const line = this.#statusLine(bytes, start, end);
    if (line <= 0) return line === INCOMPLETE && end - start > this.#limit ? REFUSED.headTooLarge : line;
    this.fieldsStart = line;
    const behind = this.fields.scan(bytes, line, end);
    if (behind <= 0) return behind === INCOMPLETE && end - start > this.#limit ? REFUSED.headTooLarge : behind;
    if (behind - start > this.#limit) return REFUSED.headTooLarge;
    this.end = behind;
    const refused = this.#understand(bytes);
    return refused === 0 ? behind : refused;
  }

  #statusLine(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    for (let i = 0; i < HTTP_1.length; i++, at++) {
      if (at >= end) return INCOMPLETE;
      if (bytes[at] !== HTTP_1[i]) return REFUSED.startLine;
    }
    if (end - at < 5) return INCOMPLETE;
    const minor = (bytes[at++] as number) - 48;
    if ((minor !== 0 && minor !== 1) || bytes[at++] !== SP) return REFUSED.version;
    let status = 0;
    for (let i = 0; i < 3; i++) {
      const digit = (bytes[at++] as number) - 48;
      if (digit < 0 || digit > 9) return REFUSED.startLine;
      status = status * 10 + digit;
    }
    if (status < 100 || status > 599) return REFUSED.startLine;
    if (at >= end) return INCOMPLETE;
    // "HTTP/1.1 200\r\n", without the space before an empty reason, is common enough to be taken; rewrite.ts mends it.
    this.bare = bytes[at] === CR;
    if (bytes[at] !== SP && bytes[at] !== CR) return REFUSED.startLine;
    while (at < end && FIELD[bytes[at] as number] === 1) at++;
    if (at + 1 >= end) return INCOMPLETE;
    if (bytes[at] !== CR || bytes[at + 1] !== LF) return REFUSED.startLine;
    this.start = start;
    this.minor = minor;
    this.status = status;
    return at + 2;
  }

  #understand(bytes: Uint8Array): number {
    const { fields, framing } = this;
    framing.reset();
    this.eventStream = false;
    this.keepAliveMs = 0;
    this.batonError = this.upgradeField = -1;
    for (let field = 0; field < fields.count; field++) {
      const name = fields.names[field];
      if (name === NAME.other) continue;
      const refused = this.#take(bytes, name as number, field, fields.valueStart(field), fields.valueEnd(field));
      if (refused !== 0) return refused;
    }
    return framing.chunked && (framing.contentLength >= 0 || this.minor === 0) ? REFUSED.framing : 0;
  }

  #take(bytes: Uint8Array, name: number, field: number, from: number, to: number): number {
    switch (name) {
      case NAME.contentLength:
        return this.framing.takeContentLength(bytes, from, to);
      case NAME.transferEncoding:
        return this.framing.takeTransferEncoding(bytes, from, to);
      case NAME.connection:
        return this.framing.takeConnection(bytes, from, to);
      case NAME.upgrade:
        this.upgradeField = field;
        return 0;
      case NAME.batonError:
        this.batonError = field;
        return 0;
      case NAME.keepAlive:
        this.keepAliveMs = timeoutOf(bytes, from, to);
        return 0;
      case NAME.contentType: {
        const type = from + EVENT_STREAM.length;
        this.eventStream = to >= type && matches(bytes, from, EVENT_STREAM) && (to === type || endsType(bytes[type]));
        return 0;
      }
      default:
        return 0;
    }
  }
}

const endsType = (byte: number | undefined): boolean => byte === 59 || byte === SP || byte === 9;

/** `timeout=5, max=100` → 5000. */
function timeoutOf(bytes: Uint8Array, from: number, to: number): number {
  for (let at = from; at + TIMEOUT.length < to; at++) {
    if (!equals(bytes, at, at + TIMEOUT.length, TIMEOUT)) continue;
    let seconds = 0;
    for (let i = at + TIMEOUT.length; i < to && seconds < 100_000; i++) {
      const digit = (bytes[i] as number) - 48;
      if (digit < 0 || digit > 9) break;
      seconds = seconds * 10 + digit;
    }
    return seconds * 1_000;
  }
  return 0;
}
