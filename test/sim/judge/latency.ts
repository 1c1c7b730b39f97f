/**
 * Answers of two versions with their latency, through the whole judge (advanceRun on totals with histograms), beside a
 * fixed limit for p99. Latencies are lognormal with a p99 of 300 ms; a fixed limit of 500 ms is Flagger's example.
 *
 * Units  milliseconds; seconds for spells.
 */
import type { AnalysisSpec, MetricSpec } from "../../../proto/contract/spec/analysis.ts";
import { LATENCY_BUCKETS, bucketOf } from "../../../proto/contract/histogram.ts";
import { bucketMs } from "../../../control/rollout/analysis/counts.ts";
import { advanceRun, beginRun, type AnalysisFacts } from "../../../control/rollout/analysis/run.ts";
import type { VersionTraffic } from "../../../control/model/view.ts";
import { chance, codes, type Chance } from "./chance.ts";
import { NEVER, tally, type End, type Tally } from "./play.ts";
import type { Limit } from "./rules.ts";

export interface LatencyCase {
  readonly name: string;
  readonly seconds: number;
  readonly rate: number;
  readonly weight: number;
  /** The canary's latency, as a factor of the stable version's: all of it, or of its slowest 2 % alone. */
  readonly slower?: { readonly by: number; readonly of: "all" | "tail" };
  /** The latency of both swings by this factor. */
  readonly swing?: number;
  /** One version answers so much slower, for 0.1 to 30 s, every so many seconds. */
  readonly pauses?: { readonly by: number; readonly every: number };
}

const MINUTES = 60;
const base = { seconds: 10 * MINUTES, rate: 50, weight: 0.1 } as const;

export const EQUAL_LATENCY: readonly LatencyCase[] = [
  { ...base, name: "latency constant" },
  { ...base, name: "latency constant, canary 50 %", weight: 0.5 },
  { ...base, name: "latency drifts (3 ×)", swing: 3 },
  { ...base, name: "one version pauses for 0.1–30 s (10 ×)", pauses: { by: 10, every: 60 } },
  { ...base, name: "pauses, canary 50 %", weight: 0.5, pauses: { by: 10, every: 60 } },
];

export const WORSE_LATENCY: readonly LatencyCase[] = [
  { ...base, name: "p99 doubled (every answer)", slower: { by: 2, of: "all" } },
  { ...base, name: "p99 doubled (every answer), 500/s", rate: 500, slower: { by: 2, of: "all" } },
  { ...base, name: "p99 doubled (the slowest 2 % alone)", seconds: 60 * MINUTES, slower: { by: 2, of: "tail" } },
];

const LIMIT_MS = 500;
const SPREAD = 0.6;
const Z99 = 2.326_35;
const MEDIAN_MICROS = 300_000 / Math.exp(Z99 * SPREAD);
const GRAINS = 65_536;

const metric: MetricSpec = {
  name: "latency",
  source: { kind: "sequential", of: "latency", alpha: 0.01, minRequests: 100 },
  intervalMs: 5_000,
  initialDelayMs: 0,
  count: 0,
  failureLimit: 0,
  inconclusiveLimit: 0,
  consecutiveErrorLimit: 0,
  success: null,
  failure: null,
  critical: true,
  dryRun: false,
};
const spec: AnalysisSpec = { durationMs: 0, metrics: [metric] };

export const ARGO_P99 = "p99 ≤ 500 ms, failureLimit 0 (Argo)";
export const FLAGGER_P99 = "p99 ≤ 500 ms, threshold 5 (Flagger)";

export const LATENCY_COLUMNS: readonly Limit[] = [
  { name: "Baton, α 0.01", limit: 100 },
  { name: "Baton, α 0.05", limit: 20 },
  { name: ARGO_P99, limit: 1 },
  { name: FLAGGER_P99, limit: 5 },
];

export function playLatency(of: LatencyCase, runs: number, seed: number): readonly Tally[] {
  const tables = new Tables();
  const ends = Array.from({ length: runs }, (_, run) => once(of, run, seed, tables));
  return LATENCY_COLUMNS.map((named, i) =>
    tally(
      named,
      ends.map((all) => all[i] ?? NEVER),
    ),
  );
}

function once(of: LatencyCase, run: number, seed: number, tables: Tables): readonly End[] {
  const random = chance(seed, run, ...codes(of.name));
  const versions = { v1: new Version(), v2: new Version() };
  const minute = new Version();
  const at = (t: number): AnalysisFacts => ({
    now: t * 1_000,
    service: "shop",
    canary: "v2",
    stable: "v1",
    traffic: { v1: versions.v1.total(), v2: versions.v2.total() },
    inFlight: {},
    ready: {},
    measurements: [],
  });
  const pauses = of.pauses === undefined ? [] : happen(of, of.pauses.every, random);
  const phase = random.between(0, 6.3);
  const ends = LATENCY_COLUMNS.map(() => NEVER);
  const scores = [0, 0, 0, 0];
  let judged = beginRun("background", spec, at(0));
  for (let t = 1; t <= of.seconds; t++) {
    const factor = of.swing === undefined ? 1 : Math.exp(Math.log(of.swing) * Math.sin((6.283 * t) / 300 + phase));
    const paused = pauses.filter(({ from, to }) => t > from && t - 1 < to);
    for (const [version, share] of [
      ["v1", 1 - of.weight],
      ["v2", of.weight],
    ] as const) {
      const canary = version === "v2";
      const part = paused
        .filter((pause) => pause.onCanary === canary)
        .reduce((sum, { from, to }) => sum + Math.min(t, to) - Math.max(t - 1, from), 0);
      const slower = canary ? of.slower : undefined;
      const table = tables.of(factor * (slower?.of === "all" ? slower.by : 1), slower?.of === "tail" ? slower.by : 1);
      const pausing = part > 0 ? tables.of(factor * (of.pauses?.by ?? 1), 1) : table;
      const n = random.poisson(of.rate * share);
      for (let i = 0; i < n; i++) {
        const bucket = (part > 0 && random.next() < part ? pausing : table)[Math.floor(random.next() * GRAINS)] ?? 0;
        versions[version].add(bucket);
        if (canary) minute.add(bucket);
      }
    }
    if (t % 5 === 0) {
      judged = advanceRun(judged, at(t));
      scores[0] = scores[1] = judged.metrics[0]?.evidence?.peak ?? 0;
    }
    if (t % 60 === 0) {
      const slow = minute.p99Ms() > LIMIT_MS ? 1 : 0;
      scores[2] = (scores[2] ?? 0) + slow;
      scores[3] = (scores[3] ?? 0) + slow;
      minute.clear();
    }
    for (const [i, end] of ends.entries()) {
      if (end.seconds < Infinity || (scores[i] ?? 0) < (LATENCY_COLUMNS[i]?.limit ?? Infinity)) continue;
      ends[i] = { seconds: t, requests: versions.v2.answers };
    }
    if (ends.every(({ seconds }) => seconds < Infinity)) break;
  }
  return ends;
}

function happen(of: LatencyCase, every: number, random: Chance): { from: number; to: number; onCanary: boolean }[] {
  const all = [];
  for (let t = random.exponential(every); t < of.seconds; t += random.exponential(every)) {
    all.push({ from: t, to: t + random.logBetween(0.1, 30), onCanary: random.next() < of.weight });
  }
  return all;
}

/** The bucket of each 65,536th of a lognormal, by its scale: a draw is one look-up. */
class Tables {
  readonly #made = new Map<string, Uint8Array>();

  of(scale: number, tail: number): Uint8Array {
    const step = Math.round(Math.log(scale) * 40);
    const key = `${step}/${tail}`;
    const found = this.#made.get(key);
    if (found !== undefined) return found;
    const table = new Uint8Array(GRAINS);
    for (let i = 0; i < GRAINS; i++) {
      const share = (i + 0.5) / GRAINS;
      const micros = MEDIAN_MICROS * Math.exp(step / 40 + SPREAD * normalQuantile(share));
      table[i] = bucketOf(share > 0.98 ? micros * tail : micros);
    }
    this.#made.set(key, table);
    return table;
  }
}

class Version {
  readonly #counts = new Float64Array(LATENCY_BUCKETS);
  answers = 0;

  add(bucket: number): void {
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.answers++;
  }

  clear(): void {
    this.#counts.fill(0);
    this.answers = 0;
  }

  p99Ms(): number {
    let left = Math.ceil(this.answers * 0.99);
    for (const [bucket, count] of this.#counts.entries()) {
      left -= count;
      if (left <= 0 && this.answers > 0) return bucketMs(bucket);
    }
    return 0;
  }

  total(): VersionTraffic {
    const latency: [number, number][] = [];
    for (let bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
      const count = this.#counts[bucket] ?? 0;
      if (count > 0) latency.push([bucket, count]);
    }
    return { requests: this.answers, errors: 0, lost: 0, latency };
  }
}

/** Source  Peter Acklam's rational approximation; relative error below 1.2e-9. */
function normalQuantile(p: number): number {
  const a = [
    -39.69683028665376, 220.9460984245205, -275.9285104469687, 138.357751867269, -30.66479806614716, 2.506628277459239,
  ];
  const b = [-54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972, -13.28068155288572, 1];
  const c = [
    -0.007784894002430293, -0.3223964580411365, -2.400758277161838, -2.549732539343734, 4.374664141464968,
    2.938163982698783,
  ];
  const d = [0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416, 1];
  const horner = (coefficients: readonly number[], x: number): number =>
    coefficients.reduce((sum, k) => sum * x + k, 0);
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return horner(c, q) / horner(d, q);
  }
  if (p > 1 - 0.02425) return -normalQuantile(1 - p);
  const q = p - 0.5;
  return (q * horner(a, q * q)) / horner(b, q * q);
}
