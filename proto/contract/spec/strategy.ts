/**
 * How a rollout goes on, as its document says it, checked and complete. Three strategies with one common part; the words
 * are Argo Rollouts' (setWeight, pause, analysis, setHeaderRoute, setMirrorRoute, autoPromotionEnabled, …) and Nomad's
 * (min_healthy_time, healthy_deadline, progress_deadline, auto_revert).
 *
 * Units  milliseconds; weights in basis points; shares 0..1.
 */
import type { BasisPoints, CountOrPercent } from "../units.ts";
import type { AnalysisSpec } from "./analysis.ts";
import type { MatchSpec } from "./match.ts";

export type StrategySpec = RollingStrategy | CanaryStrategy | BlueGreenStrategy;

export interface CommonStrategy {
  /** Hosts that run both versions side by side at a time; canary and blueGreen: that are made ready at a time. */
  readonly maxSurge: CountOrPercent;
  readonly maxUnavailable: CountOrPercent;
  readonly minHealthyMs: number;
  readonly healthyDeadlineMs: number;
  readonly progressDeadlineMs: number;
  readonly autoRevert: boolean;
  /** The share of 5xx among the new version's answers that stops the rollout, 0..1, once `minRequests` were seen. */
  readonly maxErrorRate: number;
  readonly minRequests: number;
  /** What to do when a host's lease runs out in mid-rollout (RACES C3). */
  readonly onPartition: "pause" | "continue";
  /** What a newer revision does to this rollout in mid-way (RACES C6). */
  readonly onSupersede: "retarget" | "rollBackFirst";
  /** Going back to one of the last so many stable revisions skips steps and analysis (Argo's rollbackWindow); 0: none. */
  readonly rollbackWindow: number;
  /** Judged all the time, from step `startingStep` on; null: only what the steps say. */
  readonly analysis: BackgroundAnalysis | null;
}

export interface BackgroundAnalysis extends AnalysisSpec {
  /** Index into the canary's steps; 0 elsewhere. */
  readonly startingStep: number;
}

export interface RollingStrategy extends CommonStrategy {
  readonly kind: "rolling";
  /** From one host's beginning to the next one's, at least. */
  readonly staggerMs: number;
  /** A label's key: hosts of one value are all moved before those of the next; "" goes by name alone. */
  readonly orderBy: string;
  /** One host goes first and alone, and is watched for so long before any other begins; 0: none does. */
  readonly firstHostMs: number;
}

export interface CanaryStrategy extends CommonStrategy {
  readonly kind: "canary";
  /**
   * weighted  the canary runs beside the stable version on every host, and takes its weight of each host's requests
   * hosts     hosts are moved whole, as in a rolling update: a weight is the share of hosts that have moved
   */
  readonly trafficRouting: "weighted" | "hosts";
  /** Who got the canary gets it again; null: by chance. Only for `weighted`. */
  readonly stickiness: StickySpec | null;
  /** A last setWeight of all is implied. */
  readonly steps: readonly CanaryStep[];
}

export interface BlueGreenStrategy extends CommonStrategy {
  readonly kind: "blueGreen";
  /** Requests that see the new version before everyone does; empty: none do. */
  readonly previewRoute: readonly MatchSpec[];
  readonly prePromotionAnalysis: AnalysisSpec | null;
  /** false: it waits for `baton rollout promote` before the switch. */
  readonly autoPromotionEnabled: boolean;
  /** Waits so long, then switches by itself, whatever `autoPromotionEnabled` says; null: see there. */
  readonly autoPromotionMs: number | null;
  readonly postPromotionAnalysis: AnalysisSpec | null;
  /** The old version stays warm for so long after the switch: going back is one change of table. */
  readonly scaleDownDelayMs: number;
}

/** One step, in the order of the document. Each is over when every live agent has applied it. */
export type CanaryStep =
  | { readonly kind: "setWeight"; readonly weight: BasisPoints }
  /** null: until `baton rollout promote`. */
  | { readonly kind: "pause"; readonly durationMs: number | null }
  | { readonly kind: "analysis"; readonly analysis: AnalysisSpec }
  | { readonly kind: "setHeaderRoute"; readonly route: HeaderRoute }
  | { readonly kind: "setMirrorRoute"; readonly route: MirrorRoute };

/** Requests that match go to the new version, whatever the weights say. No matches: the route of that name is removed. */
export interface HeaderRoute {
  readonly name: string;
  readonly matches: readonly MatchSpec[];
}

/** Requests that match (every one, without matches) are also sent to the new version, whose answers go nowhere. */
export interface MirrorRoute {
  readonly name: string;
  readonly matches: readonly MatchSpec[];
  /** 0 removes the route of that name. */
  readonly percentage: BasisPoints;
}

/** How callers are told apart. A caller without the header is one of a moment; one without the cookie is given it. */
export type StickySpec =
  | { readonly kind: "cookie"; readonly name: string; readonly maxAgeMs: number }
  /** Lower case. */
  | { readonly kind: "header"; readonly name: string };
