import { createHash, randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { Kit, cannedApp, endpoint, eventually, httpApp, rawApp, service } from "../../support/proxy-kit.ts";

const sha = (data: Buffer): string => createHash("sha256").update(data).digest("hex");

test("a request reaches the app with its hop-by-hop fields gone and Baton's own added", async () => {
  let seen: Record<string, unknown> = {};
  const app = await httpApp((req, res) => {
    seen = req.headers;
    res.end(`${req.method ?? ""} ${req.url ?? ""}`);
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const answer = await kit.ask(
    "GET /x?y=1 HTTP/1.1\r\nHost: shop.test\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=9\r\n" +
      "TE: trailers\r\nProxy-Connection: x\r\nX-Forwarded-For: 9.9.9.9\r\nCookie: a=b\r\n\r\n",
  );
  expect(answer.body.toString()).toBe("GET /x?y=1");
  expect(seen).toMatchObject({
    host: "shop.test",
    cookie: "a=b",
    "x-forwarded-for": "9.9.9.9, 127.0.0.1",
    "x-forwarded-proto": "http",
    "x-forwarded-host": "shop.test",
    via: "1.1 edge (baton)",
  });
  expect(seen["x-request-id"]).toMatch(/^[0-9a-f]{32}$/);
  expect(seen["traceparent"]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  for (const gone of ["x-secret", "keep-alive", "te", "proxy-connection"]) expect(seen).not.toHaveProperty(gone);
  expect(answer.headers).not.toHaveProperty("keep-alive");
  expect(await kit.books(1)).toMatchObject({ started: 1, completed: 1, inFlight: 0, lost: {} });
});

test("an id and a trace that came with the request are passed on as they are", async () => {
  let seen: Record<string, unknown> = {};
  const app = await httpApp((req, res) => {
    seen = req.headers;
    res.end();
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
  await kit.ask(`GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\ntraceparent: ${trace}\r\n\r\n`);
  expect(seen).toMatchObject({ "x-request-id": "mine", traceparent: trace });
});

test("connections are kept alive on both sides: many requests, one upstream connection", async () => {
  const app = await httpApp((req, res) => res.end(req.url));
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  for (let i = 0; i < 20; i++) {
    client.send(`GET /${String(i)} HTTP/1.1\r\nHost: a\r\n\r\n`);
    expect((await client.response()).body.toString()).toBe(`/${String(i)}`);
  }
  expect(app.accepted).toBe(1);
});

test("R8: pipelined requests are answered in order, one at a time upstream", async () => {
  let running = 0;
  let most = 0;
  const app = await httpApp((req, res) => {
    most = Math.max(most, ++running);
    setTimeout(
      () => {
        running--;
        res.end(req.url);
      },
      req.url === "/0" ? 40 : 1,
    );
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  client.send(Array.from({ length: 8 }, (_, i) => `GET /${String(i)} HTTP/1.1\r\nHost: a\r\n\r\n`).join(""));
  for (let i = 0; i < 8; i++) expect((await client.response()).body.toString()).toBe(`/${String(i)}`);
  expect(most).toBe(1);
});

test("R8: requests that were read before the worker drains are all answered before the connection goes", async () => {
  const app = await httpApp((req, res) => setTimeout(() => res.end(req.url), 30));
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  client.send(Array.from({ length: 4 }, (_, i) => `GET /${String(i)} HTTP/1.1\r\nHost: a\r\n\r\n`).join(""));
  await eventually(async () => (await kit.books(1)).inFlight === 1);
  const drained = kit.proxy.drain();
  const connection = [];
  for (let i = 0; i < 4; i++) connection.push((await client.response()).headers["connection"]);
  expect(connection).toEqual([undefined, undefined, undefined, "close"]);
  await client.end();
  client.socket.end();
  await drained;
});

test("large bodies go both ways unharmed, past a slow reader on either side", async () => {
  const up = randomBytes(6 << 20);
  const down = randomBytes(8 << 20);
  let got = "";
  const app = await httpApp((req, res) => {
    const hash = createHash("sha256");
    req.on("data", (data: Buffer) => {
      hash.update(data);
      req.pause();
      setTimeout(() => req.resume(), 1);
    });
    req.on("end", () => {
      got = hash.digest("hex");
      if (req.url === "/chunked") {
        for (let at = 0; at < down.length; at += 100_000) res.write(down.subarray(at, at + 100_000));
        res.end();
      } else res.setHeader("content-length", down.length).end(down);
    });
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  for (const path of ["/length", "/chunked"]) {
    const client = await kit.client();
    if (path === "/length") {
      client.send(`POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${String(up.length)}\r\n\r\n`);
      client.send(up);
    } else {
      client.send(`POST ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`);
      for (let at = 0; at < up.length; at += 70_001) {
        const part = up.subarray(at, at + 70_001);
        client.send(`${part.length.toString(16)};ext=1\r\n`);
        client.send(part);
        client.send("\r\n");
      }
      client.send("0\r\n\r\n");
    }
    await eventually(() => client.received.length > 0, 25_000);
    client.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 50));
    client.socket.resume();
    const answer = await client.response();
    expect(got).toBe(sha(up));
    expect(sha(answer.body)).toBe(sha(down));
    client.send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
    expect((await client.response()).status).toBe(200);
  }
  expect(await kit.books(1)).toMatchObject({ completed: 4, inFlight: 0, lost: {} });
});

test("a client that does not read holds the app back instead of filling the worker's memory", async () => {
  let written = 0;
  const app = await httpApp((_req, res) => {
    const block = Buffer.alloc(64 << 10);
    const more = (): void => {
      do written += block.length;
      while (res.write(block) && written < 256 << 20);
    };
    res.on("drain", more);
    more();
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  client.socket.pause();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  let last = -1;
  await eventually(async () => {
    last = written;
    await new Promise((resolve) => setTimeout(resolve, 150));
    return written > 0 && written === last;
  });
  // Socket buffers of the kernel on both sides, and one read of ours.
  expect(written).toBeLessThan(64 << 20);
});

test("HEAD, 204 and 304 end with their head, and the connection goes on", async () => {
  const app = await httpApp((req, res) => {
    if (req.url === "/204") res.writeHead(204).end();
    else if (req.url === "/304") res.writeHead(304, { etag: '"x"', "content-length": "10" }).end();
    else res.writeHead(200, { "content-length": "5" }).end("hello");
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect((await client.response(true)).headers["content-length"]).toBe("5");
  client.send("GET /204 HTTP/1.1\r\nHost: a\r\n\r\n");
  expect((await client.response()).status).toBe(204);
  client.send("GET /304 HTTP/1.1\r\nHost: a\r\n\r\n");
  expect((await client.response()).status).toBe(304);
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect((await client.response()).body.toString()).toBe("hello");
});

test("interim answers are passed on to HTTP/1.1 and kept from HTTP/1.0", async () => {
  const app = await cannedApp(
    "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
  );
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect((await client.response()).head).toContain("103 Early Hints\r\nLink: </a.css>");
  expect((await client.response()).body.toString()).toBe("ok");
  expect((await kit.ask("GET / HTTP/1.0\r\n\r\n")).status).toBe(200);
});

test("HTTP/1.0: closed after the answer, kept alive when asked, chunks undone", async () => {
  const app = await httpApp((req, res) => {
    if (req.url === "/chunked") {
      res.write("a");
      res.end("b");
    } else res.setHeader("content-length", 2).end("ok");
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const plain = await kit.client();
  plain.send("GET / HTTP/1.0\r\n\r\n");
  expect((await plain.response()).headers["connection"]).toBe("close");
  await plain.end();
  const kept = await kit.client();
  kept.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  expect((await kept.response()).headers["connection"]).toBe("keep-alive");
  kept.send("GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const chunked = await kept.response();
  expect(chunked.headers).not.toHaveProperty("transfer-encoding");
  expect(chunked.body.toString()).toBe("ab");
});

test("an answer that only its connection's end delimits becomes chunked, and the client's connection goes on", async () => {
  const app = await rawApp((socket) => {
    socket.once("data", () => socket.end("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nto the end"));
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  for (let i = 0; i < 2; i++) {
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    const answer = await client.response();
    expect(answer.head).toMatch(/^HTTP\/1\.1 200 OK/);
    expect(answer.headers["transfer-encoding"]).toBe("chunked");
    expect(answer.body.toString()).toBe("to the end");
  }
});

test("R7: a client that has shut its writing side still gets its answer", async () => {
  const app = await httpApp((_req, res) => setTimeout(() => res.end("late"), 50));
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  client.socket.end();
  expect((await client.response()).body.toString()).toBe("late");
  await client.end();
});

test("R9: the body waits for the app's 100, and then goes", async () => {
  const order: string[] = [];
  const app = await rawApp((socket) => {
    let seen = "";
    socket.on("data", (data) => {
      seen += data.toString("latin1");
      if (seen.includes("\r\n\r\n") && order.length === 0) {
        order.push(seen.slice(seen.indexOf("\r\n\r\n") + 4));
        setTimeout(() => socket.write("HTTP/1.1 100 Continue\r\n\r\n"), 30);
      }
      if (seen.endsWith("body!")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)], { continueMs: 5_000 });
  kit.keep(app);
  const client = await kit.client();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  expect((await client.response()).status).toBe(100);
  client.send("body!");
  expect((await client.response()).status).toBe(200);
  expect(order).toEqual([""]);
});

test("R9: an instance that goes before its 100 costs nothing: the request is sent elsewhere, even a POST", async () => {
  const going = await rawApp((socket) => socket.once("data", () => socket.destroy()));
  const staying = await httpApp((req, res) => req.resume().on("end", () => res.end("carried")));
  await using kit = await Kit.start([endpoint("a", going.port, 1), endpoint("b", staying.port, 2)]);
  kit.keep(going, staying);
  for (let i = 0; i < 4; i++) {
    const client = await kit.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    expect((await client.response()).status).toBe(100);
    client.send("body!");
    expect((await client.response()).body.toString()).toBe("carried");
  }
});

test("R3, R12: an early refusal reaches a client that is still sending, and its connection is not reset", async () => {
  const app = await httpApp((_req, res) =>
    res.writeHead(413, { "content-length": "8", connection: "close" }).end("too much"),
  );
  await using kit = await Kit.start([endpoint("a", app.port, 1)], { lingerMs: 2_000 });
  kit.keep(app);
  for (let i = 0; i < 10; i++) {
    const client = await kit.client();
    client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${String(4 << 20)}\r\n\r\n`);
    client.send(Buffer.alloc(1 << 20));
    const answer = await client.response();
    expect(answer.status).toBe(413);
    expect(answer.body.toString()).toBe("too much");
    expect(answer.headers["connection"]).toBe("close");
    await client.end();
    expect(client.error).toBe(null);
  }
});

test("an app may answer while it is still being sent to: both streams run to their ends", async () => {
  const app = await httpApp((req, res) => {
    res.writeHead(200);
    req.pipe(res);
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
  await client.until("hello");
  client.send("6\r\n world\r\n0\r\n\r\n");
  expect((await client.response()).body.toString()).toBe("hello world");
});

test("trailers are passed on, but not those that steer a message", async () => {
  const app = await cannedApp(
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\nContent-Length: 3\r\n\r\n",
  );
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await client.until("0\r\nX-Sum: 7\r\n\r\n");
  expect(client.text).not.toContain("Content-Length");
});

test("hosts and paths choose the service; what no service answers for is 404", async () => {
  const one = await httpApp((_req, res) => res.end("one"));
  const two = await httpApp((_req, res) => res.end("two"));
  await using kit = await Kit.start([]);
  kit.keep(one, two);
  kit.apply(
    service([endpoint("a", one.port, 1)], { name: "one", hostnames: ["one.test"] }),
    service([endpoint("b", two.port, 2)], { name: "two", hostnames: ["*.two.test"], slot: 3 }),
  );
  const host = (name: string): Promise<string> =>
    kit.ask(`GET / HTTP/1.1\r\nHost: ${name}\r\n\r\n`).then((answer) => answer.body.toString());
  expect(await host("ONE.test:8080")).toBe("one");
  expect(await host("a.b.two.test")).toBe("two");
  const none = await kit.ask("GET / HTTP/1.1\r\nHost: else.test\r\n\r\n");
  expect(none.status).toBe(404);
  expect(none.headers["baton-error"]).toBe("no_route; sent=0");
});

test("absolute-form is served by its authority, and forwarded in origin-form", async () => {
  let url = "";
  let host = "";
  const app = await httpApp((req, res) => {
    url = req.url ?? "";
    host = req.headers.host ?? "";
    res.end();
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  await kit.ask("GET http://real.test/p?q HTTP/1.1\r\nHost: other\r\n\r\n");
  expect([url, host]).toEqual(["/p?q", "real.test"]);
  await kit.ask("GET http://real.test HTTP/1.1\r\nHost: other\r\n\r\n");
  expect(url).toBe("/");
});

test("the admin's list names each connection and what it is doing", async () => {
  const app = await httpApp((_req, res) => res.write("never ends"));
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  await kit.client();
  const busy = await kit.client();
  busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await busy.until("never ends");
  const states = kit.proxy.connections(10).map(({ state, endpoint: id, service: name }) => [state, name, id]);
  expect(states).toEqual([
    ["idle", "", ""],
    ["answering", "shop", "a"],
  ]);
  expect(kit.proxy.connections(1)).toHaveLength(1);
});
