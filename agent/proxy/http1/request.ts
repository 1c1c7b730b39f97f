/**
 * The head of a request, read strictly: what RFC 9112 says is valid is taken, what two parsers could read differently
 * is refused. Nothing is copied: the head is spans in the buffer, good until the callback that read it returns.
 *
 * Errors  `parse` answers the offset behind the head, INCOMPLETE, or a refusal (fields.ts REFUSED).
 * Cost    hot: one pass over the bytes, no allocation.
 */
import { CR, HOST, LF, SLASH, SP, TARGET, TOKEN, ascii, equals, matches } from "./chars.ts";
import { Fields, INCOMPLETE, NAME, REFUSED } from "./fields.ts";
import { Framing } from "./framing.ts";

export const METHOD = {
  other: 0,
  get: 1,
  head: 2,
  post: 3,
  put: 4,
  delete: 5,
  options: 6,
  patch: 7,
  trace: 8,
  connect: 9,
};

/** RFC 9110 §9.2.2: doing it twice is as good as once. */
export const isIdempotent = (method: number): boolean =>
  method === METHOD.get ||
  method === METHOD.head ||
  method === METHOD.put ||
  method === METHOD.delete ||
  method === METHOD.options ||
  method === METHOD.trace;

const METHODS = [
  ["GET", METHOD.get],
  ["HEAD", METHOD.head],
  ["POST", METHOD.post],
  ["PUT", METHOD.put],
  ["DELETE", METHOD.delete],
  ["OPTIONS", METHOD.options],
  ["PATCH", METHOD.patch],
  ["TRACE", METHOD.trace],
  ["CONNECT", METHOD.connect],
] as const;
const METHOD_BYTES = METHODS.map(([text]) => ascii(text));
const LONGEST_METHOD = 32;

const HTTP_1 = ascii("HTTP/1.");
const HTTP_URI = ascii("http://");
const HTTPS_URI = ascii("https://");
const WEBSOCKET = ascii("websocket");
const H2C = ascii("h2c");
const CONTINUE = ascii("100-continue");
const HOP_MARK = ascii("(baton)");

export interface HeadLimits {
  readonly headBytes: number;
  readonly targetBytes: number;
}

export class RequestHead {
  readonly fields: Fields;
  readonly framing = new Framing();
  start = 0;
  method = METHOD.other;
  methodEnd = 0;
  /** In origin-form, without scheme and authority; empty for an absolute-form without a path. */
  targetStart = 0;
  targetEnd = 0;
  absolute = false;
  asterisk = false;
  fieldsStart = 0;
  end = 0;
  minor = 1;
  /** The authority: of an absolute-form target, else of Host. Empty when neither says one. */
  hostStart = 0;
  hostEnd = 0;
  hasHost = false;
  /** The Upgrade field that is passed on; negative: none. */
  upgradeField = -1;
  websocket = false;
  expectContinue = false;
  hasProto = false;
  hasForwardedHost = false;
  hasRequestId = false;
  hasTraceparent = false;
  hasIdempotencyKey = false;
  /** -1: none. */
  maxForwards = -1;
  /** The last hop that Via names is another Baton agent. */
  fromBaton = false;
  readonly #limits: HeadLimits;

  constructor(limits: HeadLimits & { readonly headFields: number }) {
    this.#limits = limits;
    this.fields = new Fields(limits.headFields);
  }

  get hasBody(): boolean {
    return this.framing.chunked || this.framing.contentLength > 0;
  }

  /** The client will take another answer on this connection. */
  get persistent(): boolean {
    return !this.framing.close && (this.minor === 1 || this.framing.keepAlive);
  }

  parse(bytes: Uint8Array, start: number, end: number): number {
    const line = this.#startLine(bytes, start, end);
    if (line <= 0) return line === INCOMPLETE ? this.#incomplete(bytes, start, end) : line;
    this.fieldsStart = line;
    const behind = this.fields.scan(bytes, line, end);
    if (behind <= 0)
      return behind === INCOMPLETE && end - start > this.#limits.headBytes ? REFUSED.headTooLarge : behind;
    if (behind - start > this.#limits.headBytes) return REFUSED.headTooLarge;
    this.end = behind;
    const refused = this.#understand(bytes);
    return refused === 0 ? behind : refused;
  }

  #incomplete(bytes: Uint8Array, start: number, end: number): number {
    if (end - start <= this.#limits.targetBytes) return INCOMPLETE;
    return bytes.subarray(start, end).indexOf(LF) === -1 ? REFUSED.targetTooLong : INCOMPLETE;
  }

  #startLine(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (at < end && TOKEN[bytes[at] as number] === 1) at++;
    if (at - start > LONGEST_METHOD) return REFUSED.startLine;
    if (at >= end) return INCOMPLETE;
    if (at === start || bytes[at] !== SP) return REFUSED.startLine;
    this.start = start;
    this.methodEnd = at;
    this.method = methodOf(bytes, start, at);
    const target = ++at;
    while (at < end && TARGET[bytes[at] as number] === 1) at++;
    if (at - target > this.#limits.targetBytes) return REFUSED.targetTooLong;
    if (at >= end) return INCOMPLETE;
    if (at === target || bytes[at] !== SP) return REFUSED.startLine;
    this.targetStart = target;
    this.targetEnd = at;
    at++;
    // "HTTP/1.1\r\n": ten bytes, and nothing is decided before they are all there or one of them is wrong.
    for (let i = 0; i < HTTP_1.length; i++, at++) {
      if (at >= end) return INCOMPLETE;
      if (bytes[at] !== HTTP_1[i]) return i >= 5 && isDigit(bytes[at]) ? REFUSED.version : REFUSED.startLine;
    }
    if (at >= end) return INCOMPLETE;
    const minor = (bytes[at++] as number) - 48;
    if (minor !== 0 && minor !== 1) return minor > 1 && minor < 10 ? REFUSED.version : REFUSED.startLine;
    this.minor = minor;
    if (at >= end) return INCOMPLETE;
    if (bytes[at++] !== CR) return REFUSED.startLine;
    if (at >= end) return INCOMPLETE;
    if (bytes[at++] !== LF) return REFUSED.startLine;
    return at;
  }

  #understand(bytes: Uint8Array): number {
    const { fields, framing } = this;
    this.#reset();
    for (let field = 0; field < fields.count; field++) {
      const name = fields.names[field];
      if (name === NAME.other) continue;
      const refused = this.#take(bytes, name as number, field, fields.valueStart(field), fields.valueEnd(field));
      if (refused !== 0) return refused;
    }
    if (framing.chunked && (framing.contentLength >= 0 || this.minor === 0)) return REFUSED.framing;
    if (!this.hasHost && this.minor === 1) return REFUSED.host;
    if (this.method === METHOD.connect) return REFUSED.method;
    // HTTP/1.0 knows neither upgrades nor interim answers (RFC 9110 §7.8, §10.1.1).
    if (this.minor === 0 || !framing.upgrade || this.hasBody) this.upgradeField = -1;
    if (this.upgradeField < 0) {
      this.upgradeField = -1;
      this.websocket = false;
    }
    if (this.minor === 0 || !this.hasBody) this.expectContinue = false;
    return this.#form(bytes);
  }

  #reset(): void {
    this.framing.reset();
    this.hasHost = this.websocket = this.expectContinue = this.hasProto = this.hasForwardedHost = false;
    this.hasRequestId = this.hasTraceparent = this.hasIdempotencyKey = this.fromBaton = false;
    this.upgradeField = this.maxForwards = -1;
    this.hostStart = this.hostEnd = 0;
  }

  #take(bytes: Uint8Array, name: number, field: number, from: number, to: number): number {
    switch (name) {
      case NAME.host:
        if (this.hasHost || !isHost(bytes, from, to)) return REFUSED.host;
        this.hasHost = true;
        this.hostStart = from;
        this.hostEnd = to;
        return 0;
      case NAME.contentLength:
        return this.framing.takeContentLength(bytes, from, to);
      case NAME.transferEncoding:
        return this.framing.takeTransferEncoding(bytes, from, to);
      case NAME.connection:
        return this.framing.takeConnection(bytes, from, to);
      case NAME.upgrade:
        // A choice of protocols, and h2c, which would carry requests past this codec, are answered as if not asked for.
        this.upgradeField = this.upgradeField === -1 && isOneProtocol(bytes, from, to) ? field : -2;
        this.websocket = equals(bytes, from, to, WEBSOCKET);
        return 0;
      case NAME.expect:
        if (!equals(bytes, from, to, CONTINUE)) return REFUSED.expectation;
        this.expectContinue = true;
        return 0;
      case NAME.maxForwards:
        return this.#takeMaxForwards(bytes, from, to);
      case NAME.via:
        this.fromBaton = to - from >= HOP_MARK.length && matches(bytes, to - HOP_MARK.length, HOP_MARK);
        return 0;
      default:
        this.#note(name);
        return 0;
    }
  }

  #note(name: number): void {
    if (name === NAME.forwardedProto) this.hasProto = true;
    else if (name === NAME.forwardedHost) this.hasForwardedHost = true;
    else if (name === NAME.requestId) this.hasRequestId = true;
    else if (name === NAME.traceparent) this.hasTraceparent = true;
    else if (name === NAME.idempotencyKey) this.hasIdempotencyKey = true;
  }

  #takeMaxForwards(bytes: Uint8Array, from: number, to: number): number {
    if (this.maxForwards >= 0 || to === from || to - from > 9) return REFUSED.fieldLine;
    let value = 0;
    for (let at = from; at < to; at++) {
      if (!isDigit(bytes[at])) return REFUSED.fieldLine;
      value = value * 10 + (bytes[at] as number) - 48;
    }
    this.maxForwards = value;
    return 0;
  }

  /** RFC 9112 §3.2: origin-form, absolute-form (its authority outranks Host), asterisk-form for OPTIONS. */
  #form(bytes: Uint8Array): number {
    this.absolute = this.asterisk = false;
    const first = bytes[this.targetStart];
    if (first === SLASH) return 0;
    if (first === 42 && this.targetEnd - this.targetStart === 1) {
      this.asterisk = true;
      return this.method === METHOD.options ? 0 : REFUSED.target;
    }
    const scheme = matches(bytes, this.targetStart, HTTP_URI) ? 7 : matches(bytes, this.targetStart, HTTPS_URI) ? 8 : 0;
    let at = this.targetStart + scheme;
    if (scheme === 0 || at >= this.targetEnd) return REFUSED.target;
    this.hostStart = at;
    while (at < this.targetEnd && bytes[at] !== SLASH && bytes[at] !== 63) at++;
    this.hostEnd = at;
    if (at === this.hostStart || !isHost(bytes, this.hostStart, at)) return REFUSED.target;
    this.absolute = true;
    this.targetStart = at;
    return 0;
  }
}

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 48 && byte <= 57;

function isHost(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (HOST[bytes[at] as number] !== 1) return false;
  return true;
}

/** Methods are case-sensitive (RFC 9110 §9.1). */
export function methodOf(bytes: Uint8Array, from: number, to: number): number {
  for (let i = 0; i < METHOD_BYTES.length; i++) {
    const known = METHOD_BYTES[i] as Uint8Array;
    if (known.length !== to - from) continue;
    let same = 0;
    while (same < known.length && bytes[from + same] === known[same]) same++;
    if (same === known.length) return METHODS[i]?.[1] ?? METHOD.other;
  }
  return METHOD.other;
}

function isOneProtocol(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (TOKEN[bytes[at] as number] !== 1 && bytes[at] !== SLASH) return false;
  return to > from && !equals(bytes, from, to, H2C);
}
