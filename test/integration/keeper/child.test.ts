/** The channel to a child: it never blocks the keeper, and never grows without bound. */
import { writeFileSync } from "node:fs";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Child } from "../../../agent/keeper/child.ts";
import type { ExitInfo } from "../../../agent/keeper/protocol.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { until } from "../../support/processes.ts";

interface Message {
  readonly type: string;
  readonly n?: number;
  readonly bulk?: string;
}

function start(source: string) {
  const folder = mkdtempSync(join(tmpdir(), "baton-child-"));
  const entry = join(folder, "child.mjs");
  writeFileSync(entry, source);
  const heard: Message[] = [];
  const exits: { exit: ExitInfo; error: string | null }[] = [];
  const child = new Child<Message>(
    { entry, fds: [], env: process.env, log: silentLog },
    { message: (message) => heard.push(message as Message), exited: (exit, error) => exits.push({ exit, error }) },
  );
  const end = async (): Promise<void> => {
    child.kill("SIGKILL");
    await until("it has ended", () => exits.length === 1);
    rmSync(folder, { recursive: true, force: true });
  };
  return { child, heard, exits, [Symbol.asyncDispose]: end };
}

const ECHO = 'process.on("message", (m) => process.send({ type: m.type, n: m.n })); process.send({ type: "up" });';
const bulk = "x".repeat(20_000);

test("thousands of messages at once arrive all, and in order", async () => {
  await using started = start(ECHO);
  const { child, heard } = started;
  for (let n = 0; n < 3_000; n++) child.send({ type: "m", n });
  await until("all are echoed", () => heard.length === 3_001);
  expect(heard.slice(1).map(({ n }) => n)).toEqual(Array.from({ length: 3_000 }, (_, n) => n));
});

test("while the child does not read, only the newest table waits, and what else waits keeps its order", async () => {
  await using started = start(ECHO);
  const { child, heard } = started;
  await until("it is up", () => heard.length === 1);
  process.kill(child.pid, "SIGSTOP");
  for (let n = 0; n < 200; n++) child.send({ type: "fill", n, bulk });
  for (let n = 0; n < 10_000; n++) child.sendLatest({ type: "table", n, bulk });
  child.send({ type: "last" });
  process.kill(child.pid, "SIGCONT");
  await until("the last is echoed", () => heard.at(-1)?.type === "last");
  expect(heard.filter(({ type }) => type === "fill")).toHaveLength(200);
  expect(heard.filter(({ type }) => type === "table")).toEqual([{ type: "table", n: 9_999 }]);
});

test("a child that reads nothing any more is killed before it costs the keeper its memory", async () => {
  await using started = start(ECHO);
  const { child, heard, exits } = started;
  await until("it is up", () => heard.length === 1);
  process.kill(child.pid, "SIGSTOP");
  for (let n = 0; n < 5_000; n++) child.send({ type: "m", n, bulk });
  await until("it is killed", () => exits.length === 1);
  expect(exits[0]).toMatchObject({ exit: { signal: "SIGKILL" }, error: null });
  child.send({ type: "late" }); // dropped, without an error
  child.kill("SIGKILL");
});

test("a child that fails at once has an exit like any other", async () => {
  await using started = start("throw new Error('no')");
  await until("it has ended", () => started.exits.length === 1);
  expect(started.exits[0]).toMatchObject({ exit: { code: 1, signal: null } });
});
