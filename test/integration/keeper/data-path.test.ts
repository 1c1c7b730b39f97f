/** The keeper with Baton's own worker and data path: kills and swaps under traffic to a real app. */
import { EVERY_REQUEST, NO_FILTERS } from "../../../proto/contract/spec/types.ts";
import { createServer } from "node:http";
import { Agent } from "node:http";
import { expect, test } from "vitest";
import type { TableConfig } from "../../../agent/proxy/config.ts";
import { COUNTER } from "../../../agent/proxy/stats-layout.ts";
import { readStats } from "../../support/stats-reader.ts";
import { WHOLE } from "../../../proto/contract/units.ts";
import type { CoreSession, TestAgent } from "../../support/keeper/agent.ts";
import { alive, gone, startAgent } from "../../support/keeper/agent.ts";
import { exchange, startClients } from "../../support/keeper/steady-client.ts";
import { until } from "../../support/processes.ts";

const SLOT = 1;

function tableFor(key: string, port: number, sequence: number): TableConfig {
  const endpoint = { id: "app", address: "127.0.0.1", port, kind: "app", mode: "serving", slot: SLOT } as const;
  return {
    sequence,
    agent: "test",
    listeners: [{ key, services: [0] }],
    services: [
      {
        name: "shop",
        hostnames: [],
        rules: [
          {
            ...EVERY_REQUEST,
            ...NO_FILTERS,
            path: { type: "PathPrefix", value: "/" },
            timeouts: { requestMs: null },
            retry: { attempts: 2, methods: [] },
          },
        ],
        drain: { timeoutMs: 30_000, sseMs: 5_000, websocketMs: 5_000, killMs: 5_000, onTimeout: "cut" },
        accepting: true,
        versions: [{ revision: 1, version: "v1", weight: WHOLE, endpoints: [endpoint] }],
        slot: 0,
        sticky: null,
        routes: [],
        mirrors: [],
      },
    ],
  };
}

/** Answers what steady-client.ts expects: a POST its length; `/slow/MS` after that time. */
async function startApp(): Promise<{ readonly port: number } & AsyncDisposable> {
  const server = createServer((request, response) => {
    let bytes = 0;
    request.on("data", (chunk: Buffer) => (bytes += chunk.length));
    request.on("end", () => {
      const wait = Number(/^\/slow\/(\d+)$/.exec(request.url ?? "")?.[1] ?? 0);
      setTimeout(() => response.end(request.method === "POST" ? String(bytes) : "v1"), wait);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function serving(
  agent: TestAgent,
  port: number,
  workers: number,
): Promise<{ core: CoreSession; key: string; pids: number[]; stats: string[] }> {
  const core = await agent.core();
  const { key } = await core.bind();
  core.send({ type: "table", table: tableFor(key, port, 1) });
  expect((await core.generation(workers)).error).toBeNull();
  const up = core.messages.flatMap((m) => (m.type === "worker" && m.worker.phase === "serving" ? [m.worker] : []));
  return { core, key, pids: up.map(({ pid }) => pid), stats: up.map(({ statsFile }) => statsFile) };
}

const counter = (file: string, index: number): number => {
  const read = readStats(file);
  return read.kind === "ok" ? (read.stats.counters(SLOT)[index] ?? 0) : -1;
};

test("new generations under traffic lose nothing, and the old ones leave by themselves", async () => {
  await using app = await startApp();
  await using agent = await startAgent({ realWorker: true });
  const { core, key } = await serving(agent, app.port, 1);
  const kept = startClients(key, { clients: 8, keepAlive: true, pauseMs: 150 });
  const each = startClients(key, { clients: 3, keepAlive: false, pauseMs: 20 });
  for (let swap = 0; swap < 3; swap++) {
    expect((await core.generation(2)).error).toBeNull();
    await core.next("worker-exited");
  }
  const records = await Promise.all([kept.stop(), each.stop()]);
  for (const { answered, failures } of records) {
    expect(failures).toEqual([]);
    expect(answered).toBeGreaterThan(30);
  }
  expect(core.messages.filter((m) => m.type === "worker-exited" && m.worker.died)).toEqual([]);
});

test("a worker is killed: nobody is refused, the next connection is answered, and its file says what was in flight", async () => {
  await using app = await startApp();
  await using agent = await startAgent({ realWorker: true });
  const { core, key, pids, stats } = await serving(agent, app.port, 1);
  const [pid = 0] = pids;
  const [file = ""] = stats;
  const fresh = (): Agent => new Agent({ keepAlive: false });
  const cut = Promise.allSettled(Array.from({ length: 3 }, () => exchange(fresh(), key, undefined, "/slow/60000")));
  await until("three requests are in flight", () => counter(file, COUNTER.inFlight) === 3);
  process.kill(pid, "SIGKILL");
  await gone(pid);
  const answers = await Promise.all(Array.from({ length: 20 }, () => exchange(fresh(), key)));
  expect(new Set(answers)).toEqual(new Set(["v1"]));
  expect((await cut).map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
  const { worker } = await core.next("worker-exited");
  expect(worker.died).toBe(true);
  expect(counter(worker.statsFile, COUNTER.inFlight)).toBe(3);
});

test("SIGTERM: what is in flight is answered before the worker leaves", async () => {
  await using app = await startApp();
  await using agent = await startAgent({ realWorker: true });
  const { core, key, pids, stats } = await serving(agent, app.port, 1);
  const slow = exchange(new Agent({ keepAlive: true }), key, "x".repeat(2_000), "/slow/1200");
  await until("it is in flight", () => counter(stats[0]!, COUNTER.inFlight) === 1);
  agent.keeper.signal("SIGTERM");
  await core.next("stopping");
  core.send({ type: "shutdown", code: 0 });
  expect(await slow).toBe("2000");
  expect(await agent.keeper.exited).toEqual({ code: 0, signal: null });
  expect(pids.filter(alive)).toEqual([]);
});

test("connections are listed through the keeper, and a table that can't be is refused with its reason", async () => {
  await using app = await startApp();
  await using agent = await startAgent({ realWorker: true });
  const { core, key } = await serving(agent, app.port, 1);
  const kept = new Agent({ keepAlive: true });
  await exchange(kept, key);
  core.send({ type: "relay", worker: 1, body: { kind: "list-connections", request: 5, limit: 10 } });
  const { body } = await core.next("relayed", (m) => (m.body as { kind: string }).kind === "connections");
  expect(body).toMatchObject({ request: 5, list: [{ listener: key, requests: 1 }] });
  kept.destroy();

  core.send({ type: "table", table: { ...tableFor(key, app.port, 2), services: [{}] } });
  const refused = await core.next("relayed", (m) => (m.body as { kind: string }).kind === "rejected");
  expect(refused.body).toMatchObject({ sequence: 2, why: expect.stringMatching(/\w+/) as string });
  expect(await exchange(new Agent(), key)).toBe("v1");
});

const refused = (key: string): Promise<void> =>
  until("new connections are refused", () =>
    exchange(new Agent({ keepAlive: false }), key).then(
      () => false,
      (error: unknown) => (error as NodeJS.ErrnoException).code === "ECONNREFUSED",
    ),
  );

test("a listener that was removed refuses at once, though an old worker still answers; and can be bound again", async () => {
  await using app = await startApp();
  await using agent = await startAgent({ realWorker: true });
  const { core, key, pids, stats } = await serving(agent, app.port, 1);
  const answer = exchange(new Agent(), key, undefined, "/slow/5000");
  await until("the request is in flight", () => counter(stats[0]!, COUNTER.inFlight) === 1);
  await core.bind("other/0");
  core.send({ type: "unbind", names: ["shop/0"] });
  expect((await core.generation()).error).toBeNull();
  await refused(key);
  expect(alive(pids[0]!)).toBe(true);

  expect((await core.bind("shop/0", Number(key.split(":")[1]))).key).toBe(key);
  expect((await core.generation()).error).toBeNull();
  expect(await exchange(new Agent({ keepAlive: false }), key)).toBe("v1");
  expect(alive(pids[0]!)).toBe(true);
  expect(await answer).toBe("v1");
});

test("an agent that stops refuses at once, though a worker still answers", async () => {
  await using app = await startApp();
  await using agent = await startAgent({ realWorker: true });
  const { core, key, pids, stats } = await serving(agent, app.port, 2);
  const answer = exchange(new Agent(), key, undefined, "/slow/5000");
  await until("the request is in flight", () => stats.some((file) => counter(file, COUNTER.inFlight) === 1));
  agent.keeper.signal("SIGTERM");
  await core.next("stopping");
  core.send({ type: "shutdown", code: 0 });
  await refused(key);
  expect(pids.some(alive)).toBe(true);
  expect(await answer).toBe("v1");
});
