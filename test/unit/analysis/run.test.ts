import { expect, test } from "vitest";
import { advanceRun, beginRun, conclude, due, enough, wakeAt } from "../../../control/rollout/analysis/run.ts";
import type { ExternalMeasurement } from "../../../control/model/analysis.ts";
import { condition, facts, metric, sequential, spec, traffic } from "./kit.ts";

const SECOND = 1_000;
const rate = (requests: number, failed: number, of = 0) =>
  facts(of, { traffic: { v1: traffic(requests * 9, failed * 9), v2: traffic(requests, failed) } });
const successRate = (options = {}) =>
  metric({
    name: "success",
    source: { kind: "traffic", of: "successRate", version: "canary" },
    success: condition("result >= 0.95"),
    ...options,
  });
const prometheus = (options = {}) =>
  metric({
    name: "prom",
    source: { kind: "prometheus", address: "http://127.0.0.1:9090", query: "up", timeoutMs: 1_000 },
    success: condition("result >= 1"),
    ...options,
  });
const says = (number: number, outcome: number | string, atMs: number, run = "step 1"): ExternalMeasurement => ({
  run,
  metric: "prom",
  number,
  atMs,
  outcome: typeof outcome === "number" ? { kind: "value", value: outcome } : { kind: "error", message: outcome },
});

test("a version that fails thirty times as often is failed, with one sentence that has the numbers", () => {
  const at = (step: number) =>
    facts(step * 5_000, { traffic: { v1: traffic(step * 900, step), v2: traffic(step * 100, step * 3) } });
  let run = beginRun("background", spec(0, metric({ source: sequential() })), at(0));
  let step = 0;
  while (run.phase === "running" && step < 100) run = advanceRun(run, at(++step));
  expect(run.phase).toBe("failed");
  expect(run.message).toBe(
    "metric errors failed: v2 failed 42 of 1,400 requests (3 %), v1 14 of 12,600 (0.11 %): e-value 349.1 ≥ 100 (α 0.01)",
  );
  expect(wakeAt(run)).toBeNull();
  expect(due(run, 1e12)).toEqual([]);
});

test("two sequential metrics share α: each has to reach 2/α, and a dry run takes no part of it", () => {
  const both = (dryRun: boolean) =>
    spec(0, metric({ source: sequential() }), metric({ name: "latency", source: sequential("latency"), dryRun }));
  const at = (step: number) =>
    facts(step * 5_000, { traffic: { v1: traffic(step * 900, step), v2: traffic(step * 100, step * 3) } });
  const message = (dryRun: boolean) =>
    advanceRun(beginRun("background", both(dryRun), at(0)), at(1)).metrics[0]?.message ?? "";
  expect(message(false)).toContain("< 200 (2 metrics, α 0.01)");
  expect(message(true)).toContain("< 100 (α 0.01)");
});

test("nothing changes until a measurement is due, and asked twice about one moment the answer is the same object", () => {
  const first = beginRun("step 1", spec(60 * SECOND, successRate()), rate(0, 0));
  expect(advanceRun(first, rate(50, 0, 4_999))).toBe(first);
  expect(wakeAt(first)).toBe(5_000);
  const second = advanceRun(first, rate(50, 0, 5_000));
  expect(second.metrics[0]?.counts.successful).toBe(1);
  expect(advanceRun(second, rate(60, 60, 5_000))).toBe(second);
  expect(wakeAt(second)).toBe(10_000);
});

test("no data never passes: a window without requests is inconclusive, and so is the run that saw nothing else", () => {
  let run = beginRun("step 1", spec(20 * SECOND, successRate({ inconclusiveLimit: 10 })), rate(0, 0));
  for (let t = 5; t <= 20; t += 5) run = advanceRun(run, rate(0, 0, t * SECOND));
  expect(run.phase).toBe("inconclusive");
  expect(run.metrics[0]?.counts).toMatchObject({ successful: 0, failed: 0, inconclusive: 4, error: 0 });
  expect(run.message).toBe("metric success is inconclusive: v2 had no requests in the last 5 s");
});

test("a sequential metric that saw too little is inconclusive at its end, and not before", () => {
  let run = beginRun("step 1", spec(20 * SECOND, metric({ source: sequential("errors", 100) })), rate(0, 0));
  for (let t = 5; t <= 15; t += 5) run = advanceRun(run, rate(t, 0, t * SECOND));
  expect(run.phase).toBe("running");
  expect(run.metrics[0]?.counts.inconclusive).toBe(3);
  run = advanceRun(run, rate(20, 0, 20 * SECOND));
  expect(run.phase).toBe("inconclusive");
  expect(run.message).toContain("20 of the 100 requests of the new version that it needs were seen");
});

test("without a stable version beside it, or with nothing on it, a canary does not pass the comparison", () => {
  const alone = (stable: string | null, requests: number) => {
    const at = (t: number) => facts(t, { stable, traffic: { v1: traffic(0), v2: traffic(t === 0 ? 0 : requests) } });
    const run = beginRun("step 1", spec(5 * SECOND, metric({ source: sequential() })), at(0));
    return advanceRun(run, at(5 * SECOND));
  };
  expect(alone(null, 1_000).message).toContain("there is no other version beside v2 to compare it with");
  expect(alone("v2", 1_000).phase).toBe("inconclusive");
  expect(alone("v1", 1_000).message).toContain("0 of the 10 requests of the stable version");
  expect(alone("v1", 1_000).phase).toBe("inconclusive");
});

test("a failed critical metric ends the run at once; one that is not critical makes it inconclusive; a dry run nothing", () => {
  const end = (options: object) => {
    const run = beginRun("step 1", spec(5 * SECOND, successRate(options), prometheus({ dryRun: true })), rate(0, 0));
    return advanceRun(run, rate(100, 50, 5 * SECOND));
  };
  expect(end({}).phase).toBe("failed");
  expect(end({}).message).toBe(
    "metric success failed: successRate of v2 is 0.5 (50 of 100 requests failed): result >= 0.95 does not hold",
  );
  expect(end({ critical: false })).toMatchObject({ phase: "inconclusive" });
  expect(end({ critical: false }).message).toContain("metric success, which is not critical, failed");
  const dry = end({ dryRun: true });
  expect(dry.phase).toBe("successful");
  expect(dry.metrics[0]).toMatchObject({ phase: "failed", counts: { failed: 1 } });
});

test("failureLimit and inconclusiveLimit are what is put up with, one more ends the metric", () => {
  const windows = [90, 0, 90, 0, 90]; // percent that is well, of 100 requests a window; 0: none at all
  const play = (options: object) => {
    let requests = 0;
    let failed = 0;
    let run = beginRun("background", spec(0, successRate(options)), rate(0, 0));
    for (const [i, well] of windows.entries()) {
      requests += well === 0 ? 0 : 100;
      failed += well === 0 ? 0 : 100 - well;
      run = advanceRun(run, rate(requests, failed, (i + 1) * 5 * SECOND));
    }
    return run;
  };
  expect(play({ failureLimit: 3, inconclusiveLimit: 2 }).phase).toBe("running");
  expect(play({ failureLimit: 2, inconclusiveLimit: 2 }).phase).toBe("failed");
  expect(play({ failureLimit: 2, inconclusiveLimit: 2 }).message).toContain("3 measurements failed, failureLimit is 2");
  expect(play({ failureLimit: 3, inconclusiveLimit: 1 }).phase).toBe("inconclusive");
});

test("both conditions: what is neither is inconclusive; with one alone the other is its opposite", () => {
  const verdict = (success: string | null, failure: string | null, failed: number) => {
    const limits = { failureLimit: 9, inconclusiveLimit: 9 };
    const conditions = {
      success: success === null ? null : condition(success),
      failure: failure === null ? null : condition(failure),
    };
    const run = beginRun("background", spec(0, successRate({ ...limits, ...conditions })), rate(0, 0));
    return advanceRun(run, rate(100, failed, 5 * SECOND)).metrics[0]?.recent[0]?.verdict;
  };
  expect(verdict("result >= 0.95", "result < 0.9", 2)).toBe("successful");
  expect(verdict("result >= 0.95", "result < 0.9", 7)).toBe("inconclusive");
  expect(verdict("result >= 0.95", "result < 0.9", 20)).toBe("failed");
  expect(verdict(null, "result < 0.9", 7)).toBe("successful");
  expect(verdict("result >= 0.95", null, 7)).toBe("failed");
});

test("an error is no failure: it uses up no count, is tried again sooner, and only a row of them ends the metric", () => {
  const twice = prometheus({ count: 2, intervalMs: 30 * SECOND, consecutiveErrorLimit: 1 });
  const hear = (run: ReturnType<typeof beginRun>, now: number, ...said: ExternalMeasurement[]) =>
    advanceRun(run, facts(now, { measurements: said }));
  let run = beginRun("step 1", spec(0, twice), facts(0));
  expect(due(run, 0)).toEqual([{ run: "step 1", metric: "prom", number: 1, source: twice.source }]);
  run = hear(run, 100, says(1, "connection refused", 50));
  expect(run.metrics[0]).toMatchObject({ nextAtMs: 10_050, counts: { error: 1, consecutiveErrors: 1, failed: 0 } });
  expect(due(run, 10_000)).toEqual([]);
  expect(hear(run, 10_049, says(2, 1, 10_000))).toBe(run); // not due yet
  run = hear(run, 10_100, says(2, 1, 10_060));
  expect(run.metrics[0]?.counts).toMatchObject({ successful: 1, error: 1, consecutiveErrors: 0 });
  expect(hear(run, 11_000, says(2, 0, 10_060))).toBe(run); // taken already
  const well = hear(run, 41_000, says(3, 1, 41_000));
  expect(well.phase).toBe("successful");
  const bad = hear(hear(run, 41_000, says(3, "refused", 41_000)), 52_000, says(4, "refused", 52_000));
  expect(bad).toMatchObject({
    phase: "error",
    message: "metric prom could not be measured: refused; 2 measurements error, consecutiveErrorLimit is 1",
  });
});

test("what an earlier run of the same name was told is not taken by the next one", () => {
  const run = beginRun("step 1", spec(0, prometheus()), facts(5_000));
  expect(advanceRun(run, facts(5_100, { measurements: [says(1, 0, 4_900)] }))).toBe(run);
  expect(advanceRun(run, facts(5_100, { measurements: [says(1, 0, 5_000, "step 2")] }))).toBe(run);
  expect(advanceRun(run, facts(5_100, { measurements: [says(1, 0, 5_000)] })).phase).toBe("failed");
});

test("a source that is due is waited for by its answer: with the time known, no wake-up is asked for", () => {
  const run = beginRun("background", spec(0, prometheus()), facts(5_000));
  expect(wakeAt(run)).toBe(5_000);
  expect(wakeAt(run, 5_000)).toBeNull();
  const step = beginRun("step 1", spec(60_000, prometheus()), facts(5_000));
  expect(wakeAt(step, 5_000)).toBe(65_000);
});

test("what is no number is no data, not a failure", () => {
  const run = beginRun("background", spec(0, prometheus({ inconclusiveLimit: 3 })), facts(0));
  const next = advanceRun(run, facts(0, { measurements: [says(1, NaN, 0, "background")] }));
  expect(next.metrics[0]?.recent[0]).toMatchObject({ verdict: "inconclusive", value: null });
});

test("initialDelay: what happened during it is not judged", () => {
  let run = beginRun("background", spec(0, successRate({ initialDelayMs: 30 * SECOND })), rate(0, 0));
  expect(wakeAt(run)).toBe(30_000);
  run = advanceRun(run, rate(100, 100, 30_000));
  expect(run.metrics[0]?.recent).toEqual([]);
  run = advanceRun(run, rate(200, 100, 35_000));
  expect(run.metrics[0]?.counts).toMatchObject({ successful: 1, failed: 0 });
});

test("the background run goes on until it is concluded, and says what is missing before", () => {
  const judged = spec(0, metric({ source: sequential("errors", 500) }), successRate({ inconclusiveLimit: 9 }));
  let run = beginRun("background", judged, rate(0, 0));
  expect(enough(run)).toBe("metric errors: 0 of the 500 requests of the new version that it needs were seen");
  run = advanceRun(run, rate(600, 0, 5_000));
  expect(enough(run)).toBeNull();
  expect(run.phase).toBe("running");
  const end = conclude(run, rate(700, 0, 7_000));
  expect(end).toMatchObject({ phase: "successful", endedAtMs: 7_000 });
  expect(end.metrics[0]?.evidence?.canary.requests).toBe(700); // it looks once more
  expect(conclude(end, rate(900, 900, 9_000))).toBe(end);
});

test("a background run that has not seen enough is concluded as inconclusive", () => {
  const run = beginRun("background", spec(0, metric({ source: sequential("errors", 500) })), rate(0, 0));
  expect(conclude(run, rate(100, 0, 5_000)).phase).toBe("inconclusive");
});

test("a controller that was away takes one longer window, and goes on by the interval", () => {
  const run = beginRun("background", spec(0, successRate()), rate(0, 0));
  const back = advanceRun(run, rate(100, 1, 62_000));
  expect(back.metrics[0]?.recent).toHaveLength(1);
  expect(wakeAt(back)).toBe(67_000);
});

test("totals that went back are no negative window", () => {
  let run = beginRun("background", spec(0, metric({ source: sequential() })), rate(1_000, 10));
  run = advanceRun(run, rate(10, 0, 5_000));
  expect(run.metrics[0]?.evidence?.canary).toEqual({ requests: 0, bad: 0 });
  run = advanceRun(run, rate(20, 1, 10_000));
  expect(run.metrics[0]?.evidence?.canary).toEqual({ requests: 10, bad: 1 });
});

test("a run is plain JSON, goes on from it, and stays small however long it lasts", () => {
  let run = beginRun("background", spec(0, metric({ source: sequential() }), successRate()), rate(0, 0));
  for (let i = 1; i <= 500; i++) {
    const step = advanceRun(run, rate(i * 10_000, i * 10, i * 5_000));
    run = JSON.parse(JSON.stringify(step)) as typeof run;
    expect(run).toEqual(step);
  }
  expect(run.phase).toBe("running");
  expect(JSON.stringify(run).length).toBeLessThan(8_000);
});

test("a version that looks worse and is not yet found so has not passed: a bad minute on it blocks until it is past", () => {
  const at = (step: number, failed: number) =>
    facts(step * 5_000, { traffic: { v1: traffic(step * 900), v2: traffic(step * 100, failed) } });
  let run = beginRun("background", spec(0, metric({ source: sequential() })), at(0, 0));
  for (let step = 1; step <= 4; step++) run = advanceRun(run, at(step, 0));
  expect(enough(run)).toBeNull();
  run = advanceRun(run, at(5, 40));
  expect(run.phase).toBe("running");
  expect(enough(run)).toContain("looked worse of late");
  // An operator who reads why it is not promoted wants the counts and not an opinion.
  expect(enough(run)).toMatch(/failed \d+ of \d+ requests \([\d.]+ %\), .*: e-value [\d.]+ < \d+/);
  expect(conclude(run, at(6, 40)).phase).toBe("inconclusive");
  for (let step = 6; step <= 20; step++) run = advanceRun(run, at(step, 40));
  expect(enough(run)).toBeNull();
  expect(conclude(run, at(21, 40)).phase).toBe("successful");
});
