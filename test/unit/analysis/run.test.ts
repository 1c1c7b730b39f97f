import { expect, test } from "vitest";
import { advanceRun, beginRun, wakeAt } from "../../../control/rollout/analysis/run.ts";
import { facts, metric, sequential, spec, traffic } from "./kit.ts";

test("a version that fails ten times as often is failed, with one sentence that has the numbers", () => {
  const at = (step: number) =>
    facts(step * 5_000, { traffic: { v1: traffic(step * 900, step), v2: traffic(step * 100, step * 3) } });
  let run = beginRun("background", spec(0, metric({ source: sequential() })), at(0));
  let step = 0;
  while (run.phase === "running" && step < 100) run = advanceRun(run, at(++step));
  expect(run.phase).toBe("failed");
  expect(run.message).toMatchInlineSnapshot(
    `"metric errors failed: v2 failed 42 of 1,400 requests (3 %), v1 14 of 12,600 (0.11 %): e-value 349.1 ≥ 100 (α 0.01)"`,
  );
  expect(wakeAt(run)).toBeNull();
});
