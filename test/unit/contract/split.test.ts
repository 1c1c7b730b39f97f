import * as fc from "fast-check";
import { expect, test } from "vitest";
import { pickShare, stickyPoint } from "../../../proto/contract/split.ts";
import { WHOLE } from "../../../proto/contract/units.ts";

test("raising the newest version's weight moves nobody back to an older one", () => {
  fc.assert(
    fc.property(fc.string(), fc.nat({ max: WHOLE }), fc.nat({ max: WHOLE }), (key, a, b) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)];
      const point = stickyPoint(key);
      if (pickShare([WHOLE - low, low], point) === 1) expect(pickShare([WHOLE - high, high], point)).toBe(1);
    }),
  );
});

test("a weight of nothing gets nobody and of all gets everybody, among any number of versions", () => {
  fc.assert(
    fc.property(fc.string(), (key) => {
      const point = stickyPoint(key);
      expect(pickShare([WHOLE, 0], point)).toBe(0);
      expect(pickShare([0, WHOLE], point)).toBe(1);
      expect(pickShare([0, WHOLE, 0], point)).toBe(1);
    }),
  );
});

test("every point falls to a version by its exact share", () => {
  const weights = [7_000, 2_500, 500];
  const got = [0, 0, 0];
  for (let point = 0; point < WHOLE; point++) got[pickShare(weights, point)]! += 1;
  expect(got).toEqual(weights);
});

test("keys that differ in their last character alone are spread like any others", () => {
  for (const make of [(i: number) => `user-${i}`, (i: number) => `10.0.${i >> 8}.${i & 255}`, (i: number) => `${i}`]) {
    const bins = new Array<number>(10).fill(0);
    for (let i = 0; i < 20_000; i++) bins[Math.floor(stickyPoint(make(i)) / 1_000)]! += 1;
    // Each bin expects 2,000 with a standard deviation of 42; five of them are beyond chance.
    for (const count of bins) expect(Math.abs(count - 2_000)).toBeLessThan(212);
  }
});

test("a point is the same for ever: these are on record", () => {
  expect(["", "alice", "bob", "user-1"].map(stickyPoint)).toMatchInlineSnapshot(`
    [
      6689,
      9143,
      9740,
      4670,
    ]
  `);
});
