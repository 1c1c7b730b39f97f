/**
 * The demo app's answers: one of each thing that an update can break. Every answer says who gave it, in the headers
 * `x-demo-version` and `x-demo-instance`, so that a client can see a rollout pass by.
 *
 *   GET  /                   an HTML page
 *   GET  /api/hello?n=ID     ~100 bytes of JSON; ID comes back, so that a swapped answer shows
 *   POST /api/orders         {"id"}: not idempotent; says how often this instance has seen the id
 *   POST /upload             {bytes, sha256} of the body
 *   GET  /download?bytes=N&ms=T&chunked=1   known bytes, over T ms, `x-demo-sha256` in the head
 *   GET  /events?count=N     server-sent events, one each 200 ms, ids 1, 2, …; goes on after Last-Event-ID
 *   GET  /poll?ms=T          answers after T ms
 *   GET  /slow?ms=T          the head at once, the body after T ms
 *   GET  /ws                 WebSocket: each message comes back in JSON, with this connection's number for it
 *   GET  /stats              how many requests of the above this instance has seen, and has in its hands
 *   GET  /healthz            200, or 503 while not ready or stopping
 *
 * Built on node:http with its defaults, the 5 s keep-alive timeout among them, on purpose: it closes idle connections
 * under a proxy's feet, as most apps do (RACES R1).
 */
import { createHash } from "node:crypto";
import { createServer, STATUS_CODES } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { setTimeout as wait } from "node:timers/promises";
import { WebSocketServer } from "ws";
import type { WebSocket } from "ws";
import type { Behaviour } from "./behaviour.ts";
import { Faults } from "./faults.ts";
import { page } from "./page.ts";
import type { Identity } from "./page.ts";
import { pattern, patternSha256 } from "./pattern.ts";

const EVENT_EVERY_MS = 200;
const MAX_BYTES = 1 << 30;
const MAX_WAIT_MS = 120_000;
const ORDERS_KEPT = 20_000;
const SERVICE_RESTART = 1012;

export interface DemoApp {
  readonly server: Server;
  /** Requests, streams and WebSockets that are not over yet. */
  inFlight(): number;
  /** No more work: event streams end between two events, WebSockets close with 1012, the rest is finished. */
  stop(): void;
}

export interface DemoOptions {
  readonly identity: Identity;
  readonly behaviour: Behaviour;
  /** Ends the process, as the behaviour asks for; whatever is in flight goes with it. */
  readonly crash: () => void;
}

type Handler = (request: IncomingMessage, response: ServerResponse, query: URLSearchParams) => Promise<void> | void;

/** What is not the app's own work: it is not counted, and no behaviour but readiness touches it. */
const ASIDE: ReadonlySet<string> = new Set(["/healthz", "/stats"]);

export function demoApp({ identity, behaviour, crash }: DemoOptions): DemoApp {
  const { version, instance } = identity;
  const faults = new Faults(behaviour);
  const faultOf = (request: IncomingMessage, inFlight: number): ReturnType<Faults["of"]> =>
    faults.of(performance.now(), inFlight, (name) => request.headers[name] !== undefined);
  const stopping = new AbortController();
  const sockets = new Set<WebSocket>();
  const orders = new Map<string, number>();
  let running = 0;

  const json = (response: ServerResponse, status: number, body: object): void => {
    const text = JSON.stringify({ ...body, version, instance });
    response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
    response.end(text);
  };

  const handlers: Readonly<Record<string, Handler>> = {
    "GET /": (_request, response) => {
      response.setHeader("content-type", "text/html; charset=utf-8");
      response.end(page(identity));
    },
    "GET /api/hello": (_request, response, query) => {
      json(response, 200, { hello: "world", n: query.get("n") ?? "" });
    },
    "POST /api/orders": async (request, response) => {
      const id = orderId(await text(request));
      if (id === undefined) {
        json(response, 400, { error: 'the body must be JSON with a text "id"' });
        return;
      }
      const times = (orders.get(id) ?? 0) + 1;
      orders.set(id, times);
      const oldest = orders.size > ORDERS_KEPT ? orders.keys().next().value : undefined;
      if (oldest !== undefined) orders.delete(oldest);
      json(response, 201, { id, times });
    },
    "POST /upload": async (request, response) => {
      const hash = createHash("sha256");
      let bytes = 0;
      for await (const chunk of request as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        hash.update(chunk);
      }
      json(response, 200, { bytes, sha256: hash.digest("hex") });
    },
    "GET /download": async (request, response, query) => {
      const bytes = number(query.get("bytes"), 1_024, MAX_BYTES);
      response.setHeader("content-type", "application/octet-stream");
      response.setHeader("x-demo-sha256", patternSha256(bytes));
      if (query.get("chunked") === null) response.setHeader("content-length", bytes);
      const slices = number(query.get("ms"), 0, MAX_WAIT_MS) / 50;
      const step = Math.max(1, Math.ceil(bytes / Math.max(1, slices)));
      for (let at = 0; at < bytes && !request.destroyed; at += step) {
        for (const piece of pattern(at, Math.min(bytes, at + step))) await written(response, piece);
        if (slices >= 1 && at + step < bytes) await wait(50);
      }
      response.end();
    },
    "GET /events": async (request, response, query) => {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      const first = number(header(request, "last-event-id"), 0, Number.MAX_SAFE_INTEGER) + 1;
      const last = first + number(query.get("count"), Number.MAX_SAFE_INTEGER / 2, Number.MAX_SAFE_INTEGER / 2);
      for (let id = first; id < last && !response.destroyed; id++) {
        await written(response, `id: ${id}\ndata: ${JSON.stringify({ id, version, instance })}\n\n`);
        // An aborted wait is the end between two events: the stream then ends politely.
        await wait(EVENT_EVERY_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
        if (stopping.signal.aborted) break;
      }
      response.end();
    },
    "GET /poll": async (_request, response, query) => {
      const ms = number(query.get("ms"), 1_000, MAX_WAIT_MS);
      await wait(ms);
      json(response, 200, { waited: ms, n: query.get("n") ?? "" });
    },
    "GET /slow": async (_request, response, query) => {
      response.writeHead(200, { "content-type": "text/plain" });
      response.flushHeaders();
      await wait(number(query.get("ms"), 1_000, MAX_WAIT_MS));
      response.end(`slow but sure, ${version}\n`);
    },
    "GET /stats": (_request, response) => {
      json(response, 200, { seen: faults.seen, inFlight: running });
    },
    "GET /healthz": (_request, response) => {
      if (stopping.signal.aborted) json(response, 503, { status: "stopping" });
      else if (!behaviour.ready) json(response, 503, { status: "not ready: no database" });
      else json(response, 200, { status: "ok" });
    },
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? "/", "http://demo");
    const method = request.method === "HEAD" ? "GET" : (request.method ?? "");
    response.setHeader("x-demo-version", version);
    response.setHeader("x-demo-instance", instance);
    if (stopping.signal.aborted) response.setHeader("connection", "close");
    const handler = handlers[`${method} ${url.pathname}`];
    if (handler === undefined) {
      json(response, 404, { error: `no such thing: ${method} ${url.pathname}` });
      return;
    }
    if (!ASIDE.has(url.pathname)) {
      const fault = faultOf(request, running);
      if (fault.kind === "crash") {
        crash();
        return;
      }
      if (fault.delayMs > 0) await wait(fault.delayMs);
      if (fault.kind === "error") {
        json(response, fault.status, { error: fault.why });
        return;
      }
    }
    await handler(request, response, url.searchParams);
  };

  const server = createServer((request, response) => {
    running += 1;
    response.once("close", () => (running -= 1));
    answer(request, response).catch((error: unknown) => {
      // The client is gone in mid-body, or a defect: either way this exchange can't be ended cleanly.
      if (!request.destroyed) console.error(`request failed: ${String(error)}`);
      response.destroy();
    });
  });

  const upgrades = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  upgrades.on("headers", (headers) => headers.push(`x-demo-version: ${version}`, `x-demo-instance: ${instance}`));
  upgrades.on("connection", (socket: WebSocket) => {
    let n = 0;
    running += 1;
    sockets.add(socket);
    socket.once("close", () => {
      running -= 1;
      sockets.delete(socket);
    });
    socket.on("error", () => socket.terminate());
    socket.on("message", (message: Buffer) => {
      n += 1;
      const reply = JSON.stringify({ n, echo: message.toString(), version, instance });
      if (behaviour.delayMs === 0) socket.send(reply);
      else void wait(behaviour.delayMs).then(() => socket.send(reply, () => undefined));
    });
    if (stopping.signal.aborted) socket.close(SERVICE_RESTART, "service restart");
  });
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => socket.destroy());
    const path = new URL(request.url ?? "/", "http://demo").pathname;
    const fault = faultOf(request, running + 1);
    if (fault.kind === "crash") crash();
    const refused = fault.kind === "error" ? `${fault.status} ${STATUS_CODES[fault.status] ?? ""}` : undefined;
    const status = path !== "/ws" ? "404 Not Found" : refused;
    if (status === undefined) {
      upgrades.handleUpgrade(request, socket, head, (ws) => upgrades.emit("connection", ws));
    } else {
      const who = `x-demo-version: ${version}\r\nx-demo-instance: ${instance}\r\n`;
      socket.end(`HTTP/1.1 ${status}\r\n${who}content-length: 0\r\nconnection: close\r\n\r\n`);
    }
  });

  return {
    server,
    inFlight: () => running,
    stop: () => {
      stopping.abort();
      server.close();
      for (const socket of sockets) socket.close(SERVICE_RESTART, "service restart");
    },
  };
}

function number(text: string | null, otherwise: number, most: number): number {
  const value = text === null ? otherwise : Number(text);
  return Number.isFinite(value) && value >= 0 ? Math.min(Math.floor(value), most) : otherwise;
}

function header(request: IncomingMessage, name: string): string | null {
  const value = request.headers[name];
  return typeof value === "string" ? value : null;
}

function orderId(body: string): string | undefined {
  try {
    const parsed: unknown = JSON.parse(body);
    const id: unknown = typeof parsed === "object" && parsed !== null && "id" in parsed ? parsed.id : undefined;
    return typeof id === "string" ? id : undefined;
  } catch {
    return undefined;
  }
}

async function text(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

/** Resolves when there is room for more, or the client is gone. */
function written(response: ServerResponse, chunk: Buffer | string): Promise<void> {
  return new Promise((done) => {
    if (response.destroyed || response.write(chunk)) {
      done();
      return;
    }
    const go = (): void => {
      response.off("drain", go);
      response.off("close", go);
      done();
    };
    response.on("drain", go);
    response.on("close", go);
  });
}
