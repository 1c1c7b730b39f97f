/** A table that changes touches no stream, and no connection, that it does not concern. */
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import WebSocket, { WebSocketServer } from "ws";
import type { ServiceConfig } from "../../../agent/proxy/config.ts";
import { EVERY_REQUEST } from "../../../proto/contract/spec/types.ts";
import { Kit, endpoint, eventually, service } from "../../support/proxy-kit.ts";

const CHANGES = 200;
const PIECE = Buffer.alloc(40_000, "payload");
const PIECES = 100;

/** A version of an app with an echo, a stream of events and a download, all told when to go on. */
async function version(name: string) {
  const streams: ServerResponse[] = [];
  let accepted = 0;
  const http = createServer((req, res) => {
    if (req.url === "/events") {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.flushHeaders();
      streams.push(res);
    } else if (req.url === "/download") {
      res.writeHead(200, { "content-length": PIECE.length * PIECES });
      res.flushHeaders();
      streams.push(res);
    } else res.end(name);
  });
  http.keepAliveTimeout = 60_000;
  http.on("connection", () => accepted++);
  const sockets = new WebSocketServer({ server: http });
  sockets.on("connection", (socket) =>
    socket.on("message", (data: Buffer) => socket.send(`${name} ${data.toString()}`)),
  );
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    name,
    port: (http.address() as AddressInfo).port,
    streams,
    accepted: () => accepted,
    close: () => {
      for (const socket of sockets.clients) socket.terminate();
      sockets.close();
      http.close();
      http.closeAllConnections();
    },
  };
}

/** One open stream of each kind on one version. */
async function open(kit: Kit, name: string) {
  const head = `Host: shop\r\nX-Version: ${name}\r\n`;
  const socket = new WebSocket(`ws://127.0.0.1:${kit.port}/chat`, { headers: { "x-version": name } });
  const echoes: string[] = [];
  let closed = false;
  socket.on("message", (data: Buffer) => echoes.push(data.toString()));
  socket.on("close", () => (closed = true));
  await new Promise((resolve) => socket.once("open", resolve));
  const events = await kit.client();
  events.send(`GET /events HTTP/1.1\r\n${head}\r\n`);
  await events.until("\r\n\r\n");
  const download = await kit.client();
  download.send(`GET /download HTTP/1.1\r\n${head}\r\n`);
  await download.until("\r\n\r\n");
  return { socket, echoes, events, download, closed: () => closed };
}

/** Every change is another one in weights, routes, mirrors, rules, or another service beside it. */
function tableOf(step: number, ports: readonly number[]): ServiceConfig[] {
  const byHeader = (value: string) => ({
    ...EVERY_REQUEST,
    headers: [{ type: "Exact" as const, name: "x-version", value }],
  });
  const weight = (step * 137) % 10_001;
  const shop = service([], {
    versions: [
      { revision: 1, version: "v1", weight: 10_000 - weight, endpoints: [endpoint("a", ports[0]!, 1)] },
      { revision: 2, version: "v2", weight, endpoints: [endpoint("b", ports[1]!, 2)] },
    ],
    sticky: step % 3 === 0 ? { kind: "header", name: "x-user" } : null,
    routes: [
      { name: "one", revision: 1, matches: [byHeader("v1")] },
      { name: "two", revision: 2, matches: [byHeader("v2"), ...(step % 2 === 0 ? [byHeader(`v${step}`)] : [])] },
    ],
    mirrors: step % 4 === 0 ? [{ name: "m", revision: 2, matches: [byHeader("none")], percentage: 10_000 - step }] : [],
    rules: service([]).rules.map((rule) => ({ ...rule, timeouts: { requestMs: step % 5 === 0 ? 30_000 : null } })),
  });
  return step % 2 === 0 ? [shop] : [shop, service([], { name: "other", hostnames: ["other"], slot: 5 })];
}

test("through 200 changes of weights, routes and mirrors open streams of both versions go on, over the same connections", async () => {
  const versions = [await version("v1"), await version("v2")];
  try {
    await using kit = await Kit.start([]);
    const ports = versions.map(({ port }) => port);
    kit.apply(...tableOf(0, ports));
    const opened = await Promise.all(versions.map(({ name }) => open(kit, name)));
    // A client that keeps its connection, and with it one upstream connection to each version.
    const client = await kit.client();
    const ask = async (name: string): Promise<void> => {
      client.send(`GET / HTTP/1.1\r\nHost: shop\r\nX-Version: ${name}\r\n\r\n`);
      const answer = await client.response();
      expect([answer.status, answer.body.toString()]).toEqual([200, name]);
    };
    for (const { name } of versions) await ask(name);
    const accepted = versions.map((one) => one.accepted());
    expect(accepted).toEqual([4, 4]);

    for (let step = 1; step <= CHANGES; step++) {
      kit.apply(...tableOf(step, ports));
      for (const { streams } of versions) {
        streams[0]!.write(`data: ${step}\n\n`);
        if (step === CHANGES) streams[1]!.end(PIECE);
        else if (step % (CHANGES / PIECES) === 0) streams[1]!.write(PIECE);
      }
      for (const { socket } of opened) socket.send(String(step));
      await new Promise((resolve) => setImmediate(resolve));
      if (step % 10 === 0) for (const { name } of versions) await ask(name);
    }

    for (const [at, { echoes, events, download, closed }] of opened.entries()) {
      const { name, streams } = versions[at]!;
      await eventually(() => expect(echoes).toHaveLength(CHANGES));
      expect(echoes).toEqual(Array.from({ length: CHANGES }, (_, i) => `${name} ${i + 1}`));
      await events.until(`data: ${CHANGES}\n\n`);
      const numbers = [...events.text.matchAll(/data: (\d+)/g)].map(([, number]) => Number(number));
      expect(numbers).toEqual(Array.from({ length: CHANGES }, (_, i) => i + 1));
      const answer = await download.response();
      const whole = createHash("sha256").update(Buffer.concat(Array.from({ length: PIECES }, () => PIECE)));
      expect(createHash("sha256").update(answer.body).digest("hex")).toBe(whole.digest("hex"));
      expect([closed(), events.ended]).toEqual([false, false]);
      streams[0]!.end();
    }
    expect(versions.map((one) => one.accepted())).toEqual(accepted);
    for (const { socket } of opened) socket.close(1000);
    for (const slot of [1, 2]) {
      await eventually(async () => {
        expect(await kit.books(slot)).toMatchObject({
          tunnels: 1,
          eventStreams: 1,
          inFlight: 0,
          drained: 0,
          lost: {},
          cut: {},
        });
      });
    }
  } finally {
    for (const one of versions) one.close();
  }
});
