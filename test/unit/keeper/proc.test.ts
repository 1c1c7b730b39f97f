/** Which process is which. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { groupAlive, isAlive, parseStat, procStat, signalGroup } from "../../../agent/keeper/proc.ts";
import { until } from "../../support/processes.ts";

test("a name with blanks and brackets in it does not move the fields", () => {
  const rest = `S 1 40 41 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 1`;
  expect(parseStat(`42 (a) R 7 (b c) ${rest}`)).toEqual({
    pid: 42,
    state: "S",
    parent: 1,
    group: 40,
    session: 41,
    startTicks: 987_654,
  });
  expect(parseStat("")).toBeNull();
  expect(parseStat("garbage")).toBeNull();
});

test("a pid with another start time is another process", () => {
  const own = procStat(process.pid)!;
  expect(own.parent).toBe(process.ppid);
  expect(isAlive(process.pid, own.startTicks)).toBe(true);
  expect(isAlive(process.pid, own.startTicks + 1)).toBe(false);
});

test("no signal ever goes to everybody", () => {
  expect(signalGroup(0, 0)).toBe(false);
  expect(signalGroup(1, 0)).toBe(false);
  expect(signalGroup(-5, 0)).toBe(false);
});

test("a group lives as long as one of it does, its leader or not", async () => {
  const leader = spawn("/bin/sh", ["-c", "sleep 300 & echo $!"], {
    detached: true,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [chunk] = (await once(leader.stdout, "data")) as [Buffer];
  const child = Number(chunk.toString());
  await until("the leader has ended", () => leader.exitCode !== null);
  expect(groupAlive(leader.pid!)).toBe(true);
  process.kill(child, "SIGKILL");
  await until("the group is gone", () => !groupAlive(leader.pid!));
});
