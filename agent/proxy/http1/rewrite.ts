/**
 * What goes on to the next hop: hop-by-hop fields taken out, Baton's own put in, the framing said anew. The lines that
 * stay are copied in as few runs as there are gaps between them.
 *
 * Source  RFC 9110 §7.6 (forwarding), §7.6.3 (Via); RFC 9112 §3.2.2, §6; W3C Trace Context level 1.
 * Cost    hot: with a usual head two or three copies and one short text.
 */
import type { Random } from "../../../proto/kernel/random.ts";
import { NAME } from "./fields.ts";
import type { Out } from "./out.ts";
import { METHOD } from "./request.ts";
import type { RequestHead } from "./request.ts";
import { BODY } from "./response.ts";
import type { ResponseHead } from "./response.ts";

/** Fields for this hop alone, whatever Connection says (RFC 9110 §7.6.1; RFC 9112 §C.2.2). */
const HOP = new Uint8Array(64);
for (const name of [
  NAME.connection,
  NAME.keepAlive,
  NAME.proxyConnection,
  NAME.te,
  NAME.transferEncoding,
  NAME.upgrade,
  NAME.http2Settings,
  // Said by Baton to one app of one copy: from anyone else it is a forgery.
  NAME.batonMirrored,
]) {
  HOP[name] = 1;
}
const VERSION_LINE = Buffer.from(" HTTP/1.1\r\n");
const STATUS_VERSION = Buffer.from("HTTP/1.1");
const CHUNKED = Buffer.from("Transfer-Encoding: chunked\r\n");
const PROTO = Buffer.from("X-Forwarded-Proto: http\r\n");
const UPGRADE = Buffer.from("Connection: Upgrade\r\n");
const CLOSE = Buffer.from("Connection: close\r\n");
const KEEP_ALIVE = Buffer.from("Connection: keep-alive\r\n");
const WORD = 4_294_967_296;

function put(out: Out, bytes: Buffer): void {
  out.bytes(bytes, 0, bytes.length);
}

/**
 * `hopLines` are X-Forwarded-For and Via of this client and agent, as field lines; `defaultHost` is what an HTTP/1.0
 * request without Host is for.
 */
export function writeRequest(
  head: RequestHead,
  bytes: Buffer,
  out: Out,
  hopLines: Buffer,
  defaultHost: string,
  random: Random,
): void {
  const { fields, framing } = head;
  // Everything that is added, an id and a trace too, is below this.
  out.reserve(head.end - head.start + hopLines.length + head.hostEnd - head.hostStart + 512);
  const plain = !head.absolute && head.minor === 1;
  let run = head.start;
  if (!plain) {
    writeLine(head, bytes, out);
    run = head.fieldsStart;
  }
  const nominates = framing.nominated.length > 0;
  const decremented = head.maxForwards > 0 && (head.method === METHOD.options || head.method === METHOD.trace);
  for (let field = 0; field < fields.count; field++) {
    const name = fields.names[field] as number;
    const drop =
      HOP[name] === 1 ||
      (name === NAME.expect && !head.expectContinue) ||
      (name === NAME.host && head.absolute) ||
      (name === NAME.maxForwards && decremented) ||
      // Host and Content-Length are never a hop's own: to name them is an attack on what comes behind.
      (nominates &&
        name !== NAME.host &&
        name !== NAME.contentLength &&
        framing.nominates(bytes, fields.lineStart(field), fields.nameEnd(field)));
    if (!drop) continue;
    const start = fields.lineStart(field);
    if (start > run) out.bytes(bytes, run, start);
    run = fields.lineEnd(field);
  }
  if (head.end - 2 > run) out.bytes(bytes, run, head.end - 2);
  if (head.absolute) line(out, "Host: ", bytes, head.hostStart, head.hostEnd);
  else if (!head.hasHost) out.text(`Host: ${defaultHost}\r\n`);
  if (decremented) out.text(`Max-Forwards: ${head.maxForwards - 1}\r\n`);
  if (framing.chunked) put(out, CHUNKED);
  if (head.upgradeField >= 0) {
    put(out, UPGRADE);
    out.bytes(bytes, fields.lineStart(head.upgradeField), fields.lineEnd(head.upgradeField));
  }
  put(out, hopLines);
  if (!head.hasProto) put(out, PROTO);
  if (!head.hasForwardedHost && head.hostEnd > head.hostStart) {
    line(out, "X-Forwarded-Host: ", bytes, head.hostStart, head.hostEnd);
  }
  writeIdentity(head, out, random);
  out.crlf();
}

function writeLine(head: RequestHead, bytes: Buffer, out: Out): void {
  out.bytes(bytes, head.start, head.methodEnd + 1);
  const empty = head.targetStart === head.targetEnd;
  // RFC 9112 §3.2.4: OPTIONS for a whole server loses its path on the way.
  if (empty && head.method === METHOD.options) out.text("*");
  else if (bytes[head.targetStart] !== 47 && !head.asterisk) out.text("/");
  out.bytes(bytes, head.targetStart, head.targetEnd);
  put(out, VERSION_LINE);
}

function line(out: Out, name: string, bytes: Buffer, from: number, to: number): void {
  out.text(name);
  out.bytes(bytes, from, to);
  out.crlf();
}

/** A request id and a trace for what has none: both are how one request is found in many logs. */
function writeIdentity(head: RequestHead, out: Out, random: Random): void {
  if (!head.hasRequestId) {
    out.text("X-Request-Id: ");
    for (let i = 0; i < 4; i++) out.hex(random.next() * WORD, 8);
    out.crlf();
  }
  if (!head.hasTraceparent) {
    out.text("Traceparent: 00-");
    // Never all zero (a trace id and a parent id must not be): the lowest bit of the first word is set.
    out.hex((random.next() * WORD) | 1, 8);
    for (let i = 0; i < 3; i++) out.hex(random.next() * WORD, 8);
    out.text("-");
    out.hex((random.next() * WORD) | 1, 8);
    out.hex(random.next() * WORD, 8);
    // Sampled: what the app's own tracer would have decided by default, had no one stood before it.
    out.text("-01\r\n");
  }
}

/** What the client is told of its connection: nothing, close, or keep-alive (which HTTP/1.0 must hear). */
export const CONNECTION = { silent: 0, close: 1, keepAlive: 2 } as const;

/**
 * `framing` is how the client is told where the body ends (one of BODY); `believed` says that the next hop is a Baton
 * agent, whose baton-error is its own word: from an app it is a forgery, and goes.
 */
export function writeResponse(
  head: ResponseHead,
  bytes: Buffer,
  out: Out,
  framing: number,
  connection: number,
  believed: boolean,
): void {
  const { fields } = head;
  out.reserve(head.end - head.start + 128);
  let run = head.start;
  if (head.bare) {
    out.text(`HTTP/1.1 ${head.status} \r\n`);
    run = head.fieldsStart;
  } else if (head.minor === 0) {
    put(out, STATUS_VERSION);
    run = head.start + STATUS_VERSION.length;
  }
  const nominates = head.framing.nominated.length > 0;
  const lengthless = head.status < 200 || head.status === 204 || framing === BODY.chunked;
  const tunnel = head.status === 101;
  for (let field = 0; field < fields.count; field++) {
    const name = fields.names[field] as number;
    const drop =
      HOP[name] === 1 ||
      (name === NAME.contentLength && lengthless) ||
      (name === NAME.batonError && !believed) ||
      (nominates &&
        name !== NAME.contentLength &&
        head.framing.nominates(bytes, fields.lineStart(field), fields.nameEnd(field)));
    if (!drop) continue;
    const start = fields.lineStart(field);
    if (start > run) out.bytes(bytes, run, start);
    run = fields.lineEnd(field);
  }
  if (head.end - 2 > run) out.bytes(bytes, run, head.end - 2);
  if (framing === BODY.chunked) put(out, CHUNKED);
  if (tunnel) {
    put(out, UPGRADE);
    if (head.upgradeField >= 0) {
      out.bytes(bytes, fields.lineStart(head.upgradeField), fields.lineEnd(head.upgradeField));
    }
  } else if (connection === CONNECTION.close) put(out, CLOSE);
  else if (connection === CONNECTION.keepAlive) put(out, KEEP_ALIVE);
  out.crlf();
}
