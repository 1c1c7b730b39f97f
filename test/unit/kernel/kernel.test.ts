import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Backoff } from "../../../proto/kernel/backoff.ts";
import { sleep } from "../../../proto/kernel/clock.ts";
import { integer, seededRandom } from "../../../proto/kernel/random.ts";
import { FakeClock } from "../../support/fake-clock.ts";

test("backoff doubles from base to max, jittered within the upper half, and starts anew after success", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const backoff = new Backoff({ baseMs: 100, maxMs: 5_000 }, seededRandom(seed));
      for (const ceiling of [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]) {
        const delay = backoff.next();
        expect(delay).toBeGreaterThanOrEqual(ceiling / 2);
        expect(delay).toBeLessThanOrEqual(ceiling);
      }
      expect(backoff.attempts).toBe(8);
      backoff.reset();
      expect(backoff.next()).toBeLessThanOrEqual(100);
    }),
  );
});

test("backoff stays at its ceiling however long a peer is gone", () => {
  const backoff = new Backoff({ baseMs: 100, maxMs: 5_000 }, { next: () => 1 });
  for (let i = 0; i < 5_000; i++) backoff.next();
  expect(backoff.next()).toBe(5_000);
});

test("two agents that lose one controller do not come back in one instant", () => {
  const delays = Array.from({ length: 100 }, (_, host) =>
    new Backoff({ baseMs: 1_000, maxMs: 5_000 }, seededRandom(host)).next(),
  );
  expect(new Set(delays.map((d) => Math.round(d))).size).toBeGreaterThan(80);
});

test("a seed gives the same numbers for ever, all within their range and evenly spread", () => {
  const [a, b] = [seededRandom(42), seededRandom(42)];
  const bins = new Array<number>(10).fill(0);
  for (let i = 0; i < 20_000; i++) {
    const value = a.next();
    expect(value).toBe(b.next());
    expect(value >= 0 && value < 1).toBe(true);
    bins[Math.floor(value * 10)]! += 1;
  }
  for (const count of bins) expect(Math.abs(count - 2_000)).toBeLessThan(212); // five standard deviations
  expect(integer({ next: () => 0.999_999_999_9 }, 6)).toBe(5);
  expect(integer({ next: () => 0 }, 6)).toBe(0);
});

test("a sleep ends at its time, or at once when it is called off, and leaves no timer behind", async () => {
  const clock = new FakeClock();
  const abort = new AbortController();
  let woken = 0;
  void sleep(clock, 100, abort.signal).then(() => woken++);
  void sleep(clock, 200, abort.signal).then(() => woken++);
  await clock.advance(99);
  expect(woken).toBe(0);
  await clock.advance(1);
  expect(woken).toBe(1);
  abort.abort();
  await clock.advance(0);
  expect(woken).toBe(2);
  expect(clock.pending).toBe(0);
  await sleep(clock, 100, abort.signal);
  expect(clock.pending).toBe(0);
});
