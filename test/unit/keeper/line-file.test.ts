/** The access log's file. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { LineFile } from "../../../agent/worker/line-file.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { until } from "../../support/processes.ts";

const folder = mkdtempSync(join(tmpdir(), "baton-lines-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const none = (error: Error): never => {
  throw error;
};

test("lines are written by and by, in order, and the last ones at its end", async () => {
  const clock = new FakeClock();
  const path = join(folder, "a.log");
  const lines = new LineFile(path, clock, none);
  lines.write("1\n");
  lines.write("2\n");
  expect(readFileSync(path, "utf8")).toBe("");
  await clock.advance(1_000);
  await until("they are written", () => readFileSync(path, "utf8") === "1\n2\n");
  lines.write("3\n");
  lines.close();
  expect(readFileSync(path, "utf8")).toBe("1\n2\n3\n");
  expect(clock.pending).toBe(0);
});

test("a full disk is told once, and holds nothing up", async () => {
  const clock = new FakeClock();
  const errors: Error[] = [];
  const lines = new LineFile("/dev/full", clock, (error) => errors.push(error));
  for (let n = 0; n < 5; n++) {
    for (let line = 0; line < 1_000; line++) lines.write("x".repeat(5_000));
    await clock.advance(1_000);
    await until("the block has failed", () => errors.length === 1);
  }
  expect(errors[0]?.message).toMatch(/^ENOSPC/);
  lines.close();
});

test("a file that can't be opened is told at once", () => {
  expect(() => new LineFile(join(folder, "no", "a.log"), new FakeClock(), none)).toThrow("ENOENT");
});
