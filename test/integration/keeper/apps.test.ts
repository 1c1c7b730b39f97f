/** App processes: started with what was given, ended as a group, and told of as they are. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { ProcessState } from "../../../agent/keeper/protocol.ts";
import type { CoreSession } from "../../support/keeper/agent.ts";
import { alive, gone, startAgent } from "../../support/keeper/agent.ts";
import { appSpec } from "../../support/keeper/app-spec.ts";
import { until } from "../../support/processes.ts";

const ended = async (core: CoreSession, id: string): Promise<ProcessState> =>
  (await core.next("process", ({ process }) => process.spec.id === id && process.exit !== null)).process;

/** Numbers that an app printed, once there are `count`. */
async function printed(file: string, count: number): Promise<number[]> {
  let numbers: number[] = [];
  await until(`${file} has ${String(count)} numbers`, () => {
    numbers = (readOr(file).match(/\d+/g) ?? []).map(Number);
    return numbers.length >= count;
  });
  return numbers;
}

function readOr(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

test("an app gets the environment given and nothing else, appends to its file, and its exit code is told", async () => {
  await using agent = await startAgent();
  const core = await agent.core();
  const spec = {
    ...appSpec(agent, "one", "env; echo to stderr >&2; exit 3"),
    env: { PATH: "/usr/bin:/bin", PORT: "8123" },
  };
  mkdirSync(join(agent.state, "output"));
  writeFileSync(spec.outputFile, "before\n");
  core.send({ type: "launch", process: spec });
  expect((await core.next("process")).process).toMatchObject({ spec, exit: null, error: null });
  expect((await ended(core, "one")).exit).toMatchObject({ code: 3, signal: null });
  const lines = readFileSync(spec.outputFile, "utf8").trim().split("\n");
  expect(lines[0]).toBe("before");
  expect(lines.at(-1)).toBe("to stderr");
  expect(lines.filter((line) => !/^(PATH|PORT|PWD|OLDPWD|SHLVL|_)=/.test(line))).toEqual(["before", "to stderr"]);
  expect(lines).toContain("PORT=8123");
});

test("a signal reaches what the app has started too", async () => {
  await using agent = await startAgent();
  const core = await agent.core();
  const spec = appSpec(agent, "family", "sleep 300 & echo $! $$; wait");
  core.send({ type: "launch", process: spec });
  const pids = await printed(spec.outputFile, 2);
  expect(pids.every(alive)).toBe(true);
  core.send({ type: "kill", id: "family", signal: "SIGTERM" });
  expect((await ended(core, "family")).exit).toMatchObject({ code: null, signal: "SIGTERM" });
  await Promise.all(pids.map(gone));
});

test("an app that minds no SIGTERM is ended by SIGKILL", async () => {
  await using agent = await startAgent();
  const core = await agent.core();
  const spec = appSpec(agent, "deaf", "trap 'echo 15' TERM; echo 1; while :; do sleep 0.05; done");
  core.send({ type: "launch", process: spec });
  await printed(spec.outputFile, 1);
  core.send({ type: "kill", id: "deaf", signal: "SIGTERM" });
  await printed(spec.outputFile, 2);
  core.send({ type: "kill", id: "deaf", signal: "SIGKILL" });
  expect((await ended(core, "deaf")).exit).toMatchObject({ signal: "SIGKILL" });
});

test("what an app leaves behind when it exits is ended", async () => {
  await using agent = await startAgent();
  const core = await agent.core();
  const spec = appSpec(agent, "litter", "sleep 300 & echo $!; exit 0");
  core.send({ type: "launch", process: spec });
  const [child] = await printed(spec.outputFile, 1);
  expect((await ended(core, "litter")).exit).toMatchObject({ code: 0 });
  await gone(child!);
});

test("a command that can't be executed is an error in one sentence, and is kept until it is forgotten", async () => {
  await using agent = await startAgent();
  const core = await agent.core();
  const plain = join(agent.state, "plain.txt");
  writeFileSync(plain, "no program");
  chmodSync(plain, 0o644);
  const broken = {
    missing: { command: ["./no-such-server"] },
    plain: { command: [plain] },
    folder: { cwd: "/no/such/folder" },
    file: { cwd: plain },
    output: { outputFile: join(plain, "x.log") },
    empty: { command: [] },
  };
  const errors: Record<string, string | null> = {};
  for (const [id, wrong] of Object.entries(broken)) {
    core.send({ type: "launch", process: { ...appSpec(agent, id, ""), ...wrong } });
    const { process } = await core.next("process", (message) => message.process.spec.id === id);
    expect(process).toMatchObject({ pid: 0, exit: null });
    errors[id] = process.error;
  }
  expect(errors).toMatchObject({
    missing: "can't execute ./no-such-server: no such file (ENOENT)",
    plain: `can't execute ${plain}: it is not executable for this user (EACCES)`,
    folder: "its working directory can't be used: /no/such/folder: ENOENT",
    file: `its working directory is no directory: ${plain}`,
  });
  expect(errors["output"]).toMatch(/^its output file can't be opened: /);
  expect(errors["empty"]).toMatch(/^can't execute an empty command: /);

  core.send({ type: "forget", id: "missing" });
  core.send({ type: "launch", process: appSpec(agent, "missing", "exit 0") }); // the id is free again
  expect((await ended(core, "missing")).exit).toMatchObject({ code: 0 });
});

test("an app that runs is not forgotten, and one that ended is until then", async () => {
  await using agent = await startAgent();
  const first = await agent.core();
  first.send({ type: "launch", process: appSpec(agent, "runs", "sleep 300") });
  first.send({ type: "launch", process: appSpec(agent, "ended", "exit 4") });
  await ended(first, "ended");
  first.send({ type: "forget", id: "runs" });
  process.kill(first.pid, "SIGKILL");
  const second = await agent.core();
  expect(second.state.processes.map(({ spec, exit }) => [spec.id, exit?.code])).toEqual([
    ["runs", undefined],
    ["ended", 4],
  ]);
  second.send({ type: "forget", id: "ended" });
  await second.bind(); // by now it is carried out
  process.kill(second.pid, "SIGKILL");
  expect((await agent.core()).state.processes.map(({ spec }) => spec.id)).toEqual(["runs"]);
});
