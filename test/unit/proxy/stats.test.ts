import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { COUNTER, countersAt } from "../../../agent/proxy/stats-layout.ts";
import { parseStats, readStats } from "../../support/stats-reader.ts";
import { Stats, memoryStatsFile, openStatsFile } from "../../../agent/proxy/stats-writer.ts";
import type { StatsFile } from "../../../agent/proxy/stats-writer.ts";
import { bucketOf } from "../../../proto/contract/histogram.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
const raise = (error: Error): void => {
  throw error;
};

test("counts are in the file at the end of the turn, all of it by one write of what changed", async () => {
  const memory = memoryStatsFile(8);
  const writes: [number, number][] = [];
  const file: StatsFile = {
    ...memory,
    write: (bytes, from, length, position) => {
      writes.push([position, length]);
      memory.write(bytes, from, length, position);
    },
  };
  const stats = new Stats(file, new FakeClock(), raise);
  writes.length = 0;
  stats.add(3, COUNTER.started, 1);
  stats.add(3, COUNTER.inFlight, 1);
  stats.add(5, COUNTER.lost, 2);
  await turn();
  expect(writes).toEqual([[countersAt(3), countersAt(6) - countersAt(3)]]);
  const read = parseStats(memory.bytes);
  if (read.kind !== "ok") throw new Error(read.kind);
  expect(read.stats.counters(3)[COUNTER.inFlight]).toBe(1);
  expect(read.stats.counters(5)[COUNTER.lost]).toBe(2);
});

test("slots far apart are written each by itself, not with all that lies between", async () => {
  const memory = memoryStatsFile(1_000);
  let bytes = 0;
  const file: StatsFile = {
    ...memory,
    write: (...args) => {
      bytes += args[2];
      memory.write(...args);
    },
  };
  const stats = new Stats(file, new FakeClock(), raise);
  bytes = 0;
  stats.add(1, COUNTER.started, 1);
  stats.add(900, COUNTER.started, 1);
  stats.downstream(1, 1);
  await turn();
  expect(bytes).toBeLessThan(1_000);
  const read = parseStats(memory.bytes);
  if (read.kind !== "ok") throw new Error(read.kind);
  expect([read.stats.counters(1)[0], read.stats.counters(900)[0], read.stats.downstreamOpen]).toEqual([1, 1, 1]);
});

test("latencies come every 100 ms, and with the last words", async () => {
  const memory = memoryStatsFile(4);
  const clock = new FakeClock();
  const stats = new Stats(memory, clock, raise);
  const count = (): number => {
    const read = parseStats(memory.bytes);
    return read.kind === "ok" ? (read.stats.latency(2)[bucketOf(1_500)] ?? -1) : -2;
  };
  stats.latency(2, 1_500);
  expect(count()).toBe(0);
  await clock.advance(100);
  expect(count()).toBe(1);
  stats.latency(2, 1_500);
  stats.add(2, COUNTER.completed, 1);
  stats.close();
  stats.add(2, COUNTER.completed, 1); // too late: the file is closed, and nothing breaks
  expect(count()).toBe(2);
});

test("the real file holds what was counted; a file that is absent, short or someone else's is an answer", async () => {
  const folder = mkdtempSync(join(tmpdir(), "baton-stats-"));
  try {
    const path = join(folder, "worker.stats");
    expect(readStats(path)).toEqual({ kind: "absent" });
    const stats = new Stats(openStatsFile(path, 16), new FakeClock(), raise);
    stats.use(3);
    stats.downstream(2, 5);
    stats.add(1, COUNTER.bytesIn, 77);
    await turn();
    const read = readStats(path);
    if (read.kind !== "ok") throw new Error(read.kind);
    expect(read.stats).toMatchObject({ slots: 3, downstreamOpen: 2, downstreamAccepted: 5 });
    expect(read.stats.counters(1)[COUNTER.bytesIn]).toBe(77);
    expect(read.stats.counters(99).every((value) => value === 0)).toBe(true);
    stats.close();

    writeFileSync(path, Buffer.alloc(10));
    expect(readStats(path)).toMatchObject({ kind: "unreadable", why: expect.stringContaining("10 bytes") as string });
    writeFileSync(path, Buffer.alloc(4_096, 1));
    expect(readStats(path)).toMatchObject({ kind: "unreadable", why: expect.stringContaining("magic") as string });
    expect(readStats(folder)).toMatchObject({ kind: "unreadable" });
    const torn = memoryStatsFile(2);
    new Stats(torn, new FakeClock(), raise);
    expect(parseStats(torn.bytes.subarray(0, 2_000))).toMatchObject({ kind: "unreadable" });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a write that fails is told, and the next one carries the same totals", async () => {
  const memory = memoryStatsFile(4);
  const errors: string[] = [];
  let full = false;
  const file: StatsFile = {
    ...memory,
    write: (...args) => {
      if (full) throw new Error("ENOSPC");
      memory.write(...args);
    },
  };
  const clock = new FakeClock();
  const stats = new Stats(file, clock, (error) => void errors.push(error.message));
  full = true;
  stats.add(1, COUNTER.started, 1);
  await turn();
  expect(errors).toContain("ENOSPC");
  full = false;
  stats.add(1, COUNTER.started, 1);
  await clock.advance(100);
  const read = parseStats(memory.bytes);
  if (read.kind !== "ok") throw new Error(read.kind);
  expect(read.stats.counters(1)[COUNTER.started]).toBe(2);
});
