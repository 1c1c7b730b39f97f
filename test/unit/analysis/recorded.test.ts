import { expect, test } from "vitest";
import { judgeRecorded, type Recording } from "../../../control/rollout/analysis/recorded.ts";
import { condition, metric, sequential, spec, traffic } from "./kit.ts";

const judged = spec(60_000, metric({ source: sequential() }));
const samples = (bad: number, length = 60) =>
  Array.from({ length }, (_, i) => ({
    atMs: 1_000_000 + i * 5_000,
    versions: { v1: traffic(900 * i, i), v2: traffic(100 * i, bad * i) },
  }));
const recording = (options: Partial<Recording> = {}): Recording => ({
  canary: "v2",
  stable: "v1",
  counts: "totals",
  samples: samples(3),
  ...options,
});

test("a recording is judged to its end, and says when the verdict would have come", () => {
  const bad = judgeRecorded(judged, recording());
  expect(bad).toMatchObject({ kind: "judged", verdictAtMs: 1_070_000, run: { phase: "failed", endedAtMs: 1_070_000 } });
  const well = judgeRecorded(judged, recording({ samples: samples(0) }));
  expect(well).toMatchObject({ kind: "judged", verdictAtMs: null, run: { phase: "successful", endedAtMs: 1_295_000 } });
});

test("counts per window say the same as totals", () => {
  const windows = Array.from({ length: 59 }, (_, i) => ({
    atMs: 1_005_000 + i * 5_000,
    versions: { v1: traffic(900, 1), v2: traffic(100, 3) },
  }));
  expect(judgeRecorded(judged, recording({ counts: "windows", samples: windows }))).toEqual(
    judgeRecorded(judged, recording()),
  );
});

test("sources that a recording has no answers of are left out by name", () => {
  const webhook = metric({
    name: "hook",
    source: { kind: "webhook", url: "http://127.0.0.1/", method: "GET", jsonPath: "$.value", timeoutMs: 1 },
    success: condition("result > 0"),
  });
  expect(judgeRecorded(spec(0, ...judged.metrics, webhook), recording())).toMatchObject({ leftOut: ["hook"] });
  expect(judgeRecorded(spec(0, webhook), recording())).toMatchObject({ kind: "refused" });
});

test("a recording that can't be judged is refused with the reason", () => {
  const why = (options: Partial<Recording>) => judgeRecorded(judged, recording(options));
  expect(why({ samples: samples(0, 1) })).toEqual({
    kind: "refused",
    why: "two samples at least are needed: one to begin at",
  });
  expect(why({ canary: "v3" })).toMatchObject({ kind: "refused", why: "no sample has a version v3" });
  expect(why({ samples: [...samples(0, 3), ...samples(0, 3)] })).toMatchObject({
    kind: "refused",
    why: "sample 4 is not later than the one before it",
  });
});
