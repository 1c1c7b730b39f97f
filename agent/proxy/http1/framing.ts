/**
 * What both kinds of head say about framing and the connection, gathered while their fields are walked.
 *
 * Source  RFC 9112 §6 (message body length), RFC 9110 §7.6.1 (Connection). Stricter where two parsers could differ:
 *         Content-Length once, digits only; Transfer-Encoding once, `chunked` alone; never both; not in HTTP/1.0.
 */
import { COMMA, HTAB, SP, TOKEN, ascii, equals } from "./chars.ts";
import { REFUSED } from "./fields.ts";

const CHUNKED = ascii("chunked");
const CLOSE = ascii("close");
const KEEP_ALIVE = ascii("keep-alive");
const UPGRADE = ascii("upgrade");

export class Framing {
  /** -1: no Content-Length. */
  contentLength = -1;
  chunked = false;
  close = false;
  keepAlive = false;
  /** `Connection: upgrade`. */
  upgrade = false;
  /** Other names that Connection lists, as spans: [from, to, from, to, …]. Usually none. */
  readonly nominated: number[] = [];

  reset(): void {
    this.contentLength = -1;
    this.chunked = this.close = this.keepAlive = this.upgrade = false;
    if (this.nominated.length > 0) this.nominated.length = 0;
  }

  /** 0, or why it is refused. */
  takeContentLength(bytes: Uint8Array, from: number, to: number): number {
    // 15 digits are the most that a double surely holds, and more than any body there is.
    if (this.contentLength >= 0 || to === from || to - from > 15) return REFUSED.contentLength;
    let value = 0;
    for (let at = from; at < to; at++) {
      const digit = (bytes[at] as number) - 48;
      if (digit < 0 || digit > 9) return REFUSED.contentLength;
      value = value * 10 + digit;
    }
    this.contentLength = value;
    return 0;
  }

  takeTransferEncoding(bytes: Uint8Array, from: number, to: number): number {
    if (this.chunked || to === from) return REFUSED.transferEncoding;
    if (!equals(bytes, from, to, CHUNKED)) {
      // `gzip, chunked` is sound but not spoken here: 501. With chunked in another place it can't be framed: 400.
      const text = latin1(bytes, from, to).toLowerCase();
      const codings = text.split(",").map((coding) => coding.trim());
      const first = codings.indexOf("chunked");
      const sound = codings.every((coding) => coding !== "") && (first === -1 || first === codings.length - 1);
      return sound ? REFUSED.coding : REFUSED.transferEncoding;
    }
    this.chunked = true;
    return 0;
  }

  takeConnection(bytes: Uint8Array, from: number, to: number): number {
    let at = from;
    while (at < to) {
      while (at < to && (bytes[at] === COMMA || bytes[at] === SP || bytes[at] === HTAB)) at++;
      const start = at;
      while (at < to && TOKEN[bytes[at] as number] === 1) at++;
      if (at === start) return at < to ? REFUSED.fieldLine : 0;
      if (equals(bytes, start, at, KEEP_ALIVE)) this.keepAlive = true;
      else if (equals(bytes, start, at, CLOSE)) this.close = true;
      else if (equals(bytes, start, at, UPGRADE)) this.upgrade = true;
      else this.nominated.push(start, at);
      while (at < to && (bytes[at] === SP || bytes[at] === HTAB)) at++;
      if (at < to && bytes[at] !== COMMA) return REFUSED.fieldLine;
    }
    return 0;
  }

  /** Connection lists this field's name: it is for this hop alone. */
  nominates(bytes: Uint8Array, from: number, to: number): boolean {
    for (let i = 0; i < this.nominated.length; i += 2) {
      const start = this.nominated[i] ?? 0;
      if ((this.nominated[i + 1] ?? 0) - start === to - from && same(bytes, start, from, to - from)) return true;
    }
    return false;
  }
}

function same(bytes: Uint8Array, a: number, b: number, length: number): boolean {
  for (let i = 0; i < length; i++) {
    if (lower(bytes[a + i] as number) !== lower(bytes[b + i] as number)) return false;
  }
  return true;
}

const lower = (byte: number): number => (byte >= 65 && byte <= 90 ? byte | 32 : byte);

export function latin1(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString("latin1");
}
