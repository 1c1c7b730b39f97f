/**
 * The judge's promises at a size that every test run can afford; RESULTS.md has them with 10,000 runs a case. Seeds are
 * fixed: a change of the judge shows here as another number, never as a test that fails now and then.
 */
import { expect, test } from "vitest";
import { EQUAL, WORSE } from "./cases.ts";
import { EQUAL_LATENCY, playLatency, WORSE_LATENCY } from "./latency.ts";
import { interval, play, type Tally } from "./play.ts";
import { COLUMNS, type Column } from "./rules.ts";

const column = (name: string): Column => COLUMNS.find((each) => each.name === name)!;
const BATON = column("Baton, α 0.01");
const sum = (tallies: readonly (Tally | undefined)[]) =>
  tallies.reduce((total, tally) => total + (tally?.failed ?? 0), 0);

test("equal versions are told apart no more often than α, whatever their errors look like", () => {
  const runs = 200;
  const tallies = EQUAL.map((of) => play(of, [BATON], runs, 7)[0]);
  // No case stands out, and all together are below α with room to spare.
  for (const [i, tally] of tallies.entries()) expect(tally!.failed, EQUAL[i]!.name).toBeLessThanOrEqual(0.02 * runs);
  const [, high] = interval(sum(tallies), runs * EQUAL.length);
  expect(high).toBeLessThan(0.01);
});

test("the same traffic breaks the bound when every error is taken for an event of its own", () => {
  const bursts = EQUAL.find(({ name }) => name === "bursts, canary 50 %")!;
  expect(play(bursts, [column("untempered, α 0.01")], 50, 7)[0]!.failed).toBeGreaterThan(25);
});

test.each([
  ["0.1 % → 1 %, 20/s", 690, 345],
  ["0.1 % → 1 %, 1000/s", 7_800, 78],
  ["1 % → 3 %, 100/s", 1_260, 126],
  ["0.2 % → 1 %, 100/s", 2_150, 215],
])("%s is found within about %d canary requests, %d s", (name, requests, seconds) => {
  const [tally] = play(
    WORSE.find((of) => of.name === name)!,
    [BATON],
    150,
    7,
  );
  expect(tally!.failed).toBe(150);
  expect(tally!.medianRequests).toBeLessThan(1.2 * requests);
  expect(tally!.medianSeconds).toBeLessThan(1.2 * seconds);
});

test("latency: pauses of one version are no verdict, a p99 doubled is", () => {
  const runs = 40;
  expect(sum(EQUAL_LATENCY.map((of) => playLatency(of, runs, 7)[0]))).toBeLessThanOrEqual(
    0.01 * runs * EQUAL_LATENCY.length,
  );
  const [doubled] = playLatency(WORSE_LATENCY[0]!, runs, 7);
  expect(doubled!.failed).toBe(runs);
  expect(doubled!.medianSeconds).toBeLessThan(110);
});
