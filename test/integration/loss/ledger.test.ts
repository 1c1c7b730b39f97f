/** The ledger's own rules: one end for each start, bounded memory, and no verdict without proof. */
import { expect, test } from "vitest";
import type { Clock } from "../../../proto/kernel/clock.ts";
import { Ledger } from "../../loss/ledger.ts";

function still(): { clock: Clock; pass: (ms: number) => void } {
  let now = 0;
  const never = { cancel: () => undefined };
  const clock = { now: () => now, monotonic: () => now, after: () => never, every: () => never };
  return { clock, pass: (ms) => (now += ms) };
}

const trace = { connectionAgeMs: 0, reuses: 0, idleMs: 0, bytesSent: 0, bytesReceived: 0, version: "v1" };

test("an exchange that ends twice is a defect, and throws", () => {
  const ledger = new Ledger(still().clock, "t");
  const exchange = ledger.begin("get");
  exchange.end({ kind: "ok" });
  expect(() => exchange.end({ kind: "drained" })).toThrow(/ended as ok and again as drained/);
  expect(ledger.read(1).total).toMatchObject({ started: 1, ok: 1, drained: 0 });
});

test("an exchange that never ends leaves the ledger unbalanced and unclean", () => {
  const ledger = new Ledger(still().clock, "t");
  ledger.begin("get").end({ kind: "ok" });
  ledger.begin("events");
  expect(ledger.read(1)).toMatchObject({ inFlight: 1, balanced: false, clean: false });
});

test("a ledger of nothing proves nothing", () => {
  expect(new Ledger(still().clock, "t").read(1)).toMatchObject({ balanced: true, clean: false });
});

test("all losses are counted and told, the first 50 kept", () => {
  let told = 0;
  const ledger = new Ledger(still().clock, "t", () => (told += 1));
  for (let i = 0; i < 80; i++) ledger.begin("post").end({ kind: "lost", cause: "no_answer", detail: String(i), trace });
  const read = ledger.read(1);
  expect(read).toMatchObject({ causes: { no_answer: 80 }, total: { lost: 80 }, clean: false });
  expect([told, read.losses.length, read.losses[0]?.detail]).toEqual([80, 50, "0"]);
});

test("the timeline is folded when it is full: it keeps every answer and its length has a bound", () => {
  const { clock, pass } = still();
  const ledger = new Ledger(clock, "t");
  for (let second = 0; second < 5_000; second++) {
    ledger.saw(second < 2_500 ? "v1" : "v2", `instance-${second}`);
    pass(1_000);
  }
  const { timeline, sliceMs, versions, instances } = ledger.read(1);
  expect(versions).toEqual({ v1: 2_500, v2: 2_500 });
  expect(timeline.length).toBeLessThanOrEqual(600);
  expect(timeline.length * sliceMs).toBeGreaterThanOrEqual(5_000_000);
  const sum = timeline.flatMap((slice) => Object.values(slice)).reduce((a, b) => a + b, 0);
  expect(sum).toBe(5_000);
  expect(timeline[0]).toEqual({ v1: sliceMs / 1_000 });
  expect(Object.keys(instances).length).toBeLessThanOrEqual(201);
});
