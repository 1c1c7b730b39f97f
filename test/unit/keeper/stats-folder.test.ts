/** Where statistics files go when memory can't be had. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import { createStatsFolder } from "../../../agent/keeper/stats-folder.ts";
import { silentLog } from "../../../proto/kernel/log.ts";

const root = mkdtempSync(join(tmpdir(), "baton-stats-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let own = "";
beforeEach(() => (own = mkdtempSync(join(root, "own-"))));

test("without shared memory they are in the agent's own folder, and those of agents before it go", () => {
  mkdirSync(join(own, "stats-before"));
  const folder = createStatsFolder(own, "b00t", silentLog, join(root, "no-such-folder"));
  expect(folder.file(3)).toBe(join(own, "stats-b00t", "worker-3"));
  expect(existsSync(join(own, "stats-before"))).toBe(false);
  folder.remove();
  expect(existsSync(folder.path)).toBe(false);
});

test("a folder without an owner is left to whoever is just making it, and swept when nobody was", () => {
  const prefix = join(root, `baton-${String(process.getuid!())}-`);
  mkdirSync(`${prefix}new`);
  mkdirSync(`${prefix}old`);
  mkdirSync(`${prefix}garbled`);
  writeFileSync(join(`${prefix}garbled`, "owner.json"), "{");
  const anHourAgo = Date.now() / 1_000 - 3_600;
  utimesSync(`${prefix}old`, anHourAgo, anHourAgo);
  createStatsFolder(own, "b00t", silentLog, root).remove();
  expect(["new", "old", "garbled"].map((name) => existsSync(prefix + name))).toEqual([true, false, true]);
});
