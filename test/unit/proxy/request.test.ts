import { expect, test } from "vitest";
import { INCOMPLETE, REFUSED } from "../../../agent/proxy/http1/fields.ts";
import { METHOD, RequestHead } from "../../../agent/proxy/http1/request.ts";

const LIMITS = { headBytes: 4_096, targetBytes: 1_024, headFields: 20 };
const head = new RequestHead(LIMITS);
const parse = (text: string): number => {
  const bytes = Buffer.from(text, "latin1");
  return head.parse(bytes, 0, bytes.length);
};
/** A whole head around the fields given. */
const withFields = (fields: string, line = "POST / HTTP/1.1"): string => `${line}\r\nHost: a\r\n${fields}\r\n`;

const VALID: readonly (readonly [string, string, Partial<RequestHead>])[] = [
  ["origin-form", "GET /a/b?c=%20d HTTP/1.1\r\nHost: a\r\n\r\n", { method: METHOD.get, minor: 1, absolute: false }],
  ["absolute-form", "GET http://x:1/p HTTP/1.1\r\nHost: a\r\n\r\n", { absolute: true }],
  ["asterisk-form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", { asterisk: true }],
  ["an unknown method", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", { method: METHOD.other }],
  ["methods are case-sensitive", "get / HTTP/1.1\r\nHost: a\r\n\r\n", { method: METHOD.other }],
  ["an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", { hasHost: true }],
  ["an IPv6 Host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", { hasHost: true }],
  ["HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", { minor: 0, hasHost: false }],
  ["names in any case", "GET / HTTP/1.1\r\nhOsT: a\r\n\r\n", { hasHost: true }],
  ["an empty value", withFields("X:\r\n"), {}],
  ["white space around a value", withFields("X: \t a b \t\r\n"), {}],
  ["obs-text in a value", withFields("X: \xe4\xff\r\n"), {}],
  ["a body of a length", withFields("Content-Length: 12\r\n"), { hasBody: true }],
  ["a length of nothing", withFields("Content-Length: 0\r\n"), { hasBody: false }],
  ["leading zeros", withFields("Content-Length: 007\r\n"), { hasBody: true }],
  ["chunks", withFields("Transfer-Encoding: chunked\r\n"), { hasBody: true }],
  ["chunks in any case", withFields("transfer-encoding: CHUNKED\r\n"), { hasBody: true }],
  ["expectation", withFields("Content-Length: 1\r\nExpect: 100-Continue\r\n"), { expectContinue: true }],
  ["expectation without a body means nothing", withFields("Expect: 100-continue\r\n"), { expectContinue: false }],
  ["close", withFields("Connection: Close\r\n"), { persistent: false }],
  ["a list in Connection", withFields("Connection: , x ,close ,\r\n"), { persistent: false }],
  ["HTTP/1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", { persistent: true }],
  ["a WebSocket", withFields("Connection: Upgrade\r\nUpgrade: WebSocket\r\n", "GET / HTTP/1.1"), { websocket: true }],
  [
    "an upgrade that Connection does not name",
    withFields("Upgrade: websocket\r\n"),
    { websocket: false, upgradeField: -1 },
  ],
  ["h2c is not taken", withFields("Connection: upgrade\r\nUpgrade: h2c\r\n"), { upgradeField: -1 }],
  ["another Baton hop", withFields("Via: 1.1 gw (baton)\r\n"), { fromBaton: true }],
  ["another proxy", withFields("Via: 1.1 squid\r\n"), { fromBaton: false }],
];

test.each(VALID)("taken: %s", (_name, text, wanted) => {
  expect(parse(text)).toBe(text.length);
  for (const [key, value] of Object.entries(wanted)) expect(head).toHaveProperty(key, value);
});

// RACES, "Request smuggling", and what else two parsers could read differently.
const INVALID: readonly (readonly [string, string, number])[] = [
  [
    "Content-Length with Transfer-Encoding",
    withFields("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
    REFUSED.framing,
  ],
  ["the same in the other order", withFields("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"), REFUSED.framing],
  ["repeated Content-Length", withFields("Content-Length: 1\r\nContent-Length: 1\r\n"), REFUSED.contentLength],
  ["a list of lengths", withFields("Content-Length: 1, 1\r\n"), REFUSED.contentLength],
  ["a signed length", withFields("Content-Length: +1\r\n"), REFUSED.contentLength],
  ["a negative length", withFields("Content-Length: -1\r\n"), REFUSED.contentLength],
  ["a hexadecimal length", withFields("Content-Length: 0x1\r\n"), REFUSED.contentLength],
  ["an empty length", withFields("Content-Length:\r\n"), REFUSED.contentLength],
  ["a huge length", withFields(`Content-Length: ${"9".repeat(17)}\r\n`), REFUSED.contentLength],
  ["an unknown coding", withFields("Transfer-Encoding: gzip\r\n"), REFUSED.coding],
  ["another coding before chunked", withFields("Transfer-Encoding: gzip, chunked\r\n"), REFUSED.coding],
  ["chunked that is not last", withFields("Transfer-Encoding: chunked, gzip\r\n"), REFUSED.transferEncoding],
  ["chunked twice", withFields("Transfer-Encoding: chunked, chunked\r\n"), REFUSED.transferEncoding],
  [
    "chunked twice, in two fields",
    withFields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    REFUSED.transferEncoding,
  ],
  ["a coding that only looks like chunked", withFields("Transfer-Encoding: xchunked\r\n"), REFUSED.coding],
  ["chunked with a vertical tab", withFields("Transfer-Encoding: \x0bchunked\r\n"), REFUSED.fieldLine],
  ["chunks in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", REFUSED.framing],
  ["obs-fold", withFields("X: a\r\n b\r\n"), REFUSED.fieldLine],
  ["a bare LF", "GET / HTTP/1.1\nHost: a\n\n", REFUSED.startLine],
  ["a bare LF behind a field", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", REFUSED.fieldLine],
  ["a bare CR in a value", withFields("X: a\rb\r\n"), REFUSED.fieldLine],
  ["a space before the colon", withFields("X : a\r\n"), REFUSED.fieldLine],
  ["a space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", REFUSED.fieldLine],
  ["a field without a name", withFields(": a\r\n"), REFUSED.fieldLine],
  ["a field without a colon", withFields("abc\r\n"), REFUSED.fieldLine],
  ["NUL in a value", withFields("X: a\0b\r\n"), REFUSED.fieldLine],
  ["NUL in a name", withFields("X\0: a\r\n"), REFUSED.fieldLine],
  ["DEL in a value", withFields("X: a\x7f\r\n"), REFUSED.fieldLine],
  ["an odd name", withFields("X(y): a\r\n"), REFUSED.fieldLine],
  ["no Host", "GET / HTTP/1.1\r\nX: a\r\n\r\n", REFUSED.host],
  ["two Hosts", withFields("Host: b\r\n"), REFUSED.host],
  ["a Host with userinfo", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", REFUSED.host],
  ["a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", REFUSED.host],
  ["a list of Hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", REFUSED.host],
  ["two spaces in the request line", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED.startLine],
  ["a tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED.startLine],
  ["a space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", REFUSED.startLine],
  ["a request line without a version", "GET /\r\nHost: a\r\n\r\n", REFUSED.startLine],
  ["HTTP/2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", REFUSED.version],
  ["HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", REFUSED.version],
  ["HTTP/1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", REFUSED.startLine],
  ["http/1.1", "GET / http/1.1\r\nHost: a\r\n\r\n", REFUSED.startLine],
  ["a relative target", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED.target],
  ["an asterisk for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED.target],
  ["another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED.target],
  ["userinfo in the target", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED.target],
  ["a target without an authority", "GET http:///p HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED.target],
  ["a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED.startLine],
  ["CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED.target],
  ["a TLS hello", "\x16\x03\x01\x02\x00\x01\x00", REFUSED.startLine],
  ["another expectation", withFields("Content-Length: 1\r\nExpect: tea\r\n"), REFUSED.expectation],
  ["too long a target", `GET /${"x".repeat(1_100)} HTTP/1.1\r\n`, REFUSED.targetTooLong],
  ["too many fields", withFields("X: y\r\n".repeat(25)), REFUSED.tooManyFields],
  ["too large a head", withFields(`X: ${"y".repeat(4_100)}\r\n`), REFUSED.headTooLarge],
  ["too large a head that has not ended", `GET / HTTP/1.1\r\nHost: a\r\nX: ${"y".repeat(4_100)}`, REFUSED.headTooLarge],
];

test.each(INVALID)("refused: %s", (_name, text, code) => {
  expect(parse(text)).toBe(code === REFUSED.target && text.startsWith("CONNECT") ? REFUSED.method : code);
});

test("every proper beginning of a valid head is incomplete, never wrong", () => {
  for (const [, text] of VALID) {
    for (let length = 0; length < text.length; length++) {
      expect([text.slice(0, length), parse(text.slice(0, length))]).toEqual([text.slice(0, length), INCOMPLETE]);
    }
  }
});

test("an authority of absolute-form outranks Host", () => {
  const text = "GET http://real/p HTTP/1.1\r\nHost: other\r\n\r\n";
  parse(text);
  expect([text.slice(head.hostStart, head.hostEnd), text.slice(head.targetStart, head.targetEnd)]).toEqual([
    "real",
    "/p",
  ]);
});
