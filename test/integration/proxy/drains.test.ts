import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import WebSocket, { WebSocketServer } from "ws";
import { Kit, endpoint, eventually, httpApp, rawApp, service } from "../../support/proxy-kit.ts";
import type { App } from "../../support/proxy-kit.ts";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/** A real WebSocket app that echoes, and remembers with which codes it was closed. */
async function echoApp(codes: number[]): Promise<{ port: number; server: WebSocketServer; close: () => void }> {
  const http = createServer();
  const server = new WebSocketServer({ server: http });
  server.on("connection", (socket) => {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
    socket.on("close", (code) => codes.push(code));
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const close = (): void => {
    for (const socket of server.clients) socket.terminate();
    server.close();
    http.close();
  };
  return { port: (http.address() as AddressInfo).port, server, close };
}

const opened = (port: number): Promise<WebSocket> =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${String(port)}/chat`);
    socket.once("open", () => resolve(socket));
    socket.once("error", reject);
  });

test("R5: a table that swaps versions in mid-traffic loses nothing, and tears no answer that runs", async () => {
  const v1 = await httpApp((_req, res) => setTimeout(() => res.end("v1"), 5));
  const v2 = await httpApp((_req, res) => setTimeout(() => res.end("v2"), 5));
  await using kit = await Kit.start([endpoint("a", v1.port, 1)]);
  kit.keep(v1, v2);
  let stop = false;
  const seen = { v1: 0, v2: 0 };
  const clients = await Promise.all(Array.from({ length: 8 }, () => kit.client()));
  const traffic = clients.map(async (client) => {
    while (!stop) {
      client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
      const answer = await client.response();
      expect(answer.status).toBe(200);
      seen[answer.body.toString() as "v1" | "v2"] += 1;
    }
  });
  for (let i = 0; i < 20; i++) {
    const [from, to] = i % 2 === 0 ? ["draining", "serving"] : ["serving", "draining"];
    kit.apply(
      service([], {
        versions: [
          {
            version: "v1",
            revision: 1,
            weight: i % 2 === 0 ? 0 : 10_000,
            endpoints: [endpoint("a", v1.port, 1, { mode: from as "serving" })],
          },
          {
            version: "v2",
            revision: 2,
            weight: i % 2 === 0 ? 10_000 : 0,
            endpoints: [endpoint("b", v2.port, 2, { mode: to as "serving" })],
          },
        ],
      }),
    );
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
  stop = true;
  await Promise.all(traffic);
  expect(seen.v1).toBeGreaterThan(0);
  expect(seen.v2).toBeGreaterThan(0);
  const [one, two] = [await kit.books(1), await kit.books(2)];
  expect([one.lost, two.lost, one.inFlight, two.inFlight]).toEqual([{}, {}, 0, 0]);
  expect(one.completed + two.completed).toBe(seen.v1 + seen.v2);
});

test("R14: an endpoint that drains keeps what runs on it, gets nothing new, and its in-flight count says when it is free", async () => {
  const held: (() => void)[] = [];
  const old = await httpApp((_req, res) => held.push(() => res.end("old")));
  const next = await httpApp((_req, res) => res.end("new"));
  await using kit = await Kit.start([endpoint("a", old.port, 1)]);
  kit.keep(old, next);
  const client = await kit.client();
  client.send(GET);
  await eventually(() => held.length === 1);
  kit.apply(service([endpoint("a", old.port, 1, { mode: "draining" }), endpoint("b", next.port, 2)]));
  for (let i = 0; i < 5; i++) expect((await kit.get()).body.toString()).toBe("new");
  expect(await kit.books(1)).toMatchObject({ started: 1, inFlight: 1 });
  held[0]!();
  expect((await client.response()).body.toString()).toBe("old");
  expect(await kit.books(1)).toMatchObject({ started: 1, inFlight: 0, completed: 1, drained: 1, lost: {}, cut: {} });
  client.send(GET);
  expect((await client.response()).body.toString()).toBe("new");
});

test("an endpoint that is gone from the table drains as one that is named draining", async () => {
  const held: (() => void)[] = [];
  const old = await httpApp((_req, res) => held.push(() => res.end("old")));
  await using kit = await Kit.start([endpoint("a", old.port, 1)]);
  kit.keep(old);
  const client = await kit.client();
  client.send(GET);
  await eventually(() => held.length === 1);
  kit.apply(service([]));
  held[0]!();
  expect((await client.response()).body.toString()).toBe("old");
  await eventually(() => old.sockets.size === 0);
});

test("R2: a draining worker answers what idle connections still send, and closes only the silent ones", async () => {
  const app = await httpApp((req, res) => req.resume().on("end", () => res.end("ok")));
  await using kit = await Kit.start([endpoint("a", app.port, 1)], { drainIdleMs: 300 });
  kit.keep(app);
  const [silent, late] = await Promise.all([kit.client(), kit.client()]);
  for (const client of [silent, late]) {
    client.send(GET);
    expect((await client.response()).headers["connection"]).toBe(undefined);
  }
  const drained = kit.proxy.drain();
  expect(kit.proxy.drain()).toBe(drained);
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(silent.ended).toBe(false);
  late.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
  const answer = await late.response();
  expect([answer.status, answer.headers["connection"]]).toEqual([200, "close"]);
  await Promise.all([silent.end(), late.end()]);
  silent.socket.end();
  late.socket.end();
  await drained;
});

test("R2: what came while the worker was busy is answered, though the connection's time was over meanwhile", async () => {
  const app = await httpApp((req, res) => req.resume().on("end", () => res.end("ok")));
  await using kit = await Kit.start([endpoint("a", app.port, 1)], { drainIdleMs: 100 });
  kit.keep(app);
  const client = await kit.client();
  client.send(GET);
  await client.response();
  const drained = kit.proxy.drain();
  await new Promise((resolve) => setTimeout(resolve, 30));
  // From here the loop comes to its timers before it reads.
  await new Promise((resolve) => setImmediate(resolve));
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
  const busyUntil = performance.now() + 300;
  while (performance.now() < busyUntil);
  const answer = await client.response();
  expect([answer.status, answer.headers["connection"]]).toEqual([200, "close"]);
  await client.end();
  client.socket.end();
  await drained;
});

test("R2: a worker whose successor listens waits for idle clients as ever, until there is a hurry", async () => {
  const app = await httpApp((req, res) => req.resume().on("end", () => res.end("ok")));
  await using kit = await Kit.start([endpoint("a", app.port, 1)], { drainIdleMs: 50 });
  kit.keep(app);
  const [silent, late] = await Promise.all([kit.client(), kit.client()]);
  for (const client of [silent, late]) {
    client.send(GET);
    await client.response();
  }
  const drained = kit.proxy.drain(false);
  await new Promise((resolve) => setTimeout(resolve, 400));
  expect([silent.ended, late.ended]).toEqual([false, false]);
  late.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
  const answer = await late.response();
  expect([answer.status, answer.headers["connection"]]).toEqual([200, "close"]);
  await late.end();
  late.socket.end();
  expect(silent.ended).toBe(false);
  expect(kit.proxy.drain(true)).toBe(drained);
  await silent.end();
  silent.socket.end();
  await drained;
});

test("a service that accepts no more closes idle connections in the same way, and goes on answering", async () => {
  const app = await httpApp((_req, res) => res.end("ok"));
  await using kit = await Kit.start([endpoint("a", app.port, 1)], { drainIdleMs: 150 });
  kit.keep(app);
  const idle = await kit.client();
  idle.send(GET);
  await idle.response();
  kit.apply(service([endpoint("a", app.port, 1)], { accepting: false }));
  const answer = await kit.get();
  expect([answer.status, answer.headers["connection"]]).toEqual([200, "close"]);
  await idle.end();
  expect(idle.error).toBe(null);
});

test("what is still in flight at the hard cap is cut, and the books say so; under `pause` it is not", async () => {
  const held: (() => void)[] = [];
  const app = await httpApp((req, res) => {
    res.write("begun");
    if (req.method === "GET") held.push(() => res.end("!"));
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  for (const onTimeout of ["pause", "cut"] as const) {
    const drain = { timeoutMs: 150, sseMs: 50, websocketMs: 50, killMs: 100, onTimeout };
    kit.apply(service([endpoint("a", app.port, 1)], { drain }));
    const client = await kit.client();
    client.send(GET);
    await client.until("begun");
    kit.apply(service([endpoint("a", app.port, 1, { mode: "draining" })], { drain }));
    if (onTimeout === "pause") {
      await new Promise((resolve) => setTimeout(resolve, 300));
      held[0]!();
      expect((await client.response()).body.toString()).toBe("begun!");
    } else await client.end();
  }
  expect(await kit.books(1)).toMatchObject({
    inFlight: 0,
    completed: 1,
    drained: 1,
    cut: { drain_deadline: 1 },
    lost: {},
  });
});

test("R18: a client that takes next to nothing is cut at drain as a slow one", async () => {
  const app = await httpApp((_req, res) => res.setHeader("content-length", 64 << 20).end(Buffer.alloc(64 << 20)));
  await using kit = await Kit.start([endpoint("a", app.port, 1)], { slowAfterMs: 100 });
  kit.keep(app);
  const client = await kit.client();
  client.socket.pause();
  client.send(GET);
  await eventually(async () => (await kit.books(1)).inFlight === 1);
  await new Promise((resolve) => setTimeout(resolve, 100));
  kit.apply(service([endpoint("a", app.port, 1, { mode: "draining" })]));
  await eventually(async () => (await kit.books(1)).cut["slow_client"] === 1);
});

test("S4: an event stream is ended behind a whole event, in order, and counted as drained", async () => {
  const app = await httpApp((_req, res) => {
    res.writeHead(200, { "content-type": "text/event-stream" });
    let n = 0;
    let timer: NodeJS.Timeout;
    // An event in two writes, always in order, so that a stream is as often within one as between two.
    const half = (): void => {
      res.write(`id: ${String(++n)}\nda`);
      timer = setTimeout(rest, 3);
    };
    const rest = (): void => {
      res.write(`ta: ${"x".repeat(50)}\n\n`);
      timer = setTimeout(half, 3);
    };
    half();
    res.on("close", () => clearTimeout(timer));
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const clients = await Promise.all(Array.from({ length: 5 }, () => kit.client()));
  for (const client of clients) client.send(GET);
  await Promise.all(clients.map((client) => client.until("id: 2\n")));
  kit.apply(service([endpoint("a", app.port, 1, { mode: "draining" })]));
  for (const client of clients) {
    const { body } = await client.response();
    expect(body.toString()).toMatch(/^(id: \d+\ndata: x{50}\n\n)+$/);
  }
  expect(await kit.books(1)).toMatchObject({
    completed: 5,
    drained: 5,
    eventStreams: 5,
    inFlight: 0,
    lost: {},
    cut: {},
  });
});

test("S4: a silent event stream, between two events, is ended without waiting for one", async () => {
  const app = await httpApp((_req, res) => {
    res.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" }).write("data: 1\r\n\r\n");
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  client.send(GET);
  await client.until("data: 1");
  kit.apply(service([endpoint("a", app.port, 1, { mode: "draining" })]));
  expect((await client.response()).body.toString()).toBe("data: 1\r\n\r\n");
});

test("a WebSocket is a tunnel both ways, and ends as its two sides end it", async () => {
  const codes: number[] = [];
  const app = await echoApp(codes);
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  const socket = await opened(kit.port);
  const echoes: Buffer[] = [];
  socket.on("message", (data: Buffer) => echoes.push(data));
  const sent = [Buffer.from("hello"), Buffer.alloc(300_000, 7), Buffer.alloc(2 << 20, 9)];
  for (const data of sent) socket.send(data);
  await eventually(() => echoes.length === 3);
  expect(Buffer.concat(echoes).equals(Buffer.concat(sent))).toBe(true);
  expect(await kit.books(1)).toMatchObject({ tunnels: 1, inFlight: 1 });
  socket.close(4_000);
  await eventually(async () => (await kit.books(1)).completed === 1);
  await eventually(() => codes.length === 1);
  expect(codes).toEqual([4_000]);
  expect(await kit.books(1)).toMatchObject({ inFlight: 0, lost: {}, drained: 0 });
  app.close();
});

test("S3: at drain WebSockets are closed with 1012 between two messages, and every message before it has arrived", async () => {
  const codes: number[] = [];
  const app = await echoApp(codes);
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  const ended: { code: number; sent: number; echoed: number }[] = [];
  for (let i = 0; i < 6; i++) {
    const socket = await opened(kit.port);
    let sent = 0;
    let echoed = 0;
    const timer = i % 2 === 0 ? null : setInterval(() => socket.readyState === 1 && socket.send(String(sent++)), 4);
    socket.on("message", (data: Buffer) => {
      expect(data.toString()).toBe(String(echoed));
      echoed++;
    });
    socket.on("close", (code) => {
      if (timer !== null) clearInterval(timer);
      ended.push({ code, sent, echoed });
    });
  }
  kit.apply(service([endpoint("a", app.port, 1, { mode: "draining" })]));
  await eventually(() => ended.length === 6);
  expect(ended.map(({ code }) => code)).toEqual([1012, 1012, 1012, 1012, 1012, 1012]);
  await eventually(() => codes.length === 6);
  expect(new Set(codes)).toEqual(new Set([1012]));
  await eventually(async () => (await kit.books(1)).completed === 6);
  expect(await kit.books(1)).toMatchObject({ drained: 6, inFlight: 0, lost: {}, cut: {} });
  app.close();
});

test("a WebSocket whose app dies is a loss, cause tunnel_cut; one whose client vanishes is not", async () => {
  const app = await echoApp([]);
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  const first = await opened(kit.port);
  first.on("error", () => undefined);
  for (const socket of app.server.clients) socket.terminate();
  await eventually(() => first.readyState === WebSocket.CLOSED);
  await eventually(async () => (await kit.books(1)).lost["tunnel_cut"] === 1);
  const second = await opened(kit.port);
  second.terminate();
  await eventually(async () => (await kit.books(1)).clientGone === 1);
  expect(await kit.books(1)).toMatchObject({ inFlight: 0, lost: { tunnel_cut: 1 } });
  app.close();
});

test("another protocol by upgrade is a raw tunnel with half-close, cut at the hard cap", async () => {
  const app: App = await rawApp((socket) => {
    socket.once("data", () => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: lines\r\n\r\nearly ");
      const hash = createHash("sha1");
      socket.on("data", (data) => hash.update(data));
      socket.on("end", () => socket.end(hash.digest("hex")));
    });
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n";
  const client = await kit.client();
  client.send(`${upgrade}abc`);
  expect((await client.response()).headers["upgrade"]).toBe("lines");
  client.send("def");
  client.socket.end();
  await client.end();
  expect(client.text).toBe(`early ${createHash("sha1").update("abcdef").digest("hex")}`);
  await eventually(async () => (await kit.books(1)).completed === 1);

  const drain = { timeoutMs: 100, sseMs: 10, websocketMs: 10, killMs: 100, onTimeout: "cut" as const };
  const stays = await kit.client();
  stays.send(upgrade);
  await stays.until("early");
  kit.apply(service([endpoint("a", app.port, 1, { mode: "draining" })], { drain }));
  await stays.end();
  await eventually(async () => (await kit.books(1)).cut["drain_deadline"] === 1);
});

test("an h2c upgrade is not taken: it would carry requests past the codec", async () => {
  let upgrade: unknown = "none";
  const app = await httpApp((req, res) => {
    upgrade = req.headers.upgrade;
    res.end("plain");
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const answer = await kit.ask(
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
  );
  expect([answer.body.toString(), upgrade]).toEqual(["plain", undefined]);
});

test("a worker that drains takes its tunnels and streams along, by the service's policy", async () => {
  const app = await echoApp([]);
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  const socket = await opened(kit.port);
  const code = new Promise<number>((resolve) => socket.on("close", resolve));
  const drained = kit.proxy.drain();
  expect(await code).toBe(1012);
  await drained;
  await expect(opened(kit.port)).rejects.toThrow();
  app.close();
});
