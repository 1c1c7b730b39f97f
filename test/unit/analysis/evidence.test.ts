import { expect, test } from "vitest";
import { eValue, noEvidence, observe, type Window } from "../../../control/rollout/analysis/evidence.ts";
import type { SequentialEvidence } from "../../../control/model/analysis.ts";

const window = (
  bad: number,
  stableBad: number,
  options: { ms?: number; of?: number; stableOf?: number } = {},
): Window => ({
  ms: options.ms ?? 5_000,
  canary: { of: options.of ?? 100, bad },
  stable: { of: options.stableOf ?? 900, bad: stableBad },
});
const see = (from: SequentialEvidence, ...windows: Window[]) => windows.reduce(observe, from);
const votes = (evidence: SequentialEvidence) => evidence.memory["votes"];

test("one vote has an expectation of one, whichever way its errors hang together", () => {
  // All ten on one side: the canary's with probability 0.1.
  const canary = eValue(see(noEvidence(), window(10, 0)));
  const stable = eValue(see(noEvidence(), window(0, 10)));
  expect(0.1 * canary + 0.9 * stable).toBeCloseTo(1, 12);
});

test("two hundred errors in one block say no more than one", () => {
  expect(eValue(see(noEvidence(), window(100, 0)))).toBeCloseTo(eValue(see(noEvidence(), window(1, 0))), 12);
  expect(eValue(see(noEvidence(), window(100, 0)))).toBeLessThan(10);
});

test("a bad spell of the canary votes once, however many blocks it lasts", () => {
  const spell = Array.from({ length: 4 }, () => window(20, 0));
  const after = see(noEvidence(), ...spell);
  expect(votes(after)).toBe(1);
  expect(after.peak).toBeLessThan(10);
  // Over: after PAUSE_MS without an error, the next one is an event of its own.
  const clean = see(after, window(0, 0), window(0, 0));
  expect(votes(see(clean, window(1, 0)))).toBe(2);
  expect(votes(see(after, window(0, 0), window(1, 0)))).toBe(1);
});

test("a spell on stable needs no wait: counting it twice only speaks for the canary", () => {
  const after = see(noEvidence(), ...Array.from({ length: 6 }, () => window(0, 20)));
  expect(votes(after)).toBe(6);
  expect(eValue(after)).toBeLessThan(1);
  expect(after.peak).toBe(1);
});

test("errors that come as evenly as independent ones are believed after a minute, block by block", () => {
  const even = [4, 6, 5, 3, 5, 7, 4, 5, 6, 4, 5, 6, 5, 4, 5];
  const steady = see(noEvidence(), ...even.map((bad) => window(bad, 1)));
  expect(votes(steady)).toBe(5); // at 0, 35, 60, 65, 70 s
  const lumps = [12, 0, 0, 30, 2, 0, 14, 1, 0, 8, 0, 25, 3, 0, 9];
  expect(votes(see(noEvidence(), ...lumps.map((bad) => window(bad, 1))))).toBeLessThan(10);
});

test("short windows are put together to blocks", () => {
  const short = see(noEvidence(), ...Array.from({ length: 5 }, () => window(1, 0, { ms: 1_000 })));
  expect(votes(short)).toBe(1);
  expect(short.windows).toBe(5);
});

test("where the canary's share has just shrunk, late errors are set against the share before", () => {
  const at50 = Array.from({ length: 6 }, () => window(0, 0, { of: 500, stableOf: 500 }));
  const fell = see(noEvidence(), ...at50, window(5, 5, { of: 10, stableOf: 990 }));
  expect(eValue(fell)).toBeLessThan(1.01);
});

test("a canary that breaks after a good hour is not given credit for the hour", () => {
  const good = Array.from({ length: 720 }, (_, i) => window(i % 10 === 0 ? 1 : 0, 1));
  const blocks = (from: SequentialEvidence) => {
    let evidence = from;
    let n = 0;
    while (evidence.peak < 100 && n < 1_000) {
      evidence = observe(evidence, window(3 + (n % 3), 1));
      n++;
    }
    return n;
  };
  const fresh = blocks(noEvidence());
  expect(blocks(see(noEvidence(), ...good))).toBeLessThan(fresh + 8);
});
