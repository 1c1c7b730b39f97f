import { EVERY_REQUEST, NO_FILTERS } from "../../../proto/contract/spec/types.ts";
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { Kit, cannedApp, deadPort, endpoint, eventually, httpApp, rawApp, service } from "../../support/proxy-kit.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const POST = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

/** Answers the first request of each connection, and breaks the connection at the second one. */
const breaksOnReuse = (requests: string[]) =>
  rawApp((socket) => {
    let count = 0;
    socket.on("data", (data) => {
      requests.push(data.toString("latin1").split(" ")[0] ?? "");
      if (++count === 1) socket.write(OK);
      else socket.destroy();
    });
  });

test("R1: a GET that meets a pooled connection just being closed is sent again on a fresh one", async () => {
  const requests: string[] = [];
  const app = await breaksOnReuse(requests);
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  for (let i = 0; i < 6; i++) {
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect((await client.response()).status).toBe(200);
  }
  expect(await kit.books(1)).toMatchObject({ completed: 6, retried: 5, lost: {}, inFlight: 0 });
});

test("R15: a POST that was sent is not sent again, unless its key or the route says that it may be", async () => {
  const requests: string[] = [];
  const app = await breaksOnReuse(requests);
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  client.send(POST);
  expect((await client.response()).status).toBe(200);
  client.send(POST);
  const lost = await client.response();
  expect([lost.status, lost.headers["baton-error"]]).toEqual([502, "upstream_reset"]);
  expect(requests).toEqual(["POST", "POST"]);

  client.send(POST);
  expect((await client.response()).status).toBe(200);
  client.send(POST.replace("\r\nContent", "\r\nIdempotency-Key: 1\r\nContent"));
  expect((await client.response()).status).toBe(200);

  kit.apply(
    service([endpoint("a", app.port, 1)], {
      rules: [
        {
          ...EVERY_REQUEST,
          ...NO_FILTERS,
          path: { type: "PathPrefix", value: "/" },
          timeouts: { requestMs: null },
          retry: { attempts: 1, methods: ["POST"] },
        },
      ],
    }),
  );
  client.send(POST);
  expect((await client.response()).status).toBe(200);
  expect((await kit.books(1)).lost).toEqual({ upstream_reset: 1 });
});

test("R1: the pool lets a connection go before the app would, by what its Keep-Alive says", async () => {
  const app = await rawApp((socket) => {
    socket.on("data", () => socket.write(OK.replace("\r\n\r\n", "\r\nKeep-Alive: timeout=1\r\n\r\n")));
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  const begun = Date.now();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await client.response();
  await eventually(() => app.sockets.size === 0);
  expect(Date.now() - begun).toBeLessThan(1_000);
});

test("R1: bytes that no one asked for, or a FIN, take an idle connection out of the pool", async () => {
  let poke: (() => void) | null = null;
  const app = await rawApp((socket) => {
    socket.on("data", () => socket.write(OK));
    poke = () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await client.response();
  (poke as (() => void) | null)?.();
  await eventually(() => app.sockets.size === 0);
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect((await client.response()).body.toString()).toBe("ok");
  for (const socket of app.sockets) socket.end();
  await eventually(() => app.sockets.size === 0);
  client.send(POST);
  expect((await client.response()).status).toBe(200);
});

test("R6: a dead instance is ejected at its first refused connect, and every request goes to a living one", async () => {
  const app = await httpApp((req, res) => req.resume().on("end", () => res.end("alive")));
  await using kit = await Kit.start([endpoint("dead", await deadPort(), 1), endpoint("alive", app.port, 2)]);
  kit.keep(app);
  const client = await kit.client();
  for (let i = 0; i < 20; i++) {
    client.send(POST);
    expect((await client.response()).body.toString()).toBe("alive");
  }
  expect(kit.failed).toEqual(["dead"]);
  const dead = await kit.books(1);
  const alive = await kit.books(2);
  expect(dead).toMatchObject({ completed: 0, lost: {}, inFlight: 0 });
  expect(alive).toMatchObject({ completed: 20, retried: dead.started, lost: {} });
});

test("R6: an instance that comes up while a request waits gets it", async () => {
  const port = await deadPort();
  await using kit = await Kit.start([endpoint("a", port, 1)]);
  const client = await kit.client();
  client.send(POST);
  await eventually(async () => (await kit.books(1)).started > 0);
  const { createServer } = await import("node:http");
  const server = createServer((req, res) => req.resume().on("end", () => res.end("up")));
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  expect((await client.response()).body.toString()).toBe("up");
  server.closeAllConnections();
  server.close();
});

test("with every instance dead the answer says why, and that nothing was sent", async () => {
  await using kit = await Kit.start([endpoint("a", await deadPort(), 1)], { attempts: 2 });
  const client = await kit.client();
  client.send(POST);
  const answer = await client.response();
  expect([answer.status, answer.headers["baton-error"]]).toEqual([502, "connect_failed; sent=0"]);
  expect((await kit.books(1)).lost).toEqual({ connect_failed: 1 });
  client.send(POST);
  expect((await client.response()).status).toBe(502);
});

test("no endpoints, or none with a weight: 503 with Retry-After, counted at the service", async () => {
  const app = await cannedApp(OK);
  await using kit = await Kit.start([]);
  kit.keep(app);
  const answer = await kit.get();
  expect([answer.status, answer.headers["baton-error"], answer.headers["retry-after"]]).toEqual([
    503,
    "no_instance; sent=0",
    "1",
  ]);
  kit.apply(
    service([], { versions: [{ revision: 1, version: "v1", weight: 0, endpoints: [endpoint("a", app.port, 1)] }] }),
  );
  expect((await kit.get()).status).toBe(503);
  expect(await kit.books(0)).toMatchObject({ started: 2, inFlight: 0, lost: { no_instance: 2 } });
});

test("R10: an upload whose instance goes in mid-body is sent whole to another, even a POST, as long as it is kept", async () => {
  const dies = await rawApp((socket) => {
    socket.on("data", (data) => {
      if (data.includes("part one")) socket.resetAndDestroy();
    });
  });
  const lives = await httpApp((req, res) => {
    let body = "";
    req.on("data", (data: Buffer) => (body += data.toString()));
    req.on("end", () => res.end(body));
  });
  await using kit = await Kit.start([endpoint("a", dies.port, 1)]);
  kit.keep(dies, lives);
  const client = await kit.client();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  await eventually(() => dies.sockets.size === 1);
  kit.apply(service([endpoint("a", dies.port, 1, { mode: "draining" }), endpoint("b", lives.port, 2)]));
  client.send("8\r\npart one\r\n");
  await eventually(async () => (await kit.books(2)).inFlight === 1);
  client.send("8\r\npart two\r\n0\r\n\r\n");
  expect((await client.response()).body.toString()).toBe("part onepart two");
  expect([(await kit.books(1)).lost, await kit.books(2)]).toMatchObject([{}, { completed: 1, retried: 1, lost: {} }]);
});

test("R11: an answer that breaks off is broken off for the client too, never ended in order", async () => {
  for (const head of ["Content-Length: 100", "Transfer-Encoding: chunked"]) {
    const app = await rawApp((socket) => {
      socket.once("data", () => {
        socket.write(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n5\r\npart!`);
        setTimeout(() => socket.destroy(), 20);
      });
    });
    await using kit = await Kit.start([endpoint("a", app.port, 1)]);
    kit.keep(app);
    const client = await kit.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await client.end();
    expect(client.text).toMatch(/part!(\r\n)?$/);
    expect(await kit.books(1)).toMatchObject({ completed: 0, inFlight: 0, lost: { response_cut: 1 } });
  }
});

test("an answer that two parsers could read differently is 502, and its connection is not used again", async () => {
  const bad = [
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "ICY 200 OK\r\n\r\n",
    `HTTP/1.1 200 OK\r\n${"X: y\r\n".repeat(200)}\r\n`,
  ];
  for (const text of bad) {
    const app = await cannedApp(text);
    await using kit = await Kit.start([endpoint("a", app.port, 1)]);
    kit.keep(app);
    const client = await kit.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    const answer = await client.response();
    expect([text, answer.status, answer.headers["baton-error"]]).toEqual([text, 502, "upstream_protocol"]);
    expect(await kit.books(1)).toMatchObject({ completed: 0, lost: { upstream_protocol: 1 } });
    await eventually(() => app.sockets.size === 0);
  }
});

test("bytes behind an answer are not taken for the next one's", async () => {
  const app = await cannedApp(`${OK}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged`);
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  for (let i = 0; i < 3; i++) {
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect((await client.response()).body.toString()).toBe("ok");
  }
});

test("the rule's time is up: 504, and the instance's late answer goes to no one", async () => {
  const app = await httpApp((_req, res) => setTimeout(() => res.end("late"), 400));
  await using kit = await Kit.start([]);
  kit.keep(app);
  kit.apply(
    service([endpoint("a", app.port, 1)], {
      rules: [
        {
          ...EVERY_REQUEST,
          ...NO_FILTERS,
          path: { type: "PathPrefix", value: "/" },
          timeouts: { requestMs: 100 },
          retry: { attempts: 1, methods: [] },
        },
      ],
    }),
  );
  const client = await kit.client();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const answer = await client.response();
  expect([answer.status, answer.headers["baton-error"]]).toEqual([504, "upstream_timeout"]);
  expect((await kit.books(1)).lost).toEqual({ upstream_timeout: 1 });
});

test("a client that leaves before its answer is counted as gone, not as lost", async () => {
  const app = await httpApp(() => undefined);
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await eventually(async () => (await kit.books(1)).inFlight === 1);
  client.socket.resetAndDestroy();
  await eventually(async () => (await kit.books(1)).clientGone === 1);
  expect(await kit.books(1)).toMatchObject({ inFlight: 0, lost: {} });
  await eventually(() => app.sockets.size === 0);
});

test("a client that leaves in mid-body takes its request back from the app", async () => {
  let aborted = false;
  const app = await httpApp((req) => {
    req.resume().on("aborted", () => (aborted = true));
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\npart");
  await eventually(async () => (await kit.books(1)).inFlight === 1);
  client.socket.end();
  await eventually(() => aborted);
  expect(await kit.books(1)).toMatchObject({ clientGone: 1, lost: {}, inFlight: 0 });
});

test("a refused request closes the connection with the reason, and never reaches an app", async () => {
  const requests: string[] = [];
  const app = await breaksOnReuse(requests);
  await using kit = await Kit.start([endpoint("a", app.port, 1)], {
    headMs: 150,
    headBytes: 8_192,
    targetBytes: 4_096,
  });
  kit.keep(app);
  const long = "x".repeat(5_000);
  const cases: [string, number][] = [
    ["GET / HTTP/1.1\r\n\r\n", 400],
    ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400],
    ["POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501],
    ["POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400],
    [`GET /${long} HTTP/1.1\r\nHost: a\r\n\r\n`, 414],
    [`GET / HTTP/1.1\r\nHost: a\r\n${"X: y\r\n".repeat(120)}\r\n`, 431],
    [`GET / HTTP/1.1\r\nHost: a\r\nA: ${long}\r\nB: ${long}\r\n\r\n`, 431],
    ["CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501],
    ["TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405],
    ["GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400],
    ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: tea\r\n\r\n", 417],
    ["GET / HTTP/1.1\r\nHost: a", 408],
  ];
  for (const [text, status] of cases) {
    const client = await kit.client();
    client.send(text);
    const answer = await client.response();
    expect([text.slice(0, 60), answer.status]).toEqual([text.slice(0, 60), text.includes("HTTP/2.0") ? 505 : status]);
    expect(answer.headers["baton-error"]).toMatch(/; sent=0$/);
    if (status !== 405) await client.end();
  }
  expect(requests).toEqual([]);
});

test("OPTIONS with Max-Forwards 0 is answered here; a larger number is counted down", async () => {
  let forwards: unknown = "";
  const app = await httpApp((req, res) => {
    forwards = req.headers["max-forwards"];
    res.end();
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  expect((await kit.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")).status).toBe(200);
  expect(forwards).toBe("");
  expect((await kit.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n")).status).toBe(200);
  expect(forwards).toBe("2");
});

test("an app can't speak as Baton: its baton-error is taken out, an agent's is believed", async () => {
  const text = "HTTP/1.1 503 No\r\nbaton-error: no_instance; sent=0\r\nContent-Length: 0\r\n\r\n";
  const app = await cannedApp(text);
  await using kit = await Kit.start([endpoint("a", app.port, 1)], { attempts: 2, backoffBaseMs: 1, backoffMaxMs: 2 });
  kit.keep(app);
  const forged = await kit.get();
  expect([forged.status, forged.headers["baton-error"]]).toEqual([503, undefined]);
  expect(await kit.books(1)).toMatchObject({ completed: 1, lost: {} });

  kit.apply(service([endpoint("a", app.port, 2, { kind: "agent" })], { name: "other" }));
  const believed = await kit.get();
  expect([believed.status, believed.headers["baton-error"]]).toEqual([503, "no_instance; sent=0"]);
  expect(await kit.books(2)).toMatchObject({ completed: 0, lost: { no_instance: 1 } });
});

test("what the next agent could not send goes to another agent, even a POST", async () => {
  const refuses = await cannedApp("HTTP/1.1 503 No\r\nbaton-error: no_instance; sent=0\r\nContent-Length: 0\r\n\r\n");
  const takes = await httpApp((req, res) => req.resume().on("end", () => res.end("taken")));
  const agent = { kind: "agent" as const };
  await using kit = await Kit.start([endpoint("a", refuses.port, 1, agent), endpoint("b", takes.port, 2, agent)]);
  kit.keep(refuses, takes);
  for (let i = 0; i < 10; i++) expect((await kit.ask(POST)).body.toString()).toBe("taken");
  expect((await kit.books(1)).lost).toEqual({});
  expect(await kit.books(2)).toMatchObject({ completed: 10, lost: {} });
});

test("R10: an upload that the next agent has read in part, and could not send, goes whole to another agent", async () => {
  const refuses = await rawApp((socket) => {
    let read = 0;
    socket.on("data", (bytes) => {
      read += bytes.length;
      if (read > 200_000)
        socket.end("HTTP/1.1 503 No\r\nbaton-error: no_instance; sent=0\r\nContent-Length: 0\r\n\r\n");
    });
  });
  const takes = await httpApp((req, res) => {
    const hash = createHash("sha256");
    req.on("data", (bytes: Buffer) => hash.update(bytes)).on("end", () => res.end(hash.digest("hex")));
  });
  const agent = { kind: "agent" as const };
  await using kit = await Kit.start([endpoint("a", refuses.port, 1, agent), endpoint("b", takes.port, 2, agent)]);
  kit.keep(refuses, takes);
  const body = Buffer.alloc(500_000, "0123456789abcdef-");
  const wanted = createHash("sha256").update(body).digest("hex");
  for (let i = 0; i < 6; i++) {
    const client = await kit.client();
    client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`);
    client.send(body);
    expect((await client.response()).body.toString()).toBe(wanted);
  }
  expect((await kit.books(1)).started).toBeGreaterThan(0);
  expect((await kit.books(1)).lost).toEqual({});
});

test("R6: an agent that has nobody to serve is not asked again for a while, by requests that could have known", async () => {
  const refuses = await cannedApp("HTTP/1.1 503 No\r\nbaton-error: no_instance; sent=0\r\nContent-Length: 0\r\n\r\n");
  const takes = await httpApp((req, res) => req.resume().on("end", () => res.end("taken")));
  const agent = { kind: "agent" as const };
  await using kit = await Kit.start([endpoint("a", refuses.port, 1, agent), endpoint("b", takes.port, 2, agent)]);
  kit.keep(refuses, takes);
  for (let i = 0; i < 30; i++) expect((await kit.ask(POST)).body.toString()).toBe("taken");
  expect((await kit.books(1)).started).toBeLessThan(5);
});

test("a request whose head is not whole yet is in flight already: a worker's death would cut it", async () => {
  const app = await cannedApp(OK);
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  client.send("GET / HTTP/1.1\r\nHo");
  await expect.poll(async () => (await kit.books(0)).inFlight).toBe(1);
  client.send("st: a\r\n\r\n");
  expect((await client.response()).status).toBe(200);
  expect(await kit.books(0)).toMatchObject({ started: 0, inFlight: 0 });
  const leaves = await kit.client();
  leaves.send("GET / HTTP/1.1\r\n");
  await expect.poll(async () => (await kit.books(0)).inFlight).toBe(1);
  leaves.socket.destroy();
  await expect.poll(async () => (await kit.books(0)).inFlight).toBe(0);
});

test("a loss that came by way of another Baton agent is handed back to it, and counted there", async () => {
  await using kit = await Kit.start([endpoint("a", await deadPort(), 1)], { attempts: 1 });
  const answer = await kit.ask("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 gw (baton)\r\n\r\n");
  expect([answer.status, answer.headers["baton-error"]]).toEqual([502, "connect_failed; sent=0"]);
  expect((await kit.books(1)).lost).toEqual({});
});

test("a client that claims to be a Baton agent hides no loss from a gateway's books", async () => {
  await using kit = await Kit.start([endpoint("a", await deadPort(), 1, { kind: "agent" })], { attempts: 1 });
  const answer = await kit.ask("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 gw (baton)\r\n\r\n");
  expect(answer.status).toBe(502);
  expect((await kit.books(1)).lost).toEqual({ connect_failed: 1 });
});

test("more connections than the limit are turned away with a reason", async () => {
  const app = await cannedApp(OK);
  await using kit = await Kit.start([endpoint("a", app.port, 1)], { connections: 1 });
  kit.keep(app);
  const first = await kit.client();
  const second = await kit.client();
  expect((await second.response()).status).toBe(503);
  await second.end();
  first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect((await first.response()).status).toBe(200);
});

test("the access log has one record of each exchange, with its outcome", async () => {
  const app = await cannedApp(OK);
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  await kit.get("/path?secret=1");
  await eventually(() => kit.records.length > 0);
  expect(kit.records[0]).toMatchObject({
    service: "shop",
    endpoint: "a",
    method: "GET",
    path: "/path",
    status: 200,
    outcome: "completed",
    attempts: 1,
  });
});
