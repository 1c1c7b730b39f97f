/** One seed is one schedule, whatever else is asked for. */
import { expect, test } from "vitest";
import { EMBEDDED } from "../../chaos/embedded.ts";
import { FAULT_KINDS } from "../../chaos/faults.ts";
import { FLEET } from "../../chaos/nats.ts";
import { readOptions } from "../../chaos/options.ts";
import { ACTIVE_MS, episode } from "../../chaos/schedule.ts";

const ALL = { only: [], leaveOut: [], commands: true };

test("the same seed and number give the same episode, another of either gives another", () => {
  expect(episode(7, 3, EMBEDDED, ALL)).toEqual(episode(7, 3, EMBEDDED, ALL));
  expect(episode(7, 4, EMBEDDED, ALL)).not.toEqual(episode(7, 3, EMBEDDED, ALL));
  expect(episode(8, 3, EMBEDDED, ALL)).not.toEqual(episode(7, 3, EMBEDDED, ALL));
});

test("what is left out is gone from the schedule, and nothing else of it moves", () => {
  for (let number = 1; number < 50; number++) {
    const whole = episode(1, number, EMBEDDED, ALL);
    const less = episode(1, number, EMBEDDED, { ...ALL, leaveOut: ["hole", "kill-worker"], commands: false });
    expect(less.faults).toEqual(whole.faults.filter(({ kind }) => kind !== "hole" && kind !== "kill-worker"));
    expect(less.commands).toEqual([]);
    expect(less.deployment).toEqual(whole.deployment);
  }
});

test("only the kinds that were asked for are drawn", () => {
  const faults = Array.from({ length: 50 }, (_, i) => episode(1, i, EMBEDDED, { ...ALL, only: ["cut", "kill-app"] }));
  expect(new Set(faults.flatMap((one) => one.faults.map(({ kind }) => kind)))).toEqual(new Set(["cut", "kill-app"]));
});

test("every kind befalls somebody of the fleet, and a kind without victims nobody", () => {
  const drawn = (roster: typeof FLEET): Set<string> =>
    new Set(Array.from({ length: 300 }, (_, i) => episode(1, i, roster, ALL).faults.map(({ kind }) => kind)).flat());
  expect(drawn(FLEET)).toEqual(new Set(FAULT_KINDS));
  expect(drawn(EMBEDDED)).toEqual(new Set(FAULT_KINDS.filter((kind) => !kind.includes("nats"))));
});

test("faults and commands stand in the order of their moments, all within the active time", () => {
  for (let number = 1; number < 50; number++) {
    const { faults, commands } = episode(2, number, FLEET, ALL);
    for (const list of [faults, commands]) {
      const moments = list.map(({ atMs }) => atMs);
      expect(moments).toEqual(moments.toSorted((a, b) => a - b));
      for (const moment of moments) expect(moment).toBeLessThan(ACTIVE_MS);
    }
  }
});

test("words that are not known are refused by name", () => {
  expect(readOptions(["--only", "earthquake"], 1)).toMatchObject({
    kind: "wrong",
    why: expect.stringMatching(/no kind "earthquake"/) as string,
  });
  expect(readOptions(["--minutes", "0"], 1)).toMatchObject({
    kind: "wrong",
    why: expect.stringMatching(/--minutes/) as string,
  });
  expect(readOptions(["--topology", "moon"], 1)).toMatchObject({
    kind: "wrong",
    why: expect.stringMatching(/--topology moon/) as string,
  });
  expect(readOptions(["--frobnicate"], 1)).toMatchObject({ kind: "wrong" });
  expect(readOptions([], 42)).toMatchObject({ kind: "run", options: { seed: 42 } });
});
