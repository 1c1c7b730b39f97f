/** The relay parts two processes as a network would: nothing arrives, late, slowly, or with a reset. */
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { until } from "../../support/processes.ts";
import { Relay } from "../../support/relay.ts";

let relay: Relay;
let server: ReturnType<typeof createServer>;
const served: Socket[] = [];
const opened: Socket[] = [];

beforeEach(async () => {
  server = createServer((socket) => {
    served.push(socket.on("error", () => undefined));
    socket.pipe(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  relay = await Relay.start({ host: "127.0.0.1", port: (server.address() as AddressInfo).port }, 0);
});
afterEach(async () => {
  for (const socket of [...opened.splice(0), ...served.splice(0)]) socket.destroy();
  await relay[Symbol.asyncDispose]();
  server.close();
});

interface Client {
  readonly socket: Socket;
  said: string;
  error: string;
}

function open(): Client {
  const [host = "", port = ""] = relay.address.split(":");
  const socket = connect({ host, port: Number(port) });
  opened.push(socket);
  const client: Client = { socket, said: "", error: "" };
  socket.setEncoding("utf8").on("data", (text: string) => (client.said += text));
  socket.on("error", (error: NodeJS.ErrnoException) => (client.error = error.code ?? error.message));
  return client;
}

test("in a hole nothing arrives and nobody is told; afterwards all of it does, in order", async () => {
  const client = open();
  client.socket.write("before.");
  await until("the echo comes", () => client.said === "before.");
  relay.set({ kind: "hole" });
  client.socket.write("meanwhile.");
  const late = open();
  late.socket.write("late.");
  // What would go through does so within the time of another relay's round trip.
  await using other = await Relay.start({ host: "127.0.0.1", port: (server.address() as AddressInfo).port }, 0);
  const [host = "", port = ""] = other.address.split(":");
  const beside = connect({ host, port: Number(port) });
  opened.push(beside);
  beside.write("beside.");
  await once(beside, "data");
  expect([client.said, client.error, late.said, late.error]).toEqual(["before.", "", "", ""]);
  relay.set({ kind: "pass" });
  await until("what waited arrives", () => client.said === "before.meanwhile." && late.said === "late.");
});

test("a cut resets what is open, and what is opened meanwhile", async () => {
  const client = open();
  client.socket.write("x");
  await until("the echo comes", () => client.said === "x");
  relay.set({ kind: "cut" });
  await until("it is reset", () => client.error === "ECONNRESET");
  const refused = open();
  await until("the new one is reset too", () => refused.error === "ECONNRESET");
  relay.set({ kind: "pass" });
  const again = open();
  again.socket.write("y");
  await until("the way is open again", () => again.said === "y");
});

test("what trickles up goes on at once when it may", async () => {
  relay.set({ kind: "trickle", bytesPerSecond: 0.001 });
  const client = open();
  client.socket.write("slow.");
  await until("the server is reached", () => served.length === 1);
  served[0]?.write("down.");
  await until("the way down is free", () => client.said === "down.");
  relay.set({ kind: "pass" });
  await until("the way up is, too", () => client.said === "down.slow.");
});

test("an end is passed on as an end", async () => {
  const client = open();
  client.socket.end("last.");
  await once(client.socket, "end");
  expect([client.said, client.error]).toEqual(["last.", ""]);
});
