import * as fc from "fast-check";
import { expect, test } from "vitest";
import { bucketLimit, bucketOf, LATENCY_BUCKETS, quantile } from "../../../proto/contract/histogram.ts";

test("every value lies in its bucket's bounds, and no bucket is wider than an eighth of its start", () => {
  fc.assert(
    fc.property(fc.oneof(fc.nat({ max: 5_000 }), fc.integer({ min: 0, max: 2 ** 32 - 1 })), (micros) => {
      const bucket = bucketOf(micros);
      const start = bucket === 0 ? 0 : bucketLimit(bucket - 1);
      expect(micros).toBeGreaterThanOrEqual(start);
      expect(micros).toBeLessThan(bucketLimit(bucket));
      expect(bucketLimit(bucket) - start).toBeLessThanOrEqual(Math.max(1, start / 8));
    }),
    { numRuns: 2_000 },
  );
});

test("a time beyond the scale lands in the last bucket and one before it in the first", () => {
  expect(bucketOf(2 ** 32 - 1)).toBe(LATENCY_BUCKETS - 1);
  expect(bucketOf(2 ** 32)).toBe(LATENCY_BUCKETS - 1);
  expect(bucketOf(Infinity)).toBe(LATENCY_BUCKETS - 1);
  expect([bucketOf(-1), bucketOf(-1e12), bucketOf(NaN), bucketOf(0.5)]).toEqual([0, 0, 0, 0]);
});

test("a quantile is off by at most 12.5 % or 1 µs, and never too low", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 10_000_000 }), { minLength: 1, maxLength: 300 }),
      fc.constantFrom(0.01, 0.5, 0.9, 0.99, 1),
      (values, share) => {
        const counts = new Float64Array(LATENCY_BUCKETS);
        for (const value of values) counts[bucketOf(value)]! += 1;
        const rank = Math.max(1, Math.ceil(values.length * share));
        const exact = values.toSorted((a, b) => a - b)[rank - 1]!;
        const read = quantile(counts, share);
        expect(read).toBeGreaterThanOrEqual(exact);
        expect(read).toBeLessThanOrEqual(Math.max(exact + 1, exact * 1.125));
      },
    ),
  );
});

test("an empty histogram has no latency", () => {
  expect(quantile(new Float64Array(LATENCY_BUCKETS), 0.99)).toBe(0);
});
