/**
 * The codec against arbitrary splits and mutations. The oracle for "two parsers read it differently" is node:http's
 * own strict parser: whatever Baton forwards must be to it the very message that was sent.
 */
import fc from "fast-check";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BodyReader } from "../../../agent/proxy/http1/body.ts";
import { ChunkedDecoder, FOUND } from "../../../agent/proxy/http1/chunked.ts";
import { Out } from "../../../agent/proxy/http1/out.ts";
import { INCOMPLETE } from "../../../agent/proxy/http1/fields.ts";
import { RequestHead } from "../../../agent/proxy/http1/request.ts";
import { BODY, ResponseHead } from "../../../agent/proxy/http1/response.ts";
import { DEFAULT_LIMITS } from "../../../agent/proxy/limits.ts";
import { EventBoundary } from "../../../agent/proxy/sse.ts";
import { FrameWalker } from "../../../agent/proxy/tunnel/frames.ts";
import { Kit, endpoint, eventually } from "../../support/proxy-kit.ts";

const token = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,12}$/);
const value = fc.stringMatching(/^[!-~]([ -~]{0,30}[!-~])?$/);
const STEERING =
  /^(host|connection|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade|content-length|expect|via|max-forwards|x-forwarded-.*|x-request-id|traceparent|http2-settings)$/i;
const fields = fc.array(
  fc.tuple(
    token.filter((name) => !STEERING.test(name)).map((name) => `x-${name}`),
    value,
  ),
  { maxLength: 12 },
);
const method = fc.constantFrom("GET", "POST", "PUT", "DELETE", "PATCH");
const path = fc.stringMatching(/^\/[A-Za-z0-9/_.~%-]{0,40}(\?[A-Za-z0-9=&]{0,20})?$/);
const content = fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes));
const cuts = fc.array(fc.nat(), { maxLength: 12 });

interface Message {
  readonly method: string;
  readonly path: string;
  readonly fields: readonly (readonly [string, string])[];
  readonly body: Buffer;
  readonly bytes: Buffer;
}

/** `bytes` cut at arbitrary places. */
function split(bytes: Buffer, at: readonly number[]): Buffer[] {
  const places = [...new Set(at.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...places, bytes.length].map((to, i) => bytes.subarray(i === 0 ? 0 : places[i - 1], to));
}

function chunked(body: Buffer, at: readonly number[]): Buffer {
  const chunks = split(body, at).filter((part) => part.length > 0);
  const parts = chunks.flatMap((part) => [Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n")]);
  return Buffer.concat([...parts, Buffer.from("0\r\n\r\n")]);
}

const message = fc
  .tuple(method, path, fields, content, fc.boolean(), cuts)
  .map(([verb, target, list, body, inChunks, at]): Message => {
    const framing = inChunks ? "Transfer-Encoding: chunked\r\n" : `Content-Length: ${String(body.length)}\r\n`;
    const lines = list.map(([name, text]) => `${name}: ${text}\r\n`).join("");
    const head = `${verb} ${target} HTTP/1.1\r\nHost: shop\r\n${lines}${framing}\r\n`;
    const bytes = Buffer.concat([Buffer.from(head, "latin1"), inChunks ? chunked(body, at) : body]);
    return { method: verb, path: target, fields: list, body, bytes };
  });

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly string[];
  readonly body: Buffer;
}

const seen: Seen[] = [];
const app = createServer((req, res) => {
  const parts: Buffer[] = [];
  req.on("data", (part: Buffer) => parts.push(part));
  req.on("error", () => undefined);
  req.on("end", () => {
    seen.push({ method: req.method ?? "", url: req.url ?? "", headers: req.rawHeaders, body: Buffer.concat(parts) });
    res.end("ok");
  });
});
let kit: Kit;
beforeAll(async () => {
  await new Promise<void>((resolve) => app.listen(0, "127.0.0.1", resolve));
  kit = await Kit.start([endpoint("a", (app.address() as AddressInfo).port, 1)]);
});
afterAll(async () => {
  await kit[Symbol.asyncDispose]();
  app.closeAllConnections();
  app.close();
});

test("a valid request, however it is cut, arrives as the message that it is", async () => {
  await fc.assert(
    fc.asyncProperty(message, cuts, async (sent, at) => {
      seen.length = 0;
      const client = await kit.client();
      for (const part of split(sent.bytes, at)) {
        client.send(part);
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect((await client.response()).status).toBe(200);
      client.socket.destroy();
      const [got] = seen;
      expect(seen).toHaveLength(1);
      expect([got!.method, got!.url]).toEqual([sent.method, sent.path]);
      expect(got!.body.equals(sent.body)).toBe(true);
      for (const [name, text] of sent.fields) {
        const pairs = got!.headers.map((header, i) => (i % 2 === 0 ? `${header}: ${got!.headers[i + 1]!}` : ""));
        expect(pairs).toContain(`${name}: ${text}`);
      }
    }),
    { numRuns: 150 },
  );
});

const mutation = fc.tuple(
  fc.constantFrom("flip", "drop", "insert", "double"),
  fc.nat(),
  fc.integer({ min: 0, max: 255 }),
);

function mutate(bytes: Buffer, changes: readonly (readonly [string, number, number])[]): Buffer {
  let result = Buffer.from(bytes);
  for (const [kind, place, byte] of changes) {
    const at = place % Math.max(1, result.length);
    const before = result.subarray(0, at);
    const rest = result.subarray(at);
    if (kind === "flip") result = Buffer.concat([before, Buffer.from([byte]), rest.subarray(1)]);
    else if (kind === "drop") result = Buffer.concat([before, rest.subarray(1)]);
    else if (kind === "insert") result = Buffer.concat([before, Buffer.from([byte]), rest]);
    else result = Buffer.concat([before, rest.subarray(0, 40), rest]);
  }
  return result;
}

test("a damaged request is refused, or forwarded as a message that a strict parser takes; never more messages than answers", async () => {
  await fc.assert(
    fc.asyncProperty(message, fc.array(mutation, { minLength: 1, maxLength: 4 }), async (sent, changes) => {
      seen.length = 0;
      const client = await kit.client();
      client.send(mutate(sent.bytes, changes));
      client.socket.end();
      await client.end();
      // Whatever reached the app is known to the client: nothing was smuggled behind its back.
      const statuses = [...client.text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status);
      const taken = statuses.filter((status) => status === "200").length;
      await eventually(() => seen.length === taken);
      expect(statuses.filter((status) => status!.startsWith("5") && status !== "501" && status !== "505")).toEqual([]);
      client.socket.destroy();
    }),
    { numRuns: 250 },
  );
  expect((await kit.books(1)).inFlight).toBe(0);
});

test("a head is read the same whole or from any beginning: incomplete until its last byte", () => {
  const heads = [new RequestHead(DEFAULT_LIMITS), new ResponseHead(DEFAULT_LIMITS)] as const;
  fc.assert(
    fc.property(message, fc.integer({ min: 100, max: 599 }), fc.nat(), (sent, status, place) => {
      const end = sent.bytes.indexOf("\r\n\r\n") + 4;
      const request = sent.bytes.subarray(0, end);
      const line = request.indexOf("\r\n");
      const response = Buffer.concat([Buffer.from(`HTTP/1.1 ${String(status)} Why not`), request.subarray(line)]);
      for (const [head, bytes] of [
        [heads[0], request],
        [heads[1], response],
      ] as const) {
        const part = place % bytes.length;
        expect(head.parse(bytes.subarray(0, part), 0, part)).toBe(INCOMPLETE);
        expect(head.parse(bytes, 0, bytes.length)).toBe(bytes.length);
      }
    }),
    { numRuns: 500 },
  );
});

test("arbitrary bytes make no parser throw, or stand still", () => {
  const request = new RequestHead(DEFAULT_LIMITS);
  const response = new ResponseHead(DEFAULT_LIMITS);
  const body = new BodyReader(DEFAULT_LIMITS);
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc
      .string({ unit: fc.constantFrom("\r", "\n", " ", ":", "0", "a", ";", "\t", "HTTP/1.1", "Host"), maxLength: 120 })
      .map((text) => Buffer.from(text)),
  );
  fc.assert(
    fc.property(noise, (data) => {
      const bytes = Buffer.from(data);
      request.parse(bytes, 0, bytes.length);
      response.parse(bytes, 0, bytes.length);
      body.begin(BODY.chunked, 0);
      for (let at = 0; ;) {
        const found = body.next(bytes, at, bytes.length);
        if (found !== FOUND.data) break;
        expect(body.at).toBeGreaterThan(at);
        at = body.at;
      }
      new EventBoundary().find(bytes, 0, bytes.length);
      new FrameWalker().walk(bytes, 0, bytes.length, "boundary");
    }),
    { numRuns: 3_000 },
  );
});

test("chunks that Baton writes are read back as what went in, however they are cut", () => {
  fc.assert(
    fc.property(
      fc.array(
        content.filter((part) => part.length > 0),
        { maxLength: 8 },
      ),
      cuts,
      (parts, at) => {
        const out = new Out(16);
        for (const part of parts) {
          out.chunkSize(part.length);
          out.bytes(part, 0, part.length);
          out.crlf();
        }
        out.text("0\r\n\r\n");
        const decoder = new ChunkedDecoder(100);
        const read: Buffer[] = [];
        let done = false;
        for (const piece of split(Buffer.from(out.view(0)), at)) {
          for (let place = 0; ; place = decoder.at) {
            const found = decoder.next(piece, place, piece.length);
            expect(found).not.toBe(FOUND.bad);
            if (found === FOUND.data) read.push(Buffer.from(piece.subarray(decoder.from, decoder.to)));
            else {
              done = found === FOUND.done;
              break;
            }
          }
        }
        expect(done).toBe(true);
        expect(Buffer.concat(read).equals(Buffer.concat(parts))).toBe(true);
      },
    ),
    { numRuns: 1_000 },
  );
});
