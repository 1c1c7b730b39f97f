/** Every way to lose something must be seen as lost, under its right name: a ledger that can't fail proves nothing. */
import type { Socket } from "node:net";
import { expect, test } from "vitest";
import { WebSocketServer } from "ws";
import { systemClock } from "../../../proto/runtime/system-clock.ts";
import type { Cause, ClientLedger, Kind } from "../../loss/ledger.ts";
import { ACTIONS, newRun } from "../../loss/traffic.ts";
import type { TrafficOptions } from "../../loss/traffic.ts";
import { answer, chunk, closeFrame, EVENTS_HEAD, hello, LAST_CHUNK, misbehaving, upgraded } from "./misbehaving.ts";
import type { RawRequest, Reaction } from "./misbehaving.ts";

type Settings = Partial<Omit<TrafficOptions, "rate" | "target" | "clock">>;

/** With 0.5 for all chance: a plain GET, no rest, an upload by length, a download at once. */
const even = { next: () => 0.5 };

/** Plays each kind to its end, one after the other, against a server that reacts so. */
async function play(kinds: readonly Kind[], react: Reaction, settings: Settings = {}): Promise<ClientLedger> {
  await using server = await misbehaving(react);
  return await at(server.target, kinds, settings);
}

async function at(target: TrafficOptions["target"], kinds: readonly Kind[], settings: Settings): Promise<ClientLedger> {
  const options = { target, clock: systemClock, random: even, timeoutMs: 5_000, ...settings };
  // Sessions leave at their first boundary, unless the server is quicker.
  const run = newRun(options, 8, AbortSignal.timeout(600));
  for (const kind of kinds) await ACTIONS[kind](run);
  run.pool.close();
  return run.ledger.read(0);
}

function expectLost(ledger: ClientLedger, cause: Cause, detail: RegExp): void {
  expect(ledger.causes, JSON.stringify(ledger.losses)).toEqual({ [cause]: 1 });
  expect(ledger.losses[0]?.detail).toMatch(detail);
  expect(ledger.balanced).toBe(true);
  expect(ledger.clean).toBe(false);
}

const reset = (socket: Socket): void => void socket.resetAndDestroy();
/** Ends after what was written has gone. */
const thenReset = (socket: Socket, text: string): void => void socket.write(text, () => setTimeout(reset, 50, socket));

const oneRequest: readonly (readonly [string, Kind, Cause, RegExp, Reaction])[] = [
  [
    "a reset in mid-body",
    "get",
    "answer_cut",
    /ECONNRESET.*bytes missing/,
    (s) => thenReset(s, answer(200, "x".repeat(50)).slice(0, -9)),
  ],
  [
    "a FIN in mid-body",
    "get",
    "answer_cut",
    /closed by the peer.*9 bytes missing/,
    (s) => s.end(answer(200, "x".repeat(50)).slice(0, -9)),
  ],
  ["a FIN in mid-head", "get", "answer_cut", /cut in its head/, (s) => s.end("HTTP/1.1 200 OK\r\ncontent-le")],
  [
    "a chunk cut short",
    "download",
    "answer_cut",
    /chunked body \(data\)/,
    (s) => s.end(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n40\r\nshort`),
  ],
  [
    "no last chunk",
    "download",
    "answer_cut",
    /chunked body \(size\)/,
    (s) => s.end(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunk("all")}`),
  ],
  ["a new connection closed without a word", "get", "no_answer", /closed by the peer/, (s) => s.end()],
  ["a new connection reset without a word", "post", "no_answer", /ECONNRESET/, reset],
  ["an answer to another request", "get", "bad_answer", /"n" is not/, (s) => s.write(answer(200, '{"n":"other"}'))],
  [
    "length and chunked together",
    "get",
    "bad_answer",
    /both Content-Length/,
    (s) => s.write(answer(200, "x", "transfer-encoding: chunked\r\n")),
  ],
  ["two lengths", "get", "bad_answer", /two Content-Length/, (s) => s.write(answer(200, "x", "content-length: 1\r\n"))],
  ["bytes beyond the answer's end", "get", "bad_answer", /4 bytes after/, (s, r) => s.write(`${hello(r)}more`)],
  [
    "a bad chunk size",
    "get",
    "bad_answer",
    /bad chunk size/,
    (s) => s.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n"),
  ],
  ["no HTTP at all", "get", "bad_answer", /not a status line/, (s) => s.write("SSH-2.0-OpenSSH\r\n\r\n")],
  [
    "a wrong download",
    "download",
    "bad_checksum",
    /sha256 differs/,
    (s, r) => s.write(answer(200, "x".repeat(lengthOf(r)), `x-demo-sha256: ${"0".repeat(64)}\r\n`)),
  ],
  ["a short download, well framed", "download", "bad_checksum", /3 bytes of/, (s) => s.write(answer(200, "abc"))],
  [
    "an order done twice",
    "post",
    "done_twice",
    /2 times/,
    (s, r) => s.write(answer(201, JSON.stringify({ id: r.id, times: 2 }))),
  ],
  [
    "an answer of Baton's own",
    "get",
    "proxy_error",
    /503 baton-error: no_instance/,
    (s) => s.write(answer(503, "", "baton-error: no_instance\r\n")),
  ],
  [
    "a 502 without the app's mark",
    "get",
    "proxy_error",
    /502 without/,
    (s) => s.write("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"),
  ],
  [
    "a 408 where nobody was slow",
    "post",
    "proxy_error",
    /408 without/,
    (s) => s.end("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
  ],
  ["no Connection: close in answer to one", "short", "bad_answer", /no Connection: close/, (s, r) => s.write(hello(r))],
];

const lengthOf = (request: RawRequest): number => Number(/bytes=(\d+)/.exec(request.path)?.[1]);
const random = (value: number): { readonly next: () => number } => ({ next: () => value });

test.each(oneRequest)("%s is lost", async (_, kind, cause, detail, react) => {
  // Below 0.5 a short request asks for Connection: close; between 0.1 and 0.25 a GET is still a plain one.
  const settings = kind === "short" ? { random: random(0.3) } : {};
  expectLost(await play([kind], react, settings), cause, detail);
});

test("a refused connection is lost", async () => {
  const server = await misbehaving(() => undefined);
  await server[Symbol.asyncDispose]();
  expectLost(await at(server.target, ["short"], {}), "connect_refused", /ECONNREFUSED/);
  expectLost(await at(server.target, ["websocket"], {}), "connect_refused", /ECONNREFUSED/);
});

test("a silent server is lost after the timeout, in requests and in sockets", async () => {
  const settings = { timeoutMs: 200 };
  expectLost(await play(["get"], () => undefined, settings), "timeout", /nothing moved for \d+ ms/);
  const mute: Reaction = (socket, request) => void socket.write(upgraded(request));
  expectLost(await play(["websocket"], mute, settings), "timeout", /nothing moved/);
});

const closesOnReuse: Reaction = (socket, request) => {
  if (request.nth > 1) socket.end();
  else socket.write(hello(request));
};

test("a request on a reused connection that closes is lost, unless the client may send it again", async () => {
  const strict = await play(["get", "get"], closesOnReuse);
  expectLost(strict, "reused_closed", /closed by the peer/);
  expect(strict.losses[0]).toMatchObject({ reuses: 1, bytesReceived: 0, version: "v9", kind: "get" });
  expect(strict.losses[0]?.bytesSent).toBeGreaterThan(100);

  const retrying = await play(["get", "get"], closesOnReuse, { rfcRetry: true });
  expect(retrying).toMatchObject({ clean: true, total: { started: 2, ok: 2, lost: 0, retried: 1 } });

  // A POST may have been done: no client may send it again unasked.
  const posting = await play(["get", "post"], closesOnReuse, { rfcRetry: true });
  expectLost(posting, "reused_closed", /closed/);
});

test("a connection that closes between two requests is no loss", async () => {
  await using server = await misbehaving((socket, request) => {
    socket.write(hello(request), () => setTimeout(() => socket.end(), 20));
  });
  const run = newRun({ target: server.target, clock: systemClock, random: even }, 8, AbortSignal.timeout(5_000));
  await ACTIONS.get(run);
  await expect.poll(() => run.ledger.read(0).counters.idleClosed).toBe(1);
  await ACTIONS.get(run);
  expect(run.ledger.read(0)).toMatchObject({ clean: true, total: { ok: 2 }, counters: { connections: 2, reused: 0 } });
  run.pool.close();
});

test("Connection: close is respected: the next request takes a new connection", async () => {
  await using server = await misbehaving((socket, request) => {
    socket.write(answer(200, JSON.stringify({ n: request.id }), "connection: close\r\n"));
  });
  const ledger = await at(server.target, ["get", "get", "get"], {});
  expect(ledger).toMatchObject({ clean: true, total: { ok: 3 }, counters: { farewells: 3, reused: 0 } });
  expect(server.connections).toBe(3);
});

test("bytes on an idle connection make the ledger unclean, though no exchange is lost", async () => {
  await using server = await misbehaving((socket, request) => {
    if (request.nth === 1)
      socket.write(hello(request), () => setTimeout(() => socket.write("HTTP/1.1 408 Late\r\n\r\n"), 30));
  });
  const run = newRun({ target: server.target, clock: systemClock, random: even }, 8, AbortSignal.timeout(5_000));
  await ACTIONS.get(run);
  await expect.poll(() => run.ledger.read(0).counters.violations).toBe(1);
  expect(run.ledger.read(0)).toMatchObject({ clean: false, balanced: true, total: { ok: 1, lost: 0 } });
  run.pool.close();
});

test("the app's own 500 is the app's, and no loss", async () => {
  const ledger = await play(["get", "post", "events", "websocket"], (socket, request) => {
    void socket.end(answer(500, "{}", `connection: close\r\nx-for: ${request.id}\r\n`));
  });
  expect(ledger).toMatchObject({ balanced: true, clean: true, appErrorStatuses: { "500": 4 } });
  expect(ledger.total).toMatchObject({ appErrors: 4, lost: 0, ok: 0 });
});

test("an upload that is answered before it was sent is lost, and its rest is not sent", async () => {
  let socketOfUpload: Socket | undefined;
  const ledger = await play(["upload"], (socket, request) => {
    socketOfUpload = socket;
    socket.write(answer(200, JSON.stringify({ bytes: 0, for: request.id })));
  });
  expectLost(ledger, "bad_answer", /before the body was sent/);
  expect(socketOfUpload?.bytesRead).toBeLessThan(64 << 10);
});

const event = (id: number): string => chunk(`id: ${id}\ndata: {}\n\n`);

const streams: readonly (readonly [string, Cause, RegExp, (socket: Socket) => unknown])[] = [
  [
    "torn by a clean end",
    "event_torn",
    /inside an event/,
    (s) => s.write(EVENTS_HEAD + event(1) + chunk("id: 2\nda") + LAST_CHUNK),
  ],
  ["torn by a FIN", "event_torn", /closed by the peer/, (s) => s.end(EVENTS_HEAD + event(1) + chunk("id: 2\nda"))],
  [
    "cut by a FIN between two events",
    "stream_cut",
    /chunked body \(size\)/,
    (s) => s.end(EVENTS_HEAD + event(1) + event(2)),
  ],
  ["cut by a reset between two events", "stream_cut", /ECONNRESET/, (s) => thenReset(s, EVENTS_HEAD + event(1))],
  ["with an event missing", "event_gap", /"3" after 1/, (s) => s.write(EVENTS_HEAD + event(1) + event(3))],
  ["with an event twice", "event_gap", /"1" after 1/, (s) => s.write(EVENTS_HEAD + event(1) + event(1))],
  ["of another type", "bad_answer", /not text\/event-stream/, (s) => s.write(answer(200, "id: 1\n\n"))],
];

test.each(streams)("an event stream %s is lost", async (_, cause, detail, act) => {
  expectLost(await play(["events"], (socket) => void act(socket)), cause, detail);
});

test("an event stream that ends politely is drained, and goes on after the last event it had", async () => {
  const resumed: string[] = [];
  const ledger = await play(["events"], (socket, request) => {
    const last = Number(/last-event-id: (\d+)/.exec(request.head)?.[1] ?? 0);
    resumed.push(String(last));
    if (resumed.length === 3) socket.write(EVENTS_HEAD + event(last + 1) + event(last + 1));
    else socket.write(EVENTS_HEAD + event(last + 1) + event(last + 2) + LAST_CHUNK);
  });
  expect(resumed).toEqual(["0", "2", "4"]);
  // The third stream repeats itself, which shows that the count runs on over reconnects.
  expect(ledger.kinds.events).toMatchObject({ started: 3, drained: 2, lost: 1 });
  expectLost(ledger, "event_gap", /"5" after 5/);
});

const sockets: readonly (readonly [string, Cause, RegExp, Reaction])[] = [
  [
    "dropped by a FIN",
    "socket_cut",
    /closed 1006/,
    (s, r) => s.write(upgraded(r), () => setTimeout(() => s.end(), 50)),
  ],
  ["dropped by a reset", "socket_cut", /closed 1006.*ECONNRESET/, (s, r) => thenReset(s, upgraded(r))],
  [
    "closed with 1011",
    "socket_cut",
    /closed 1011/,
    (s, r) => {
      s.write(upgraded(r));
      setTimeout(() => s.write(closeFrame(1011)), 50);
    },
  ],
  [
    "closed politely with a message unanswered",
    "socket_unanswered",
    /closed 1012, 2 unanswered, the first said/,
    (s, r) => {
      s.write(upgraded(r));
      setTimeout(() => s.write(closeFrame(1012)), 50);
    },
  ],
  [
    "refused by the proxy",
    "proxy_error",
    /503 baton-error: overload/,
    (s) => s.end(answer(503, "", "baton-error: overload\r\n")),
  ],
  ["refused by nobody", "upgrade_refused", /502/, (s) => s.end("HTTP/1.1 502 Bad\r\ncontent-length: 0\r\n\r\n")],
  ["not even answered", "no_answer", /hang up|RESET/, (s) => s.end()],
];

test.each(sockets)("a WebSocket %s is lost", async (_, cause, detail, react) => {
  expectLost(await play(["websocket"], react), cause, detail);
});

/** A real WebSocket server that answers as told. */
async function talk(reply: (n: number, text: string) => string | number, settings: Settings): Promise<ClientLedger> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await new Promise((done) => server.once("listening", done));
  let n = 0;
  server.on("connection", (socket) => {
    socket.on("message", (message: Buffer) => {
      n += 1;
      const said = reply(n, message.toString());
      if (typeof said === "number") socket.close(said);
      else socket.send(said);
    });
  });
  try {
    const { port } = server.address() as { readonly port: number };
    return await at({ host: "127.0.0.1", port }, ["websocket"], settings);
  } finally {
    for (const client of server.clients) client.terminate();
    await new Promise((done) => server.close(done));
  }
}

const echo = (text: string): string => JSON.stringify({ echo: text, version: "v9" });

test("a WebSocket whose echoes come in the wrong order is lost", async () => {
  expectLost(await talk((n, text) => echo(n === 3 ? `2 ${text}` : text), {}), "socket_wrong", /wanted "3/);
});

test("a message that met a polite close is lost, or said again where the client is told to", async () => {
  const swallow = (n: number, text: string): string | number => (n === 3 ? 1012 : echo(text));
  expectLost(await talk(swallow, {}), "socket_unanswered", /1 unanswered|2 unanswered/);

  const resent = await talk(swallow, { resend: true });
  expect(resent.kinds.websocket).toMatchObject({ started: 2, drained: 1, ok: 1, lost: 0, retried: 1 });
});

test("a WebSocket closed politely at rest is drained, and the talk goes on over the next one", async () => {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await new Promise((done) => server.once("listening", done));
  let connections = 0;
  server.on("connection", (socket) => {
    connections += 1;
    let heard = 0;
    socket.on("message", (message: Buffer) => {
      socket.send(echo(message.toString()));
      heard += 1;
      // At 0.5 for all chance it says two at a time, and rests.
      if (connections === 1 && heard === 2) setTimeout(() => socket.close(1001), 50);
    });
  });
  const { port } = server.address() as { readonly port: number };
  const ledger = await at({ host: "127.0.0.1", port }, ["websocket"], {});
  expect(ledger.kinds.websocket).toMatchObject({ started: 2, drained: 1, ok: 1, lost: 0 });
  expect(ledger.clean).toBe(true);
  await new Promise((done) => server.close(done));
});
