import { expect, test } from "vitest";
import { bucketOf } from "../../../proto/contract/histogram.ts";
import type { TrafficSource } from "../../../proto/contract/spec/analysis.ts";
import { advanceRun, beginRun, type AnalysisFacts } from "../../../control/rollout/analysis/run.ts";
import { condition, facts, metric, sequential, spec, traffic } from "./kit.ts";

const answers = (...ms: readonly (readonly [number, number])[]) =>
  ms.map(([latency, count]) => [bucketOf(latency * 1_000), count] as const);

function measured(
  of: TrafficSource["of"],
  then: Partial<AnalysisFacts>,
  now: Partial<AnalysisFacts>,
  version = "canary",
) {
  const source = { kind: "traffic", of, version: version as "canary" | "stable" } as const;
  const any = metric({ source, intervalMs: 10_000, success: condition("result >= 0"), inconclusiveLimit: 9 });
  const run = advanceRun(beginRun("background", spec(0, any), facts(0, then)), facts(10_000, now));
  return run.metrics[0]?.recent[0];
}

test("a window is the difference of totals: what was before it has no say", () => {
  const then = { traffic: { v2: { requests: 100, errors: 60, lost: 5, latency: answers([50, 100]) } } };
  const now = { traffic: { v2: { requests: 300, errors: 68, lost: 7, latency: answers([50, 110], [200, 90]) } } };
  expect(measured("successRate", then, now)?.value).toBeCloseTo(0.95);
  expect(measured("errorRate", then, now)?.value).toBeCloseTo(0.05);
  expect(measured("errorRate", then, now)?.message).toContain("10 of 200 requests failed");
  expect(measured("requestRate", then, now)?.value).toBe(20);
  expect(measured("p50", then, now)?.value).toBeGreaterThan(190);
  expect(measured("p50", then, now)?.value).toBeLessThan(230);
  expect(measured("p99", {}, { traffic: then.traffic })?.value).toBeCloseTo(53, 0);
});

test("saturation is requests in flight per ready instance; without one there is nothing to measure", () => {
  const now = { traffic: { v1: traffic(10) }, inFlight: { v1: 12 }, ready: { v1: 4 } };
  expect(measured("saturation", {}, now, "stable")?.value).toBe(3);
  expect(measured("saturation", {}, { ...now, ready: {} }, "stable")).toMatchObject({
    verdict: "inconclusive",
    message: "v1 has no ready instance",
  });
  expect(measured("saturation", {}, { ...now, stable: null }, "stable")?.verdict).toBe("inconclusive");
});

test("an idle version passes nothing, not even a limit that zero is within", () => {
  for (const of of ["successRate", "errorRate", "p99", "saturation", "requestRate"] as const) {
    expect(measured(of, {}, { ready: { v2: 1 } })).toMatchObject({ verdict: "inconclusive", value: null });
  }
});

test("requests without an answer yet have no latency", () => {
  expect(measured("p99", {}, { traffic: { v2: traffic(5) } })?.message).toBe("v2 gave no answers in the last 10 s");
});

test("slow is slower than the stable version's own p99 of the windows before", () => {
  const slow = spec(0, metric({ name: "latency", source: sequential("latency") }));
  const at = (step: number, ms: number) =>
    facts(step * 5_000, {
      traffic: {
        v1: { ...traffic(step * 900), latency: answers([100, step * 900 - step], [400, step]) },
        v2: { ...traffic(step * 100), latency: answers([100, step * 90], [ms, step * 10]) },
      },
    });
  const play = (ms: number, steps: number) => {
    let run = beginRun("background", slow, at(0, ms));
    for (let step = 1; step <= steps; step++) run = advanceRun(run, at(step, ms));
    return run;
  };
  expect(play(700, 1).metrics[0]?.message).toBe("v1 has given 0 of the 300 answers that its p99 is read from");
  expect(play(700, 30).phase).toBe("failed");
  expect(play(700, 30).message).toMatch(
    /v2 took longer than 106.5 ms, the p99 of v1, for \d+ of [\d,]+ answers \(10 %\)/,
  );
  expect(play(90, 200).phase).toBe("running"); // as fast as the bulk of v1
});
