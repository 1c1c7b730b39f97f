import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  formatDuration,
  MAX_DURATION_MS,
  parseDuration,
  resolveCount,
  resolveRolling,
} from "../../../proto/contract/units.ts";

test("durations are read as people write them", () => {
  const read = (text: string): number | undefined => parseDuration(text);
  expect(["0", "0s", "500ms", "2s", "1m30s", "1.5s", "1h"].map(read)).toEqual([
    0, 0, 500, 2_000, 90_000, 1_500, 3_600_000,
  ]);
});

test("what is not a duration is not guessed at", () => {
  for (const text of ["", "5", "s", "-1s", "1 s", "1s ", "1d", "1S", ".5s", "1.s", "1e3s", "Infinitys", "1s,2s"]) {
    expect(parseDuration(text), text).toBeUndefined();
  }
});

test("a duration that a timer can't hold is refused, not fired at once", () => {
  expect(parseDuration("576h")).toBe(MAX_DURATION_MS);
  expect(parseDuration("576h1ms")).toBeUndefined();
  expect(MAX_DURATION_MS).toBeLessThan(2 ** 31);
});

test("a formatted duration is read back exactly, and a fraction of a millisecond is not an empty text", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: MAX_DURATION_MS }), (ms) => {
      expect(parseDuration(formatDuration(ms))).toBe(ms);
    }),
  );
  expect(formatDuration(90_000)).toBe("1m30s");
  expect(formatDuration(0.3)).toBe("0s");
});

test("percentages round as Kubernetes rounds them: surge up, unavailable down", () => {
  const quarter = { kind: "percent", value: 25 } as const;
  expect(resolveCount(quarter, 10, "up")).toBe(3);
  expect(resolveCount(quarter, 10, "down")).toBe(2);
  expect(resolveCount({ kind: "count", value: 7 }, 3, "down")).toBe(7);
});

test("two bounds that both round to nothing still let a rollout move", () => {
  const none = { kind: "count", value: 0 } as const;
  const tenth = { kind: "percent", value: 10 } as const;
  expect(resolveRolling(none, tenth, 3)).toEqual({ surge: 0, unavailable: 1 });
  expect(resolveRolling(tenth, none, 3)).toEqual({ surge: 1, unavailable: 0 });
});
