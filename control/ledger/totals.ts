/** Arithmetic of totals: pure. Differences never go below zero; an agent whose counts fall back has lost its memory. */
import { CUT_CAUSES, LOSS_CAUSES } from "../../proto/contract/report.ts";
import type { TrafficReport } from "../../proto/contract/report.ts";
import type { Snapshot, Totals } from "./types.ts";

export const ZERO: Totals = {
  started: 0,
  completed: 0,
  errors: 0,
  retried: 0,
  drained: 0,
  clientGone: 0,
  tunnels: 0,
  eventStreams: 0,
  lost: LOSS_CAUSES.map(() => 0),
  cut: CUT_CAUSES.map(() => 0),
  latency: [],
};

export const totalsOf = (report: TrafficReport): Totals => ({
  started: report.started,
  completed: report.completed,
  errors: report.statusClasses[5] ?? 0,
  retried: report.retried,
  drained: report.drained,
  clientGone: report.clientGone,
  tunnels: report.tunnels,
  eventStreams: report.eventStreams,
  lost: LOSS_CAUSES.map((_, i) => report.lost[i] ?? 0),
  cut: CUT_CAUSES.map((_, i) => report.cut[i] ?? 0),
  latency: report.latency,
});

export const add = (a: Totals, b: Totals): Totals => combine(a, b, (x, y) => x + y);
export const subtract = (a: Totals, b: Totals): Totals => combine(a, b, (x, y) => Math.max(0, x - y));

function combine(a: Totals, b: Totals, by: (x: number, y: number) => number): Totals {
  const each = (x: readonly number[], y: readonly number[]): number[] => x.map((value, i) => by(value, y[i] ?? 0));
  return {
    started: by(a.started, b.started),
    completed: by(a.completed, b.completed),
    errors: by(a.errors, b.errors),
    retried: by(a.retried, b.retried),
    drained: by(a.drained, b.drained),
    clientGone: by(a.clientGone, b.clientGone),
    tunnels: by(a.tunnels, b.tunnels),
    eventStreams: by(a.eventStreams, b.eventStreams),
    lost: each(a.lost, b.lost),
    cut: each(a.cut, b.cut),
    latency: combineLatency(a.latency, b.latency, by),
  };
}

/** Both ascend by bucket, and so does the answer. */
function combineLatency(
  a: Totals["latency"],
  b: Totals["latency"],
  by: (x: number, y: number) => number,
): Totals["latency"] {
  if (b.length === 0) return a;
  const combined: (readonly [number, number])[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    const [inA, ofA] = a[i] ?? [Infinity, 0];
    const [inB, ofB] = b[j] ?? [Infinity, 0];
    const count = by(inA <= inB ? ofA : 0, inB <= inA ? ofB : 0);
    if (count > 0) combined.push([Math.min(inA, inB), count]);
    if (inA <= inB) i += 1;
    if (inB <= inA) j += 1;
  }
  return combined;
}

/** What was counted between two moments. */
export interface Span {
  readonly role: "host" | "gateway";
  readonly versions: Readonly<Record<string, Totals>>;
  /** At the last moment. */
  readonly inFlight: number;
}

/** By agent; one that the first moment did not know began at nothing. */
export function between(start: Snapshot, end: Snapshot): readonly Span[] {
  return Object.entries(end).map(([host, { role, versions, inFlight }]) => {
    const known = start[host];
    const rows = Object.entries(versions).map(([version, totals]) => {
      return [version, subtract(totals, known?.versions[version] ?? ZERO)] as const;
    });
    return { role, versions: Object.fromEntries(rows), inFlight };
  });
}

export const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
