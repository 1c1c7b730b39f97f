/** A real agent, keeper, core, workers and apps, on a static file: what an operator without a controller sees. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { freePort } from "../../../control/cli/up/ports.ts";
import { StaticAgent, document, fetchText } from "../../support/core/static-agent.ts";
import { gone } from "../../support/keeper/agent.ts";
import { startClients } from "../../support/keeper/steady-client.ts";
import { until } from "../../support/processes.ts";

const STEADY = { clients: 8, keepAlive: true, pauseMs: 10 };

function childrenOf(pid: number, title: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const parent = Number(readFileSync(`/proc/${name}/stat`, "utf8").split(") ")[1]?.split(" ")[1]);
        return parent === pid && readFileSync(`/proc/${name}/cmdline`, "utf8").includes(title);
      } catch {
        return false;
      }
    })
    .map(Number);
}

test("v1 → v2 by editing the file, under traffic: nothing fails, v1 leaves by itself", async () => {
  await using agent = await StaticAgent.start();
  const clients = startClients(`127.0.0.1:${await agent.port()}`, STEADY);
  await agent.until("traffic runs", ([v1]) => v1!.started > 50);
  agent.write(document({ version: "v2" }));
  await agent.until("v2 serves and v1 has gone", (all) => {
    const state = (version: string) => all.find((one) => one.version === version)?.state;
    return state("v2") === "serving" && state("v1") === "stopped";
  });
  const v1 = (await agent.instances()).find(({ version }) => version === "v1")!;
  expect(v1.exit).toEqual({ code: 0, signal: null });
  await agent.until("v2 carries traffic", (all) => all.some((one) => one.version === "v2" && one.started > 50));
  const { failures, answered, by } = await clients.stop();
  expect(failures).toEqual([]);
  expect(answered).toBeGreaterThan(100);
  expect(new Set([...by.keys()].map((text) => text.split(" ")[0]))).toEqual(new Set(["v1", "v2"]));
  const { traffic } = await agent.json<{ traffic: { lost: number[] }[] }>("/report");
  expect(traffic.flatMap(({ lost }) => lost).every((count) => count === 0)).toBe(true);
});

test("a bad file is refused with its line, the old one stays; a version never ready is refused with its output", async () => {
  await using agent = await StaticAgent.start();
  agent.write(document({ version: "v2" }).replace("version: v2", "versoin: v2"));
  await agent.process.line(/refused: shop\.yaml:5:3: spec\.versoin: unknown key/);
  expect((await agent.ask()).text).toMatch(/^v1 /);
  expect((await agent.admin("/config")).text).toContain("versoin");
  expect((await agent.admin("/readyz")).status).toBe(200);

  agent.write(document({ version: "v3" }));
  const [line] = await agent.process.line(/v3 \(revision 2\) is refused, v1 \(revision 1\) stays: .*/);
  expect(line).toContain("not healthy within 2s");
  expect(line).toContain("readiness: 503");
  expect(line).toContain("v3 begins on");
  await agent.until("v3 is stopped", (all) =>
    all.every(({ version, state }) => version !== "v3" || state === "stopped"),
  );
  expect((await agent.ask()).text).toMatch(/^v1 /);

  agent.write(document({ version: "v2" }));
  await agent.until("v2 serves", (all) => all.some((one) => one.version === "v2" && one.state === "serving"));
});

test("an app that crashes is started again, and its exit and last words are told", async () => {
  await using agent = await StaticAgent.start();
  const [before] = await agent.instances();
  await agent.ask("/crash").catch(() => undefined);
  await agent.until("it is known to have failed", ([one]) => one!.exit?.code === 3);
  const [failed] = await agent.instances();
  if (failed!.state === "failed") expect(failed!.output).toContain("Error: out of luck");
  await agent.until("it serves again", ([one]) => one!.state === "serving");
  const [after] = await agent.instances();
  expect(after).toMatchObject({ id: before!.id, restarts: 1, exit: { code: 3, signal: null } });
  expect(after!.pid).not.toBe(before!.pid);
  expect((await agent.incidents()).at(-1)).toMatchObject({ kind: "instance_exited", service: "shop" });
  expect((await agent.ask()).status).toBe(200);
});

test("the core is killed: apps and traffic go on untouched, the next core has them, and can roll them", async () => {
  await using agent = await StaticAgent.start();
  const [before] = await agent.instances();
  const clients = startClients(`127.0.0.1:${await agent.port()}`, STEADY);
  for (let kill = 1; kill <= 3; kill++) {
    const [core] = childrenOf(agent.process.pid, "baton-core");
    const after = agent.process.lines.length;
    process.kill(core!, "SIGKILL");
    await agent.adminAgain(after);
    await agent.ready();
  }
  const [found] = await agent.instances();
  expect(found).toMatchObject({ id: before!.id, pid: before!.pid, port: before!.port, restarts: 0, state: "serving" });
  expect((await agent.incidents()).filter(({ kind }) => kind === "core_started")).toHaveLength(3);
  agent.write(document({ version: "v2" }));
  await agent.until("v2 serves and v1 has gone", (all) => {
    const state = (version: string) => all.find((one) => one.version === version)?.state;
    return state("v2") === "serving" && state("v1") === "stopped";
  });
  const { failures, answered } = await clients.stop();
  expect(failures).toEqual([]);
  const { traffic } = await agent.json<{ traffic: { completed: number }[] }>("/report");
  expect(traffic.reduce((sum, { completed }) => sum + completed, 0)).toBe(answered);
});

// Found by chaos: a keeper was killed on a host that stood still; the next agent found its admin port taken by the core
// before, gave up, and ended the apps that were still carrying requests.
test("a keeper is killed while its core is frozen: the next agent serves, and has the admin port when that one is gone", async () => {
  await using agent = new StaticAgent();
  const admin = `127.0.0.1:${String(freePort(0))}`;
  agent.write(document());
  const before = agent.launch(["--admin", admin]);
  await agent.adminAgain();
  await agent.ready();
  const port = await agent.port();
  const [core] = childrenOf(before.pid, "baton-core");
  process.kill(core!, "SIGSTOP");
  try {
    process.kill(before.pid, "SIGKILL");
    await gone(before.pid); // its output stays open: the core has it too
    const next = agent.launch(["--admin", admin]);
    await next.line(/admin: can't listen yet/);
    await next.line(/"msg":"serving"/);
    await until("it answers", async () => (await fetchText(port, "/", "GET")).status === 200);
  } finally {
    process.kill(core!, "SIGCONT");
  }
  await agent.adminAgain();
  await agent.ready();
  expect((await agent.ask()).text).toMatch(/^v1 /);
  expect(agent.process.lines.filter(({ text }) => text.includes("admin on"))).toHaveLength(1);
});

test("a worker is killed: what it had in flight is on record by name, and only that", async () => {
  await using agent = await StaticAgent.start();
  const slow = agent.ask("/slow/3000").then(
    () => "answered",
    () => "cut",
  );
  await agent.until("it is in flight", ([one]) => one!.inFlight === 1);
  const [worker] = childrenOf(agent.process.pid, "baton-worker");
  process.kill(worker!, "SIGKILL");
  expect(await slow).toBe("cut");
  expect((await agent.ask()).status).toBe(200);
  await until("it is told", async () => (await agent.incidents()).some(({ kind }) => kind === "worker_died"));
  const died = (await agent.incidents()).find(({ kind }) => kind === "worker_died");
  expect(died?.message).toMatch(/^worker 1 was killed by SIGKILL; cut: 1 in flight on shop v1 shop-r1-0-/);
  type Row = { endpoint: string; lost: number[]; inFlight: number; started: number };
  const row = async (): Promise<Row> => {
    const { traffic } = await agent.json<{ traffic: Row[] }>("/report");
    return traffic.find(({ endpoint }) => endpoint.startsWith("shop-r1-0-"))!;
  };
  // The new worker has answered before it writes down that it has.
  await until("its count is whole", async () => (await row()).inFlight === 0);
  const shop = await row();
  expect([shop.started, shop.lost.reduce((sum, count) => sum + count)]).toEqual([2, 1]);
});

test("the agent is restarted with a file that is bad: it goes on with what was last good, on the same port", async () => {
  await using agent = await StaticAgent.start();
  const port = await agent.port();
  expect((await agent.process.stop()).code).toBe(0);
  agent.write("not: a service\n");
  await agent.begin();
  await agent.process.line(/refused: shop\.yaml:1:1.*going on with what was applied last/);
  await agent.ready();
  expect(await agent.port()).toBe(port);
  expect((await agent.ask()).text).toMatch(/^v1 /);
  agent.write(document({ version: "v2" }));
  await agent.until("v2 serves", (all) => all.some((one) => one.version === "v2" && one.state === "serving"));
});

test("a damaged last-good file is set aside under another name and told; the file is followed", async () => {
  await using agent = await StaticAgent.start();
  await agent.process.stop();
  writeFileSync(join(agent.state, "assignment.json"), "sha256:0000\n{}");
  await agent.begin();
  await agent.ready();
  const [incident] = await agent.incidents();
  expect(incident).toMatchObject({ kind: "state_set_aside" });
  expect(incident!.message).toContain("assignment.json can't be used: its checksum does not match its content");
  const aside = readdirSync(agent.state).filter((name) => name.startsWith("assignment.json.damaged-"));
  expect(aside).toHaveLength(1);
  expect(readFileSync(join(agent.state, aside[0]!), "utf8")).toBe("sha256:0000\n{}");
});

test("what can't begin ends with one line: a bad file, a port in use, an admin port in use", async () => {
  await using blocker = await listen();
  const cases = [
    {
      content: document({ extra: "bogus: 1\n" }),
      args: [],
      line: /^baton agent: shop\.yaml:\d+:1: bogus: unknown key/,
    },
    {
      content: document({ port: blocker.port }),
      args: [],
      line: new RegExp(`^baton agent: 127.0.0.1:${blocker.port}: the port is in use`),
    },
    {
      content: document(),
      args: ["--admin", `127.0.0.1:${blocker.port}`],
      line: new RegExp(`^baton agent: --admin 127.0.0.1:${blocker.port}: the port is in use`),
    },
  ];
  for (const { content, args, line } of cases) {
    await using agent = new StaticAgent();
    agent.write(content);
    const started = agent.launch(args);
    await started.line(line);
    expect((await started.exited).code).toBe(1);
  }
});

test("SIGHUP tries again what was refused", async () => {
  await using agent = await StaticAgent.start();
  agent.write(document({ version: "v4" }));
  const [line] = await agent.process.line(/v4 \(revision 2\) is refused.*/);
  expect(line).toContain("last exit: code 7");
  expect(line).toContain("fatal: no configuration");
  const after = agent.process.lines.length;
  agent.process.signal("SIGHUP");
  await agent.process.line(/v4 \(revision 2\) is refused/, { after });
});

async function listen(): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise<void>((done) => server.close(() => done())),
  };
}
