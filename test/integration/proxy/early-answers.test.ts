import { expect, test } from "vitest";
import { Kit, endpoint, eventually, httpApp, rawApp } from "../../support/proxy-kit.ts";
import type { Raw } from "../../support/proxy-kit.ts";

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const post = (fields: string): string => `POST / HTTP/1.1\r\nHost: a\r\n${fields}\r\n\r\n`;

/** An app that looks at no body, as many do. */
const deaf = () => httpApp((req, res) => res.end(`${req.method ?? ""} ${req.url ?? ""}`));

async function manyInTwoParts(client: Raw, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const chunked = i % 2 === 1;
    client.send(post(chunked ? "Transfer-Encoding: chunked" : "Content-Length: 5"));
    await pause(5);
    client.send(chunked ? "5\r\nhello\r\n0\r\n\r\n" : "hello");
    const answer = await client.response();
    expect(answer.status).toBe(200);
    expect(answer.headers).not.toHaveProperty("connection");
    expect(answer.body.toString()).toBe("POST /");
  }
}

test("R12: an app that answers before the body costs a keep-alive client nothing", async () => {
  const app = await deaf();
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  await manyInTwoParts(client, 200);
  expect(client.ended).toBe(false);
  expect(await kit.books(1)).toMatchObject({ started: 200, completed: 200, inFlight: 0, clientGone: 0, lost: {} });
});

test("R12: nor does it behind a second agent", async () => {
  const app = await deaf();
  await using inner = await Kit.start([endpoint("a", app.port, 1)]);
  await using outer = await Kit.start([endpoint("b", inner.port, 1, { kind: "agent" })]);
  inner.keep(app);
  const client = await outer.client();
  await manyInTwoParts(client, 100);
  expect(client.ended).toBe(false);
  for (const kit of [inner, outer])
    await eventually(async () =>
      expect(await kit.books(1)).toMatchObject({ started: 100, completed: 100, inFlight: 0, lost: {} }),
    );
});

test("R12: the answer is booked while the body still comes, and what follows the body is the next request", async () => {
  const app = await deaf();
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  client.send(post("Content-Length: 6") + "abc");
  expect((await client.response()).status).toBe(200);
  await eventually(async () => expect(await kit.books(1)).toMatchObject({ completed: 1, inFlight: 0 }));
  expect(kit.proxy.connections(1)[0]?.state).toBe("reading");
  client.send("defGET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HT");
  expect((await client.response()).body.toString()).toBe("GET /1");
  expect((await client.response()).body.toString()).toBe("GET /2");
  client.send("TP/1.1\r\nHost: a\r\n\r\n");
  expect((await client.response()).body.toString()).toBe("GET /3");
  // What the app was not sent in full is not a connection for another request.
  expect(app.accepted).toBe(2);
});

test("R12: a rest that is known to be too long is not read over: the head says so", async () => {
  const app = await deaf();
  await using kit = await Kit.start([endpoint("a", app.port, 1)], { lingerBytes: 1_000 });
  kit.keep(app);
  const client = await kit.client();
  client.send(post("Content-Length: 1001"));
  const answer = await client.response();
  expect(answer.headers["connection"]).toBe("close");
  expect(answer.body.toString()).toBe("POST /");
  client.send(Buffer.alloc(500));
  await client.end();
  expect(client.error).toBe(null);
});

test("R3, R12: a rest that turns out to be too long ends in order", async () => {
  const app = await deaf();
  await using kit = await Kit.start([endpoint("a", app.port, 1)], { lingerBytes: 1_000, lingerMs: 5_000 });
  kit.keep(app);
  const client = await kit.client();
  client.send(post("Transfer-Encoding: chunked"));
  expect((await client.response()).status).toBe(200);
  client.send(`3e9\r\n${"x".repeat(1_001)}\r\n`);
  await client.end();
  client.send("5\r\nhello\r\n0\r\n\r\n");
  await pause(20);
  expect(client.closed).toBe(false);
  client.socket.end();
  await eventually(() => client.closed);
  expect(client.error).toBe(null);
});

test("R12: a rest that stops coming, or breaks its framing, ends the connection", async () => {
  const app = await deaf();
  await using kit = await Kit.start([endpoint("a", app.port, 1)], { stallMs: 200 });
  kit.keep(app);
  const stalled = await kit.client();
  stalled.send(post("Content-Length: 5"));
  expect((await stalled.response()).status).toBe(200);
  await stalled.end();
  const broken = await kit.client();
  broken.send(post("Transfer-Encoding: chunked"));
  expect((await broken.response()).status).toBe(200);
  broken.send("zz\r\n");
  await broken.end();
  expect(broken.text).toBe("");
  expect(await kit.books(1)).toMatchObject({ completed: 2, clientGone: 0, inFlight: 0, lost: {} });
});

test("R9, R12: a client that waits for a 100 that never came may keep its body, so the answer says close", async () => {
  const app = await rawApp((socket) => {
    socket.once("data", () => setTimeout(() => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), 60));
  });
  await using kit = await Kit.start([endpoint("a", app.port, 1)], { continueMs: 20 });
  kit.keep(app);
  const client = await kit.client();
  client.send(post("Content-Length: 5\r\nExpect: 100-continue"));
  expect((await client.response()).headers["connection"]).toBe("close");
  await client.end();
});

test("R2, R12: a drain waits for a rest that comes, and for one that does not only as for an idle connection", async () => {
  const app = await deaf();
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const [coming, stalled] = [await kit.client(), await kit.client()];
  for (const client of [coming, stalled]) {
    client.send(post("Content-Length: 5"));
    expect((await client.response()).status).toBe(200);
  }
  const drained = kit.proxy.drain();
  coming.send("helloGET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
  const last = await coming.response();
  expect(last.headers["connection"]).toBe("close");
  expect(last.body.toString()).toBe("GET /1");
  await Promise.all([coming.end(), stalled.end()]);
  for (const client of [coming, stalled]) client.socket.end();
  await drained;
});

test("R12: a slow reader of a large early answer gets all of it, and its connection goes on", async () => {
  const body = Buffer.alloc(8 << 20, 7);
  const app = await httpApp((req, res) => res.end(req.method === "POST" ? body : "next"));
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  const client = await kit.client();
  client.socket.pause();
  client.send(post(`Content-Length: ${String(2 << 20)}`));
  client.send(Buffer.alloc(1 << 20));
  await pause(100);
  client.socket.resume();
  expect((await client.response()).body.equals(body)).toBe(true);
  client.send(Buffer.alloc(1 << 20));
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect((await client.response()).body.toString()).toBe("next");
});
