/** Workers come and go; the listening socket does not. Real processes, real sockets. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { Agent } from "node:http";
import { expect, test } from "vitest";
import type { CoreSession, TestAgent } from "../../support/keeper/agent.ts";
import { alive, gone, startAgent } from "../../support/keeper/agent.ts";
import { until } from "../../support/processes.ts";
import { exchange, startClients } from "../../support/keeper/steady-client.ts";

async function serving(agent: TestAgent, workers = 1): Promise<{ core: CoreSession; key: string; pids: number[] }> {
  const core = await agent.core();
  const { key } = await core.bind();
  core.send({ type: "table", table: { sequence: 1 } });
  expect((await core.generation(workers)).error).toBeNull();
  return { core, key, pids: pidsOf(core) };
}

function pidsOf(core: CoreSession): number[] {
  const last = new Map<number, number>();
  for (const message of core.messages) {
    if (message.type === "worker" && message.worker.phase === "serving")
      last.set(message.worker.id, message.worker.pid);
    if (message.type === "worker" && message.worker.phase === "draining") last.delete(message.worker.id);
    if (message.type === "worker-exited") last.delete(message.worker.id);
  }
  return [...last.values()];
}

const fresh = (): Agent => new Agent({ keepAlive: false });

test("connections made while there is no worker wait, and the successor answers them", async () => {
  await using agent = await startAgent();
  const { core, key, pids } = await serving(agent);
  const [killed = 0] = pids;
  process.kill(killed, "SIGKILL");
  await gone(killed);
  const answers = await Promise.all(Array.from({ length: 20 }, () => exchange(fresh(), key)));
  const { worker } = await core.next(
    "worker",
    (message) => message.worker.phase === "serving" && message.worker.pid !== killed,
  );
  expect(new Set(answers)).toEqual(new Set([String(worker.pid)]));
});

test("a worker killed under load: nobody is refused, and only what it carried is cut", async () => {
  await using agent = await startAgent();
  const { core, key, pids } = await serving(agent, 2);
  const clients = startClients(key, { clients: 10, keepAlive: false, pauseMs: 5 });
  for (const pid of pids) {
    process.kill(pid, "SIGKILL");
    await core.next("worker", ({ worker }) => worker.phase === "serving");
  }
  const { answered, failures } = await clients.stop();
  expect(answered).toBeGreaterThan(20);
  expect(failures.filter((code) => code !== "ECONNRESET")).toEqual([]); // no ECONNREFUSED above all
  expect(failures.length).toBeLessThanOrEqual(20); // at most what 10 clients had on each of two workers
});

test("what a killed worker had in flight is in its statistics file, which stays until the core has taken it", async () => {
  await using agent = await startAgent();
  const { core, key, pids } = await serving(agent);
  const cut = expect(exchange(fresh(), key, undefined, "/slow/60000")).rejects.toThrow();
  const file = core.messages.flatMap((m) => (m.type === "worker" ? [m.worker.statsFile] : []))[0]!;
  await until("the request is in flight", () => readFileSync(file, "utf8") === '{"inFlight":1}');
  process.kill(pids[0]!, "SIGKILL");
  await cut;
  const { worker } = await core.next("worker-exited");
  expect(worker).toMatchObject({ died: true, statsFile: file, exit: { signal: "SIGKILL" } });
  expect(readFileSync(file, "utf8")).toBe('{"inFlight":1}');
  core.send({ type: "taken", worker: worker.id });
  await until("the file is gone", () => !existsSync(file));
});

test("generations swapped under load lose nothing: kept connections, idle pauses, POSTs", async () => {
  await using agent = await startAgent();
  const { core, key } = await serving(agent);
  const kept = startClients(key, { clients: 8, keepAlive: true, pauseMs: 120 });
  const each = startClients(key, { clients: 4, keepAlive: false, pauseMs: 20 });
  for (let swap = 0; swap < 4; swap++) {
    expect((await core.generation(2)).error).toBeNull();
    await core.next("worker-exited", ({ worker }) => !worker.died);
  }
  const records = await Promise.all([kept.stop(), each.stop()]);
  for (const { answered, failures, by } of records) {
    expect(failures).toEqual([]);
    expect(answered).toBeGreaterThan(40);
    expect(by.size).toBeGreaterThan(1);
  }
  expect(core.messages.filter((m) => m.type === "worker-exited" && m.worker.died)).toEqual([]);
});

test("a generation that can't start is given up, and the one before goes on", async () => {
  await using agent = await startAgent();
  const { core, key, pids } = await serving(agent, 2);
  const clients = startClients(key, { clients: 4, keepAlive: true, pauseMs: 10 });
  writeFileSync(agent.workerFault, "");
  const { generation, error } = await core.generation(2);
  expect(generation).toBe(2);
  expect(error).toMatch(/worker of generation 2 exited with 3, 3 times; generation 1 goes on/);
  const { failures, by } = await clients.stop();
  expect(failures).toEqual([]);
  expect([...by.keys()].every((pid) => pids.includes(Number(pid)))).toBe(true);
  expect(pids.every(alive)).toBe(true);

  rmSync(agent.workerFault);
  expect(await core.generation(1)).toMatchObject({ generation: 3, error: null });
});

test("a generation asked for while another is coming replaces it", async () => {
  await using agent = await startAgent();
  const { core, key } = await serving(agent);
  core.send({ type: "generation", workers: 2 });
  core.send({ type: "generation", workers: 1 });
  expect(await core.next("generation")).toMatchObject({ generation: 3, error: null });
  await until("one worker is left", () => pidsOf(core).length === 1);
  expect(await exchange(fresh(), key)).toBe(String(pidsOf(core)[0]));
});

test("a refused table is not handed to the next worker", async () => {
  await using agent = await startAgent();
  const { core, key, pids } = await serving(agent);
  core.send({ type: "table", table: { sequence: 2, fault: "refuse" } });
  expect((await core.next("relayed", ({ body }) => (body as { kind: string }).kind === "rejected")).body).toEqual({
    kind: "rejected",
    sequence: 2,
    why: "the test says so",
  });
  expect(await exchange(fresh(), key)).toBe(String(pids[0]));
  process.kill(pids[0]!, "SIGKILL");
  await core.next("relayed", ({ body }) => (body as { kind: string; sequence: number }).sequence === 1);
  expect(await exchange(fresh(), key)).not.toBe(String(pids[0]));
});

test("a port in use is told with its address, and the other listeners are bound all the same", async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address() as { port: number };
  try {
    await using agent = await startAgent();
    const core = await agent.core();
    core.send({
      type: "bind",
      listeners: [
        { name: "a/0", address: "127.0.0.1", port },
        { name: "b/0", address: "127.0.0.1", port: 0 },
        { name: "c/0", address: "shop.example", port: 80 },
        { name: "d/0", address: "::1", port: 0 },
        { name: "e/0", address: "192.0.2.1", port: 0 },
      ],
    });
    expect((await core.next("bound")).error).toBe(
      `127.0.0.1:${String(port)}: the port is in use by another process (EADDRINUSE)`,
    );
    expect(await core.next("bound")).toMatchObject({ name: "b/0", error: null });
    expect((await core.next("bound")).error).toBe(`shop.example:80: "shop.example" is not an IP address`);
    const { listener } = await core.next("bound");
    expect(listener?.key).toBe(`[::1]:${String(listener?.port)}`);
    expect((await core.next("bound")).error).toBe("192.0.2.1:0: this host has no such address (EADDRNOTAVAIL)");
    core.send({ type: "table", table: { sequence: 1 } });
    expect((await core.generation()).error).toBeNull();
    expect((await fetch(`http://${listener!.key}/`)).status).toBe(200);
  } finally {
    other.close();
  }
});

test("two agents can't bind one port, though no worker of either listens yet", async () => {
  await using first = await startAgent();
  await using second = await startAgent();
  const { port } = await (await first.core()).bind();
  await expect((await second.core()).bind("shop/0", port)).rejects.toThrow("in use");
});

test("a bind that is said again answers with the same port; a listener given up is taken up again while workers use it", async () => {
  await using agent = await startAgent();
  const { core, key } = await serving(agent);
  expect((await core.bind()).key).toBe(key);
  const port = Number(key.split(":")[1]);
  expect((await core.bind("shop/0", port)).key).toBe(key);
  await expect(core.bind("cart/0", port)).rejects.toThrow(`${key}: already bound for shop/0`);

  core.send({ type: "unbind", names: ["shop/0"] });
  expect(await exchange(fresh(), key)).toMatch(/^\d+$/); // its worker goes on accepting
  expect((await core.bind("cart/0", port)).key).toBe(key);
  expect((await core.generation()).error).toBeNull();
  core.send({ type: "unbind", names: ["cart/0"] });
  expect((await core.generation()).error).toBeNull();
  await until("nothing listens there", () =>
    exchange(fresh(), key).then(
      () => false,
      (e: unknown) => (e as NodeJS.ErrnoException).code === "ECONNREFUSED",
    ),
  );
});
