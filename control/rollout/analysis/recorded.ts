/**
 * Judging after the fact: a recording of what each version did, through the very same judge, one look a sample. To see
 * what an analysis would have said of last week's release before trusting it with the next one.
 *
 * Errors  a recording that can't be judged is refused with a sentence; nothing throws.
 */
import type { AnalysisSpec } from "../../../proto/contract/spec/analysis.ts";
import type { AnalysisRun } from "../../model/analysis.ts";
import type { VersionTraffic } from "../../model/view.ts";
import { NO_TRAFFIC } from "./counts.ts";
import { windowed } from "./metric.ts";
import { advanceRun, beginRun, conclude, type AnalysisFacts } from "./run.ts";

export interface Recording {
  readonly canary: string;
  readonly stable: string | null;
  /** totals: each sample counts from the beginning, as counters do. windows: each counts since the sample before it. */
  readonly counts: "totals" | "windows";
  /** In the order of time. Of totals, the first is what the judging begins at. */
  readonly samples: readonly RecordedSample[];
}

export interface RecordedSample {
  readonly atMs: number;
  readonly versions: Readonly<Record<string, VersionTraffic>>;
  /** Only `saturation` asks for them. */
  readonly inFlight?: Readonly<Record<string, number>>;
  readonly ready?: Readonly<Record<string, number>>;
}

export type Judged =
  | { readonly kind: "refused"; readonly why: string }
  | {
      readonly kind: "judged";
      readonly run: AnalysisRun;
      /** When it would have ended the analysis; null: it would have gone on to the end of the recording. */
      readonly verdictAtMs: number | null;
      /** Metrics of sources that a recording has no answers of: Prometheus, webhooks, commands. */
      readonly leftOut: readonly string[];
    };

export function judgeRecorded(spec: AnalysisSpec, recording: Recording): Judged {
  const metrics = spec.metrics.filter(windowed);
  const leftOut = spec.metrics.filter((metric) => !windowed(metric)).map((metric) => metric.name);
  if (metrics.length === 0) return refused("none of the metrics is measured from the sidecars' counts");
  const samples = recording.counts === "totals" ? recording.samples : summed(recording.samples);
  const [first, ...rest] = samples;
  const last = rest.at(-1);
  if (first === undefined || last === undefined) return refused("two samples at least are needed: one to begin at");
  const back = samples.findIndex((sample, i) => i > 0 && sample.atMs <= (samples[i - 1]?.atMs ?? 0));
  if (back > 0) return refused(`sample ${back + 1} is not later than the one before it`);
  if (!samples.some(({ versions }) => recording.canary in versions)) {
    return refused(`no sample has a version ${recording.canary}`);
  }
  // It lasts as long as the recording does, whatever the analysis was to last.
  let run = beginRun("recorded", { metrics, durationMs: 0 }, facts(recording, first));
  for (const sample of rest) run = advanceRun(run, facts(recording, sample));
  const early = run.phase === "running" ? null : run.endedAtMs;
  return { kind: "judged", run: conclude(run, facts(recording, last)), verdictAtMs: early, leftOut };
}

function facts({ canary, stable }: Recording, sample: RecordedSample): AnalysisFacts {
  const { atMs, versions, inFlight = {}, ready = {} } = sample;
  return { now: atMs, service: "", canary, stable, traffic: versions, inFlight, ready, measurements: [] };
}

function refused(why: string): Judged {
  return { kind: "refused", why };
}

/** Totals, from an empty sample on, one step before the first. */
function summed(samples: readonly RecordedSample[]): readonly RecordedSample[] {
  const [first, second] = samples;
  if (first === undefined) return [];
  const step = second === undefined ? 1_000 : Math.max(1, second.atMs - first.atMs);
  const all: RecordedSample[] = [{ atMs: first.atMs - step, versions: {} }];
  let totals: Record<string, VersionTraffic> = {};
  for (const sample of samples) {
    const next = { ...totals };
    for (const [version, window] of Object.entries(sample.versions)) {
      next[version] = sum(totals[version] ?? NO_TRAFFIC, window);
    }
    totals = next;
    all.push({ ...sample, versions: totals });
  }
  return all;
}

function sum(a: VersionTraffic, b: VersionTraffic): VersionTraffic {
  const latency = new Map(a.latency);
  for (const [bucket, count] of b.latency) latency.set(bucket, (latency.get(bucket) ?? 0) + count);
  return {
    requests: a.requests + b.requests,
    errors: a.errors + b.errors,
    lost: a.lost + b.lost,
    latency: [...latency].sort(([x], [y]) => x - y),
  };
}
