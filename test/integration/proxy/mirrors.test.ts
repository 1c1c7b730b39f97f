/** Copies of requests: what the version that is tried gets, and that nobody else notices, whatever it does with them. */
import { createServer } from "node:http";
import type { IncomingMessage } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { expect, test } from "vitest";
import WebSocket, { WebSocketServer } from "ws";
import type { EndpointConfig, ServiceConfig } from "../../../agent/proxy/config.ts";
import type { Limits } from "../../../agent/proxy/limits.ts";
import { EVERY_REQUEST, NO_FILTERS } from "../../../proto/contract/spec/types.ts";
import { Kit, cannedApp, deadPort, endpoint, eventually, httpApp, rawApp, service } from "../../support/proxy-kit.ts";
import type { App } from "../../support/proxy-kit.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

interface Seen {
  readonly line: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** Answers in full, and remembers what it was asked. */
async function remembering(status = 200): Promise<App & { readonly seen: Seen[] }> {
  const seen: Seen[] = [];
  const app = await httpApp((req, res) => {
    const parts: Buffer[] = [];
    req.on("data", (part: Buffer) => parts.push(part));
    req.on("end", () => {
      const body = Buffer.concat(parts).toString("latin1");
      seen.push({ line: `${req.method ?? ""} ${req.url ?? ""}`, headers: req.headers, body });
      res.writeHead(status, { "x-from": "app" }).end("answer");
    });
  });
  return Object.assign(app, { seen });
}

const mirrored = (
  stable: EndpointConfig[],
  tried: EndpointConfig[],
  more: Partial<ServiceConfig> = {},
): ServiceConfig =>
  service([], {
    versions: [
      { revision: 1, version: "v1", weight: 10_000, endpoints: stable },
      { revision: 2, version: "v2", weight: 0, endpoints: tried },
    ],
    mirrors: [{ name: "m", revision: 2, matches: [EVERY_REQUEST], percentage: 10_000 }],
    ...more,
  });

/** v1 in slot 1, which is asked; v2 in slot 2, which gets the copies. */
async function start(
  v1: App,
  v2: number | App,
  limits: Partial<Limits> = {},
  more: Partial<ServiceConfig> = {},
): Promise<Kit> {
  const kit = await Kit.start([], limits);
  kit.keep(v1, ...(typeof v2 === "number" ? [] : [v2]));
  const port = typeof v2 === "number" ? v2 : v2.port;
  kit.apply(mirrored([endpoint("a", v1.port, 1)], [endpoint("b", port, 2)], more));
  return kit;
}

const copies = async (kit: Kit): Promise<{ mirrored: number; errors: number; dropped: number }> => ({
  mirrored: await kit.count(2, "mirrored"),
  errors: await kit.count(2, "mirrorErrors"),
  dropped: (await kit.count(2, "mirrorsDropped")) + (await kit.count(0, "mirrorsDropped")),
});

/** Nothing of v2 is in the books of requests. */
async function untouched(kit: Kit, requests: number): Promise<void> {
  expect(await kit.books(1)).toMatchObject({
    started: requests,
    completed: requests,
    retried: 0,
    inFlight: 0,
    lost: {},
    cut: {},
  });
  expect(await kit.books(2)).toMatchObject({ started: 0, completed: 0, inFlight: 0, clientGone: 0, lost: {}, cut: {} });
}

test("a copy is the request as its app gets it, body and all, with a mark, and its answer goes nowhere", async () => {
  const [v1, v2] = [await remembering(), await remembering()];
  const rules = service([]).rules.map((rule) => ({
    ...{ ...rule, ...NO_FILTERS },
    requestHeaders: { set: [{ name: "x-env", value: "prod" }], add: [], remove: ["x-secret"] },
  }));
  await using kit = await start(v1, v2, {}, { rules });
  const client = await kit.client();
  const requests = [
    "GET /a?b=c HTTP/1.1\r\nHost: a\r\nX-Secret: 1\r\n\r\n",
    "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
    "POST /d HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    "HEAD /e HTTP/1.1\r\nHost: a\r\n\r\n",
  ];
  for (const request of requests) {
    client.send(request);
    if (request.includes("Expect")) {
      expect((await client.response()).status).toBe(100);
      client.send("xyz");
    }
    const answer = await client.response(request.startsWith("HEAD"));
    expect([answer.status, answer.headers["x-from"]]).toEqual([200, "app"]);
    await eventually(() => v2.seen.length === v1.seen.length);
  }
  const plain = ({ line, headers, body }: Seen): unknown => {
    const { expect: _, "baton-mirrored": __, ...rest } = headers;
    return { line, body, rest };
  };
  expect(v2.seen.map(plain)).toEqual(v1.seen.map(plain));
  expect(v1.seen.map(({ headers }) => headers["baton-mirrored"])).toEqual(requests.map(() => undefined));
  expect(v2.seen.map(({ headers }) => [headers["baton-mirrored"], headers.expect])).toEqual(
    requests.map(() => ["true", undefined]),
  );
  expect(v2.seen[0]!.headers).toMatchObject({ "x-env": "prod", via: "1.1 edge (baton)" });
  expect(v2.seen.map(({ body }) => body)).toEqual(["", "hello", "abcde", "xyz", ""]);
  await untouched(kit, 5);
  await eventually(async () => expect(await copies(kit)).toEqual({ mirrored: 5, errors: 0, dropped: 0 }));
});

test("copies go over connections of their own, which are used again", async () => {
  const [v1, v2] = [await remembering(), await remembering()];
  await using kit = await start(v1, v2);
  const client = await kit.client();
  for (let i = 0; i < 20; i++) {
    client.send(GET);
    await client.response();
    await eventually(() => v2.seen.length === i + 1);
    await eventually(async () => (await kit.count(2, "mirrored")) === i + 1);
  }
  expect([v1.accepted, v2.accepted]).toEqual([1, 1]);
  // The weight moves: requests of v2's own find no connection that a copy has used.
  kit.apply(
    mirrored([endpoint("a", v1.port, 1)], [endpoint("b", v2.port, 2)], {
      mirrors: [],
      versions: [{ revision: 2, version: "v2", weight: 10_000, endpoints: [endpoint("b", v2.port, 2)] }],
    }),
  );
  client.send(GET);
  await client.response();
  expect(v2.accepted).toBe(2);
});

const troubles: Readonly<Record<string, () => Promise<App | number>>> = {
  "takes the connection and says nothing": () => rawApp(() => undefined),
  "does not even read": () => rawApp((socket) => void socket.pause()),
  resets: () => rawApp((socket) => void socket.on("data", () => socket.resetAndDestroy())),
  "closes at once": () => rawApp((socket) => void socket.end()),
  "talks nonsense": () => cannedApp("nonsense\r\n\r\n"),
  "breaks off in its answer": () => rawApp((socket) => void socket.on("data", () => socket.end(OK.replace("2", "9")))),
  "is not there": () => deadPort(),
  "answers for ever": () =>
    rawApp((socket) => {
      socket.on("data", () => {
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        const timer = setInterval(() => socket.write("5\r\nhello\r\n"), 2);
        socket.on("close", () => clearInterval(timer));
      });
    }),
  "sends more than anyone wants": () =>
    rawApp((socket) => {
      socket.on("data", () => {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        const piece = Buffer.alloc(1 << 16);
        const more = (): void => {
          while (!socket.destroyed && socket.write(piece));
        };
        socket.on("drain", more);
        more();
      });
    }),
};

test.for(Object.entries(troubles))(
  "a version that %s under copies changes nothing for the requests",
  async ([name, make]) => {
    const v1 = await remembering();
    const v2 = await make();
    await using kit = await start(v1, v2, { mirrors: 4, mirrorMs: 150, connectMs: 150 });
    const client = await kit.client();
    const rounds = 40;
    const times: number[] = [];
    for (let i = 0; i < rounds; i++) {
      const before = performance.now();
      client.send(
        i % 2 === 0 ? GET : `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n${"x".repeat(50_000)}`,
      );
      const answer = await client.response();
      expect([answer.status, answer.headers["x-from"]]).toEqual([200, "app"]);
      times.push(performance.now() - before);
    }
    // Had any of them waited for its copy, it would have waited for this long.
    expect(times.sort((a, b) => a - b)[rounds >> 1]).toBeLessThan(75);
    await untouched(kit, rounds);
    const said = await eventually(async () => {
      const now = await copies(kit);
      // All are over: there is room for the next.
      expect(now.mirrored).toBeGreaterThan(0);
      expect(now.mirrored + now.dropped).toBeGreaterThanOrEqual(rounds);
      if (!/for ever|anyone/.test(name)) expect(now.errors).toBeGreaterThan(0);
      return now;
    });
    expect(said.errors).toBeLessThanOrEqual(said.mirrored);
    expect(kit.failed).toEqual([]);
    if (typeof v2 === "number") return;
    // Whoever did not read sees only now that he was left.
    for (const socket of v2.sockets) socket.resume();
    await eventually(() => expect(v2.sockets.size).toBe(0));
  },
);

test("an app that answers copies with errors is told apart from one that answers them well", async () => {
  const [v1, v2] = [await remembering(), await remembering(503)];
  await using kit = await start(v1, v2);
  for (let i = 0; i < 5; i++) expect((await kit.get()).status).toBe(200);
  await eventually(async () => expect(await copies(kit)).toEqual({ mirrored: 5, errors: 5, dropped: 0 }));
  await untouched(kit, 5);
});

test("a body that is too long to be kept costs its copy, and the bound on copies theirs; never the request", async () => {
  const [v1, v2] = [await remembering(), await rawApp(() => undefined)];
  await using kit = await start(v1, v2, { replayBytes: 20_000, mirrors: 8, mirrorBytes: 30_000, mirrorMs: 60_000 });
  const ask = async (bytes: number): Promise<void> => {
    const answer = await kit.ask(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${bytes}\r\n\r\n${"x".repeat(bytes)}`);
    expect(answer.status).toBe(200);
  };
  await ask(300_000);
  expect(v1.seen[0]!.body).toHaveLength(300_000);
  expect(await copies(kit)).toEqual({ mirrored: 0, errors: 0, dropped: 1 });
  for (let i = 0; i < 3; i++) await ask(12_000);
  expect(await copies(kit)).toEqual({ mirrored: 2, errors: 0, dropped: 2 });
  for (let i = 0; i < 10; i++) await kit.get();
  expect(await copies(kit)).toEqual({ mirrored: 8, errors: 0, dropped: 6 });
});

test("copies end with the drain of what they run on: nobody waits for them", async () => {
  const v1 = await remembering();
  const held: Socket[] = [];
  const v2 = await rawApp((socket) => void held.push(socket.resume()));
  await using kit = await start(v1, v2);
  for (let i = 0; i < 3; i++) await kit.get();
  await eventually(() => held.length === 3);
  kit.apply(mirrored([endpoint("a", v1.port, 1)], [endpoint("b", v2.port, 2, { mode: "draining" })]));
  await eventually(() => v2.sockets.size === 0);
  expect(await copies(kit)).toEqual({ mirrored: 3, errors: 0, dropped: 3 });
  await kit.get();
  expect(await copies(kit)).toEqual({ mirrored: 3, errors: 0, dropped: 4 });
  await untouched(kit, 4);
});

test("a worker that drains does not wait for copies", async () => {
  const [v1, v2] = [await remembering(), await rawApp((socket) => void socket.resume())];
  await using kit = await start(v1, v2, { mirrorMs: 60_000 });
  const client = await kit.client();
  client.send(GET);
  await client.response();
  await eventually(() => v2.sockets.size === 1);
  await kit.proxy.drain();
  await eventually(() => v2.sockets.size === 0);
});

test("a request that went to the version anyway is not sent it twice, nor is one that was retried", async () => {
  const v2 = await remembering();
  let broken = 0;
  const v1 = await rawApp(
    (socket) => void socket.on("data", () => (broken++ % 2 === 0 ? socket.destroy() : socket.write(OK))),
  );
  await using kit = await start(v1, v2);
  for (let i = 0; i < 3; i++) expect((await kit.get()).status).toBe(200);
  await eventually(() => v2.seen.length === 3);
  kit.apply(
    mirrored([endpoint("a", v1.port, 1)], [endpoint("b", v2.port, 2)], {
      routes: [{ name: "r", revision: 2, matches: [EVERY_REQUEST] }],
    }),
  );
  const before = v2.seen.length;
  for (let i = 0; i < 3; i++) await kit.get();
  expect(v2.seen.length - before).toBe(3);
  expect(v2.seen.filter(({ headers }) => headers["baton-mirrored"] !== undefined)).toHaveLength(3);
});

test("upgrades are not copied, and where the next hop is another agent nothing is", async () => {
  const http = createServer((_req, res) => res.end("ok"));
  const sockets = new WebSocketServer({ server: http });
  sockets.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as AddressInfo;
  try {
    const v2 = await remembering();
    await using kit = await Kit.start([]);
    kit.keep(v2);
    kit.apply(mirrored([endpoint("a", port, 1)], [endpoint("b", v2.port, 2)]));
    const socket = new WebSocket(`ws://127.0.0.1:${kit.port}/chat`);
    await new Promise((resolve) => socket.once("open", resolve));
    socket.send("hello");
    await new Promise((resolve) => socket.once("message", resolve));
    kit.apply(mirrored([endpoint("h", port, 3, { kind: "agent" })], [endpoint("b", v2.port, 2)]));
    expect((await kit.get()).status).toBe(200);
    socket.terminate();
    expect(await copies(kit)).toEqual({ mirrored: 0, errors: 0, dropped: 0 });
    expect(v2.accepted).toBe(0);
  } finally {
    for (const socket of sockets.clients) socket.terminate();
    sockets.close();
    http.close();
    http.closeAllConnections();
  }
});
