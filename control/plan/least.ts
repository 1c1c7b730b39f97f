/** The shortest that an analysis can take: to its end, or until every metric has been measured often enough. */
import type { AnalysisSpec } from "../../proto/contract/spec/types.ts";

export function leastMs({ durationMs, metrics }: AnalysisSpec): number {
  const needed = Math.max(0, ...metrics.map((metric) => metric.initialDelayMs + metric.count * metric.intervalMs));
  if (metrics.some((metric) => metric.count === 0)) return durationMs;
  return durationMs === 0 ? needed : Math.min(durationMs, needed);
}
