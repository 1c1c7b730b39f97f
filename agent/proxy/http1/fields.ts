/**
 * The field section of a message: found, checked and indexed in one pass, nothing copied. Fields are spans in the
 * buffer that they were read into; those that Baton itself must understand carry the number of their name.
 *
 * Errors  the answer is the offset behind the blank line, or INCOMPLETE, or a negative refusal. Refused: obs-fold, a
 *         bare LF or CR, a space before the colon, an empty or odd name, NUL and other control bytes.
 * Cost    one table load a byte. A head that came in pieces is scanned again from its start, but only when a line
 *         has been completed (client.ts), so that the cost stays bounded by lines × bytes.
 */
import { COLON, CR, FIELD, HTAB, LF, SP, TOKEN, ascii, matches } from "./chars.ts";

export const INCOMPLETE = 0;

/** Why a message is refused; negative, so that it shares a return value with offsets. errors.ts has status and text. */
export const REFUSED = {
  startLine: -1,
  version: -2,
  target: -3,
  fieldLine: -4,
  headTooLarge: -5,
  targetTooLong: -6,
  tooManyFields: -7,
  host: -8,
  contentLength: -9,
  transferEncoding: -10,
  coding: -11,
  framing: -12,
  expectation: -13,
  method: -14,
  chunk: -15,
  trailer: -16,
} as const;

/** Names that Baton understands. 0 is every other one. */
export const NAME = {
  other: 0,
  host: 1,
  connection: 2,
  keepAlive: 3,
  proxyConnection: 4,
  te: 5,
  trailer: 6,
  transferEncoding: 7,
  upgrade: 8,
  contentLength: 9,
  expect: 10,
  forwardedProto: 11,
  forwardedHost: 12,
  via: 13,
  requestId: 14,
  traceparent: 15,
  idempotencyKey: 16,
  maxForwards: 17,
  contentType: 18,
  batonError: 19,
  authorization: 20,
  forwardedFor: 21,
  http2Settings: 22,
  batonMirrored: 23,
} as const;

interface Known {
  readonly bytes: Uint8Array;
  readonly id: number;
}

const byLength: Known[][] = [];
for (const [text, id] of [
  ["host", NAME.host],
  ["connection", NAME.connection],
  ["keep-alive", NAME.keepAlive],
  ["proxy-connection", NAME.proxyConnection],
  ["te", NAME.te],
  ["trailer", NAME.trailer],
  ["transfer-encoding", NAME.transferEncoding],
  ["upgrade", NAME.upgrade],
  ["content-length", NAME.contentLength],
  ["expect", NAME.expect],
  ["x-forwarded-for", NAME.forwardedFor],
  ["x-forwarded-proto", NAME.forwardedProto],
  ["x-forwarded-host", NAME.forwardedHost],
  ["via", NAME.via],
  ["x-request-id", NAME.requestId],
  ["traceparent", NAME.traceparent],
  ["idempotency-key", NAME.idempotencyKey],
  ["max-forwards", NAME.maxForwards],
  ["content-type", NAME.contentType],
  ["baton-error", NAME.batonError],
  ["authorization", NAME.authorization],
  ["http2-settings", NAME.http2Settings],
  ["baton-mirrored", NAME.batonMirrored],
] as const) {
  (byLength[text.length] ??= []).push({ bytes: ascii(text), id });
}

function nameOf(bytes: Uint8Array, from: number, length: number): number {
  const known = byLength[length];
  if (known === undefined) return NAME.other;
  const first = (bytes[from] ?? 0) | 32;
  for (const candidate of known) {
    if (candidate.bytes[0] === first && matches(bytes, from, candidate.bytes)) return candidate.id;
  }
  return NAME.other;
}

/** One field section's index: for each field its line, value and name. Reused for message after message. */
export class Fields {
  count = 0;
  /** Five numbers a field: line start, name end, value start, value end, line end (behind its CRLF). */
  readonly spans: Int32Array;
  readonly names: Uint8Array;
  readonly #capacity: number;

  constructor(capacity: number) {
    this.#capacity = capacity;
    this.spans = new Int32Array(capacity * 5);
    this.names = new Uint8Array(capacity);
  }

  lineStart(field: number): number {
    return this.spans[field * 5] ?? 0;
  }
  nameEnd(field: number): number {
    return this.spans[field * 5 + 1] ?? 0;
  }
  valueStart(field: number): number {
    return this.spans[field * 5 + 2] ?? 0;
  }
  valueEnd(field: number): number {
    return this.spans[field * 5 + 3] ?? 0;
  }
  lineEnd(field: number): number {
    return this.spans[field * 5 + 4] ?? 0;
  }

  /** Indexes the lines from `at` on; answers the offset behind the blank line. */
  scan(bytes: Uint8Array, start: number, end: number): number {
    const { spans, names } = this;
    let at = start;
    let count = 0;
    let span = 0;
    for (;;) {
      if (at >= end) return INCOMPLETE;
      const lineStart = at;
      while (at < end && TOKEN[bytes[at] as number] === 1) at++;
      if (at >= end) return INCOMPLETE;
      if (at === lineStart) {
        if (bytes[at] !== CR) return REFUSED.fieldLine;
        if (at + 1 >= end) return INCOMPLETE;
        this.count = count;
        return bytes[at + 1] === LF ? at + 2 : REFUSED.fieldLine;
      }
      if (bytes[at] !== COLON) return REFUSED.fieldLine;
      if (count === this.#capacity) return REFUSED.tooManyFields;
      const nameEnd = at++;
      while (at < end && (bytes[at] === SP || bytes[at] === HTAB)) at++;
      const valueStart = at;
      while (at < end && FIELD[bytes[at] as number] === 1) at++;
      if (at >= end) return INCOMPLETE;
      if (bytes[at] !== CR) return REFUSED.fieldLine;
      let valueEnd = at++;
      if (at >= end) return INCOMPLETE;
      if (bytes[at] !== LF) return REFUSED.fieldLine;
      at++;
      while (valueEnd > valueStart && (bytes[valueEnd - 1] === SP || bytes[valueEnd - 1] === HTAB)) valueEnd--;
      names[count++] = nameOf(bytes, lineStart, nameEnd - lineStart);
      spans[span++] = lineStart;
      spans[span++] = nameEnd;
      spans[span++] = valueStart;
      spans[span++] = valueEnd;
      spans[span++] = at;
    }
  }
}
