/**
 * An analysis as a value: what was measured, what it says, and what the sequential test needs to go on. It is part of
 * its rollout, stored with it, so that a new controller goes on judging where the last one stopped.
 */
import type { AnalysisSpec } from "../../proto/contract/spec/types.ts";
import type { VersionTraffic } from "./view.ts";

/** A failed one rolls back, an inconclusive one pauses; an error (nothing could be measured) pauses as well. */
export type Verdict = "successful" | "failed" | "inconclusive" | "error";

export interface AnalysisRun {
  /** "background", "step 3", "prePromotion", "postPromotion": one of each in a rollout. */
  readonly id: string;
  readonly spec: AnalysisSpec;
  readonly phase: "running" | Verdict;
  /** One sentence with the numbers behind it. */
  readonly message: string;
  readonly startedAtMs: number;
  /** 0 while it runs. */
  readonly endedAtMs: number;
  readonly metrics: readonly MetricRun[];
}

export interface MetricRun {
  readonly name: string;
  readonly phase: "running" | Verdict;
  readonly message: string;
  /** Measured next at; 0: no more. */
  readonly nextAtMs: number;
  readonly counts: {
    readonly successful: number;
    readonly failed: number;
    readonly inconclusive: number;
    readonly error: number;
    readonly consecutiveErrors: number;
  };
  /** The newest, at most 20. */
  readonly recent: readonly Measurement[];
  /** Only of `sequential`. */
  readonly evidence: SequentialEvidence | null;
  /** Counts at the last measurement: what the next window begins at. Only of `sequential` and `traffic`. */
  readonly since: Readonly<Record<string, VersionTraffic>>;
}

export interface Measurement {
  /** 1, 2, 3 … within its metric. */
  readonly number: number;
  readonly atMs: number;
  /** null: an error, or no data. */
  readonly value: number | null;
  readonly verdict: Verdict;
  readonly message: string;
}

/** What the sequential test carries from window to window: plain numbers, JSON. */
export interface SequentialEvidence {
  /** Per odds ratio of the grid: the log of its likelihood ratio so far, tempered. */
  readonly logRatios: readonly number[];
  /** The greatest e-value so far; the test fails at metrics/α. */
  readonly peak: number;
  readonly windows: number;
  readonly canary: { readonly requests: number; readonly bad: number };
  readonly stable: { readonly requests: number; readonly bad: number };
  /** Whatever the tempering learns from earlier windows; numbers by name. */
  readonly memory: Readonly<Record<string, number | readonly number[]>>;
}

/** What a source outside the controller said, for one measurement that was due. */
export interface ExternalMeasurement {
  readonly run: string;
  readonly metric: string;
  readonly number: number;
  readonly atMs: number;
  readonly outcome:
    | { readonly kind: "value"; readonly value: number }
    /** It was asked and answered, but there is nothing to judge: an inconclusive measurement, never a success. */
    | { readonly kind: "nodata"; readonly message: string }
    | { readonly kind: "error"; readonly message: string };
}
