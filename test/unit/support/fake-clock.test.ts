import { expect, test } from "vitest";
import { sleep } from "../../../proto/kernel/clock.ts";
import { FakeClock } from "../../support/fake-clock.ts";

test("timers fire in due order, each at its own time, ties in the order they were set", async () => {
  const clock = new FakeClock();
  const start = clock.monotonic();
  const seen: string[] = [];
  const note = (name: string) => () => seen.push(`${name}@${clock.monotonic() - start}`);
  clock.after(30, note("c"));
  clock.after(10, note("a"));
  clock.after(10, note("b"));
  await clock.advance(29);
  expect(seen).toEqual(["a@10", "b@10"]);
  await clock.advance(1);
  expect(seen).toEqual(["a@10", "b@10", "c@30"]);
  expect(clock.pending).toBe(0);
});

test("what a timer sets or cancels through a promise chain is seen by the next one", async () => {
  const clock = new FakeClock();
  const seen: number[] = [];
  const start = clock.monotonic();
  const loop = async (): Promise<void> => {
    for (let i = 0; i < 5; i++) {
      await sleep(clock, 10);
      await Promise.resolve();
      seen.push(clock.monotonic() - start);
    }
    victim.cancel();
  };
  const victim = clock.after(51, () => seen.push(-1));
  void loop();
  await clock.advance(100);
  expect(seen).toEqual([10, 20, 30, 40, 50]);
});

test("an interval repeats, counted from call to call, until cancelled from within", async () => {
  const clock = new FakeClock();
  let calls = 0;
  const timer = clock.every(7, () => {
    if (++calls === 3) timer.cancel();
  });
  await clock.advance(1_000);
  expect(calls).toBe(3);
  expect(clock.pending).toBe(0);
});

test("the wall clock can be stepped without moving a timer", async () => {
  const clock = new FakeClock();
  let fired = 0;
  clock.after(100, () => fired++);
  clock.stepWall(-3_600_000);
  await clock.advance(99);
  expect(fired).toBe(0);
  await clock.advance(1);
  expect(fired).toBe(1);
});

test("what a callback throws comes out of advance, and the clock can go on", async () => {
  const clock = new FakeClock();
  clock.after(5, () => {
    throw new Error("boom");
  });
  await expect(clock.advance(10)).rejects.toThrow("boom");
  await clock.advance(10);
  expect(clock.pending).toBe(0);
});

test("two advances at once are a mistake of the test and said so", async () => {
  const clock = new FakeClock();
  const first = clock.advance(10);
  await expect(clock.advance(10)).rejects.toThrow("already running");
  await first;
});
