/**
 * The pod: who listens while an agent's container is replaced. That the kernel moves queues from one listener to the
 * other takes a network namespace of one's own; `npm run compose:test` shows that.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import type { IncomingMessage } from "node:http";
import { BoundSocket, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { startAgent } from "../../support/keeper/agent.ts";
import { startNode, until } from "../../support/processes.ts";
import type { RunningProcess } from "../../support/processes.ts";

const folders: string[] = [];
function socketPath(): string {
  const made = mkdtempSync(join(tmpdir(), "baton-pod-"));
  folders.push(made);
  return join(made, "pod.sock");
}
afterEach(() => {
  for (const made of folders.splice(0)) rmSync(made, { recursive: true, force: true });
});

async function startPod(path: string, hold = "30s"): Promise<RunningProcess> {
  const pod = startNode("agent/keeper/pod/main.ts", { args: ["--socket", path, "--hold", hold] });
  await pod.line(/pod started/);
  return pod;
}

/** One line to the pod, its answer. */
function say(path: string, line: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect(path).setEncoding("utf8");
    socket.on("data", (piece: string) => (text += piece));
    socket.on("error", reject);
    socket.on("close", () => resolve(text === "" ? null : JSON.parse(text)));
    socket.write(`${line}\n`);
  });
}

function freePort(): number {
  const bound = new BoundSocket({ host: "127.0.0.1", port: 0 });
  const { port } = bound.address();
  bound.close();
  return port;
}

const accepted = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });

const post = (port: number): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const asked = request({ host: "127.0.0.1", port, method: "POST", path: "/orders" }, resolve);
    asked.on("error", reject).end("an order");
  });

test("what connects while no agent is there waits, and is refused only after the hold's end: 503, nothing sent on", async () => {
  const path = socketPath();
  await using _ = await startPod(path, "300ms");
  const port = freePort();
  expect(await say(path, JSON.stringify({ type: "hold", addresses: [{ address: "127.0.0.1", port }] }))).toEqual({
    errors: [],
  });
  const answer = await post(port);
  expect(answer.statusCode).toBe(503);
  expect(answer.headers["baton-error"]).toBe("no_instance; sent=0");
  // And so is who comes later, until an agent serves.
  expect((await post(port)).statusCode).toBe(503);
  expect(await say(path, '{"type":"release"}')).toEqual({ errors: [] });
  expect(await accepted(port)).toBe(false);
});

test("an agent that stops leaves its listeners to the pod, and the next one takes them back", async () => {
  const path = socketPath();
  await using pod = await startPod(path);
  let port = 0;
  {
    await using agent = await startAgent({ args: ["--pod", path] });
    const core = await agent.core();
    const { key } = await core.bind();
    port = Number(key.split(":")[1]);
    core.send({ type: "table", table: { sequence: 1 } });
    expect((await core.generation()).error).toBeNull();
    agent.keeper.signal("SIGTERM");
    await core.next("stopping");
    core.send({ type: "shutdown", code: 0 });
    expect((await agent.keeper.exited).code).toBe(0);
  }
  await pod.line(/listeners are held/);
  expect(await accepted(port)).toBe(true);

  await using next = await startAgent({ args: ["--pod", path] });
  const core = await next.core();
  core.send({ type: "bind", listeners: [{ name: "shop/0", address: "127.0.0.1", port }] });
  expect((await core.next("bound")).error).toBeNull();
  core.send({ type: "table", table: { sequence: 1 } });
  expect((await core.generation()).error).toBeNull();
  await pod.line(/listeners are let go/);
  await until("the next agent alone answers", () => accepted(port));
});

test("a pod that is not there costs the agent a warning and no more", async () => {
  await using agent = await startAgent({ args: ["--pod", socketPath()] });
  const core = await agent.core();
  await core.bind();
  core.send({ type: "table", table: { sequence: 1 } });
  expect((await core.generation()).error).toBeNull();
  agent.keeper.signal("SIGTERM");
  core.send({ type: "shutdown", code: 0 });
  expect(await agent.keeper.exited).toEqual({ code: 0, signal: null });
  expect(agent.keeper.stderr).toMatch(/pod: hold was not heard/);
});

test("nonsense on its socket is answered as such, and a second pod on one socket ends with a sentence", async () => {
  const path = socketPath();
  await using pod = await startPod(path);
  for (const line of ["", "{}", "[1]", '{"type":"hold"}', '{"type":"hold","addresses":[{"address":"::","port":0}]}']) {
    expect(await say(path, line)).toEqual({ errors: ["not understood"] });
  }
  const answer = await say(path, '{"type":"hold","addresses":[{"address":"nowhere","port":80}]}');
  expect(JSON.stringify(answer)).toContain("is not an IP address");
  await using second = startNode("agent/keeper/pod/main.ts", { args: ["--socket", path] });
  expect((await second.exited).code).toBe(1);
  expect(second.stderr).toContain("another pod is there");
  expect(pod.exit).toBeNull();
});
