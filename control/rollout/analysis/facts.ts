/** What the judge is told, and what it asks for. */
import type { MetricSource } from "../../../proto/contract/spec/analysis.ts";
import type { Millis } from "../../../proto/kernel/clock.ts";
import type { ExternalMeasurement } from "../../model/analysis.ts";
import type { VersionTraffic } from "../../model/view.ts";

export interface AnalysisFacts {
  readonly now: Millis;
  readonly service: string;
  /** Version labels: the keys of what follows. */
  readonly canary: string;
  /** null: there was no version before. */
  readonly stable: string | null;
  /** Totals since the rollout began. */
  readonly traffic: Readonly<Record<string, VersionTraffic>>;
  /** Requests in flight, and ready instances, of a version. */
  readonly inFlight: Readonly<Record<string, number>>;
  readonly ready: Readonly<Record<string, number>>;
  /** What sources outside the controller said; those taken already, or not due, change nothing. */
  readonly measurements: readonly ExternalMeasurement[];
}

/** One measurement that a source outside the controller is to be asked for. */
export interface DueMeasurement {
  readonly run: string;
  readonly metric: string;
  readonly number: number;
  readonly source: MetricSource;
}
