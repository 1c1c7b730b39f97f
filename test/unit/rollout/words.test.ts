import { expect, test } from "vitest";
import { desires } from "../../../control/rollout/engine.ts";
import { Bench, instance } from "./bench.ts";

test("a change of what hosts wait for is told as mere words: nothing is asked anew, and the wake-up is kept", () => {
  const strategy = { maxSurge: { kind: "count", value: 2 } } as const;
  const bench = new Bench({ strategy }).rest();
  for (const host of ["a", "b"]) bench.runs(host, instance(1), instance(2, { state: "ready" }));
  bench.rest();
  bench.says.set("a", { ...bench.says.get("a"), appliedHash: "older" });
  bench.rest();
  const before = bench.rollout;
  bench.says.set("b", { ...bench.says.get("b"), appliedHash: "older" });
  const words = bench.step();
  expect(words.onlyWords).toBe(true);
  expect(words.rollout).not.toBe(before);
  expect(bench.track("b").waitingFor).toBe("to apply what it is asked");
  expect(words.journal).toEqual([]);
  expect(desires(words.rollout)).toEqual(desires(before));
  // The bake ends when it ends, words or no words.
  expect(words.wakeAtMs).toBe(bench.step().wakeAtMs);
  expect(words.wakeAtMs).toBeGreaterThan(bench.now);
});

test("what is taken down for a later step is no mere word", () => {
  const bench = new Bench().rest();
  bench.runs("a", instance(1), instance(2, { state: "ready" }));
  const ready = bench.step();
  expect(ready.rollout.hosts.find((track) => track.host === "a")?.healthyAtMs).toBe(bench.now);
  expect(ready.onlyWords).toBe(false);
  expect(ready.wakeAtMs).toBe(bench.now);
});
