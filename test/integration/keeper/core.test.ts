/** The core decides, and may die at it: what it decided stays, and the next one is told all of it. */
import { expect, test } from "vitest";
import { alive, gone, startAgent } from "../../support/keeper/agent.ts";
import { appSpec } from "../../support/keeper/app-spec.ts";
import { startClients } from "../../support/keeper/steady-client.ts";

test("the core is killed: workers and apps keep their pids, traffic goes on, the next core is told everything", async () => {
  await using agent = await startAgent();
  const first = await agent.core();
  const listener = await first.bind();
  first.send({ type: "table", table: { sequence: 7 } });
  first.send({ type: "launch", process: appSpec(agent, "shop-1", "sleep 60") });
  const app = (await first.next("process")).process;
  expect((await first.generation(2)).error).toBeNull();
  const clients = startClients(listener.key, { clients: 6, keepAlive: true, pauseMs: 10 });
  const workers = first.messages.flatMap((m) =>
    m.type === "worker" && m.worker.phase === "serving" ? [m.worker] : [],
  );

  process.kill(first.pid, "SIGKILL");
  const second = await agent.core();
  expect(second.pid).not.toBe(first.pid);
  expect(second.state).toMatchObject({
    options: first.state.options,
    boot: first.state.boot,
    listeners: [listener],
    processes: [app],
    deadWorkers: [],
    table: { sequence: 7 },
  });
  expect(second.state.workers).toEqual(workers.toSorted((a, b) => a.id - b.id));
  second.send({ type: "table", table: { sequence: 8 } });
  await second.next("relayed", ({ body }) => (body as { sequence: number }).sequence === 8);
  expect((await clients.stop()).failures).toEqual([]);
  expect([app.pid, ...workers.map(({ pid }) => pid)].every(alive)).toBe(true);
});

test("with no core at all, a killed worker's successor has the last table, and the next core hears of both", async () => {
  await using agent = await startAgent();
  const first = await agent.core();
  const { key } = await first.bind();
  first.send({ type: "table", table: { sequence: 1 } });
  await first.generation();
  const [worker] = first.messages.flatMap((m) => (m.type === "worker" ? [m.worker] : []));
  process.kill(first.pid, "SIGSTOP"); // there, and deaf: worse than gone
  process.kill(worker!.pid, "SIGKILL");
  expect(await (await fetch(`http://${key}/`)).text()).not.toBe(String(worker!.pid));
  process.kill(first.pid, "SIGKILL");
  const second = await agent.core();
  expect(second.state.workers).toMatchObject([{ phase: "serving", generation: 1 }]);
  expect(second.state.deadWorkers).toMatchObject([{ id: worker!.id, died: true, statsFile: worker!.statsFile }]);
});

test("a core that died before its answer came may say everything again", async () => {
  await using agent = await startAgent();
  const first = await agent.core();
  const spec = appSpec(agent, "shop-1", "sleep 60");
  first.send({ type: "table", table: { sequence: 1 } });
  first.send({ type: "bind", listeners: [{ name: "shop/0", address: "127.0.0.1", port: 0 }] });
  first.send({ type: "launch", process: spec });
  first.send({ type: "generation", workers: 1 });
  await first.next("process");
  process.kill(first.pid, "SIGKILL");

  const second = await agent.core();
  const { key } = await second.bind();
  second.send({ type: "launch", process: spec });
  const again = (await second.next("process")).process;
  expect(again.pid).toBe(second.state.processes[0]!.pid);
  expect((await second.generation()).error).toBeNull();
  expect((await fetch(`http://${key}/`)).status).toBe(200);
});

test("what is not understood is dropped, with a line in the log, and what comes after it is carried out", async () => {
  await using agent = await startAgent();
  const core = await agent.core();
  for (const message of [
    { type: "melt" },
    { type: "bind", listeners: [{ name: "x", address: 1, port: "a" }] },
    { type: "launch", process: { id: "x" } },
    { type: "generation", workers: 0 },
    { type: "relay", worker: 99, body: {} },
    { type: "kill", id: "nobody", signal: "SIGKILL" },
    { type: "forget", id: "nobody" },
    { type: "taken", worker: 99 },
    7,
    null,
  ])
    core.send(message as never);
  await core.bind();
  expect(agent.keeper.lines.filter(({ text }) => text.includes("not understood"))).toHaveLength(6);
  expect(core.ended).toBe(false);
});

test("a core that dies again and again is tried again ever later, and traffic does not mind", async () => {
  await using agent = await startAgent();
  const first = await agent.core();
  const { key } = await first.bind();
  first.send({ type: "table", table: { sequence: 1 } });
  await first.generation();
  const clients = startClients(key, { clients: 3, keepAlive: true, pauseMs: 10 });
  let core = first;
  const starts: number[] = [];
  for (let death = 0; death < 4; death++) {
    process.kill(core.pid, "SIGKILL");
    await gone(core.pid);
    const died = performance.now();
    core = await agent.core();
    starts.push(performance.now() - died);
  }
  expect(starts.at(-1)!).toBeGreaterThan(150); // the third and later ones wait 100 ms and more
  expect((await clients.stop()).failures).toEqual([]);
});
