/** The agent's own beginning and end, gentle and otherwise. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { processSpace, procStat } from "../../../agent/keeper/proc.ts";
import type { CoreSession, TestAgent } from "../../support/keeper/agent.ts";
import { alive, gone, startAgent } from "../../support/keeper/agent.ts";
import { appSpec } from "../../support/keeper/app-spec.ts";
import { exchange } from "../../support/keeper/steady-client.ts";
import { startNode, until } from "../../support/processes.ts";

const folders: string[] = [];
function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "baton-state-"));
  folders.push(made);
  return made;
}
afterEach(() => {
  for (const made of folders.splice(0)) rmSync(made, { recursive: true, force: true });
});

async function serving(agent: TestAgent): Promise<{ core: CoreSession; key: string; worker: number; app: number }> {
  const core = await agent.core();
  const { key } = await core.bind();
  core.send({ type: "table", table: { sequence: 1 } });
  core.send({ type: "launch", process: appSpec(agent, "shop-1", "sleep 300 & wait") });
  const app = (await core.next("process")).process.pid;
  expect((await core.generation()).error).toBeNull();
  const worker = core.messages.flatMap((m) => (m.type === "worker" ? [m.worker.pid] : []))[0]!;
  return { core, key, worker, app };
}

const statsFolder = (core: CoreSession): string =>
  dirname(core.messages.flatMap((m) => (m.type === "worker" ? [m.worker.statsFile] : []))[0]!);

test("SIGTERM: the core is told, requests in flight are answered, apps are ended, nothing is left, exit 0", async () => {
  await using agent = await startAgent();
  const { core, key, worker, app } = await serving(agent);
  const stats = statsFolder(core);
  const slow = exchange(new Agent({ keepAlive: true }), key, undefined, "/slow/700");
  await until("it is in flight", () => readFileSync(join(stats, "worker-1"), "utf8").includes("1"));
  agent.keeper.signal("SIGTERM");
  expect((await core.next("stopping")).signal).toBe("SIGTERM");
  core.send({ type: "stopping" });
  core.send({ type: "launch", process: appSpec(agent, "late", "sleep 300") }); // refused
  core.send({ type: "shutdown", code: 0 });
  expect(await slow).toBe(String(worker));
  expect(await agent.keeper.exited).toEqual({ code: 0, signal: null });
  expect([worker, app, core.pid].filter(alive)).toEqual([]);
  expect(existsSync(stats)).toBe(false);
  expect(existsSync(join(agent.state, "keeper/processes.json"))).toBe(false);
  expect(core.messages.filter((m) => m.type === "process" && m.process.spec.id === "late")).toEqual([]);
});

test("SIGTERM with a core that does not answer: it is not waited for beyond the deadline", async () => {
  await using agent = await startAgent({ args: ["--stop-timeout", "2s"] });
  const { core, key, worker, app } = await serving(agent);
  process.kill(core.pid, "SIGSTOP");
  const slow = exchange(new Agent({ keepAlive: true }), key, undefined, "/slow/1700");
  await until("it is in flight", () => readFileSync(join(statsFolder(core), "worker-1"), "utf8").includes("1"));
  agent.keeper.signal("SIGTERM");
  expect(await slow).toBe(String(worker));
  expect((await agent.keeper.exited).code).toBe(0);
  expect([worker, app, core.pid].filter(alive)).toEqual([]);
});

test("a core that dies while the agent stops is started again, and told again", async () => {
  await using agent = await startAgent();
  const { core } = await serving(agent);
  agent.keeper.signal("SIGINT");
  await core.next("stopping");
  process.kill(core.pid, "SIGKILL");
  const second = await agent.core();
  expect((await second.next("stopping")).signal).toBe("SIGINT");
  second.send({ type: "shutdown", code: 0 });
  expect((await agent.keeper.exited).code).toBe(0);
});

test("a second signal is prompt; the same one coming twice at once is not a second one", async () => {
  await using agent = await startAgent();
  const { core, worker, app } = await serving(agent);
  agent.keeper.signal("SIGTERM");
  agent.keeper.signal("SIGTERM"); // npm and the terminal both pass Ctrl-C on
  await core.next("stopping");
  core.send({ type: "stopping" });
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect([worker, app].every(alive)).toBe(true);
  agent.keeper.signal("SIGTERM");
  expect((await agent.keeper.exited).code).toBe(143);
  expect([worker, app, core.pid].filter(alive)).toEqual([]);
});

test("SIGHUP is passed on to the core", async () => {
  await using agent = await startAgent();
  const core = await agent.core();
  agent.keeper.signal("SIGHUP");
  await core.next("hup");
});

test("the keeper is killed: core leaves, worker finishes what it has; the next keeper ends the apps and serves the same port", async () => {
  const state = folder();
  await using first = await startAgent({ state });
  const before = await serving(first);
  const slow = exchange(new Agent({ keepAlive: true }), before.key, undefined, "/slow/1500");
  await until("it is in flight", () => readFileSync(join(statsFolder(before.core), "worker-1"), "utf8").includes("1"));
  first.keeper.signal("SIGKILL");

  await using second = await startAgent({ state });
  const core = await second.core();
  expect(core.state.boot).not.toBe(before.core.state.boot);
  expect(core.state).toMatchObject({ listeners: [], workers: [], leftovers: true, processes: [], table: null });
  const port = Number(before.key.split(":")[1]);
  expect((await core.bind("shop/0", port)).key).toBe(before.key);
  core.send({ type: "table", table: { sequence: 1 } });
  expect((await core.generation()).error).toBeNull();
  expect(await exchange(new Agent({ keepAlive: false }), before.key)).not.toBe(String(before.worker));

  expect(await slow).toBe(String(before.worker));
  await core.next("leftovers-gone");
  expect(alive(before.worker)).toBe(false);
  await Promise.all([before.worker, before.app, before.core.pid].map(gone));
  expect(existsSync(statsFolder(before.core))).toBe(false); // swept
});

test("an app left by a killed keeper that minds no SIGTERM, and one whose parent has gone, are ended all the same", async () => {
  const state = folder();
  await using first = await startAgent({ state });
  const core = await first.core();
  const deaf = appSpec(first, "deaf", "trap : TERM; while :; do sleep 0.1; done");
  const orphan = appSpec(first, "orphan", "(sleep 300 & echo $!; wait) & read _ < /dev/null; kill -STOP $$");
  core.send({ type: "launch", process: deaf });
  core.send({ type: "launch", process: orphan });
  const pid = (await core.next("process")).process.pid;
  const leader = (await core.next("process")).process.pid;
  await until(
    "the orphan is there",
    () => existsSync(orphan.outputFile) && readFileSync(orphan.outputFile, "utf8") !== "",
  );
  const child = Number(readFileSync(orphan.outputFile, "utf8"));
  first.keeper.signal("SIGKILL");
  await gone(first.keeper.pid);
  process.kill(leader, "SIGKILL"); // its group is still there, without it
  await gone(leader);

  await using _second = await startAgent({ state });
  await gone(child);
  await gone(pid);
});

test("a pid on record that is another process by now is left alone", async () => {
  const state = folder();
  const stranger = spawn("sleep", ["300"], { detached: true });
  try {
    const pid = stranger.pid!;
    const startTicks = procStat(pid)!.startTicks;
    mkdirSync(join(state, "keeper"));
    const app = { kind: "app", id: "a", pid, startTicks: startTicks - 1, outputFile: "/x" };
    const elsewhere = { kind: "app", id: "b", pid, startTicks, outputFile: "/x" };
    for (const record of [
      { space: processSpace(), processes: [app] },
      { space: "another machine's boot", processes: [elsewhere] },
      "no record at all",
    ]) {
      writeFileSync(join(state, "keeper/processes.json"), JSON.stringify(record));
      await using agent = await startAgent({ state });
      const core = await agent.core();
      await core.bind();
      expect(alive(pid)).toBe(true);
    }
  } finally {
    stranger.kill("SIGKILL");
  }
});

test("two agents on one state folder: the second is refused in one line that names the first, and harms nothing", async () => {
  await using agent = await startAgent();
  const { key, worker } = await serving(agent);
  const second = startNode("agent/main.ts", {
    args: ["--static", "x.yaml", "--name", "other", "--state", agent.state],
  });
  expect(await second.exited).toEqual({ code: 2, signal: null });
  expect(second.stderr).toBe(
    `baton agent: the state folder ${agent.state} is in use by another agent (pid ${String(agent.keeper.pid)}); give each agent a folder of its own\n`,
  );
  expect(await exchange(new Agent(), key)).toBe(String(worker));
});

test("the lock of an agent that was killed holds nobody up", async () => {
  const state = folder();
  await using first = await startAgent({ state });
  await first.core();
  first.keeper.signal("SIGKILL");
  await gone(first.keeper.pid);
  await using second = await startAgent({ state });
  await second.core();
});

test("a state folder that can't be used is refused in one line", async () => {
  const state = folder();
  writeFileSync(join(state, "file"), "");
  const agent = startNode("agent/main.ts", { args: ["--static", "x.yaml", "--state", join(state, "file")] });
  expect((await agent.exited).code).toBe(2);
  expect(agent.stderr).toMatch(/^baton agent: the state folder .*\/file can't be used: .*\n$/);
});

test("wrong usage is one line and exit 2; --help is exit 0", async () => {
  const wrong = startNode("agent/main.ts", { args: ["--statik", "x.yaml"] });
  expect((await wrong.exited).code).toBe(2);
  expect(wrong.stderr).toBe("baton agent: unknown option --statik; did you mean --static?; see baton agent --help\n");
  const help = startNode("agent/main.ts", { args: ["--help"] });
  expect((await help.exited).code).toBe(0);
  expect(help.stdout).toContain("Usage: baton agent");
});

test("statistics folders of agents that are gone are swept, those of others are not", async () => {
  const prefix = `baton-${String(process.getuid!())}-`;
  const made = ["gone", "lives", "elsewhere"].map((name) =>
    join("/dev/shm", `${prefix}test-${name}-${String(process.pid)}`),
  );
  const owners = [
    { pid: process.pid, startTicks: 1, space: processSpace() },
    { pid: process.pid, startTicks: procStat(process.pid)!.startTicks, space: processSpace() },
    { pid: process.pid, startTicks: 1, space: "another container" },
  ];
  try {
    made.forEach((path, index) => {
      mkdirSync(path);
      writeFileSync(join(path, "owner.json"), JSON.stringify(owners[index]));
    });
    await using agent = await startAgent();
    await agent.core();
    expect(made.map((path) => existsSync(path))).toEqual([false, true, true]);
  } finally {
    for (const path of made) rmSync(path, { recursive: true, force: true });
  }
  expect(readdirSync("/dev/shm").filter((name) => name.includes(`test-gone-${String(process.pid)}`))).toEqual([]);
});
