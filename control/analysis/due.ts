/** What a run waits for from outside now: each of its metrics that is due, with the number of the measurement to come. */
import type { Millis } from "../../proto/kernel/clock.ts";
import type { AnalysisRun } from "../model/analysis.ts";
import type { Due } from "./runner.ts";

export function due(run: AnalysisRun, now: Millis): readonly Due[] {
  return run.metrics.flatMap(({ name, phase, nextAtMs, counts }) => {
    const source = run.spec.metrics.find((metric) => metric.name === name)?.source;
    if (source === undefined || source.kind === "sequential" || source.kind === "traffic") return [];
    if (phase !== "running" || nextAtMs === 0 || nextAtMs > now) return [];
    const taken = counts.successful + counts.failed + counts.inconclusive + counts.error;
    return [{ run: run.id, metric: name, number: taken + 1, source }];
  });
}
