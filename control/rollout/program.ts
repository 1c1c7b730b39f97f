/**
 * What a canary or blueGreen rollout does to the traffic, as a list of steps: both strategies come down to the same five
 * words. A rolling update has no program: its hosts move as their window allows.
 *
 *   canary      the document's steps, and in the end all of the traffic
 *   blueGreen   preview route → prePromotionAnalysis → approval or delay → all of the traffic at once → postPromotionAnalysis
 *
 * A first rollout has no traffic to split, and one on the fast track (rollback window, `promote --full`) asks nothing more.
 */
import type {
  AnalysisSpec,
  BlueGreenStrategy,
  CanaryStrategy,
  HeaderRoute,
  MirrorRoute,
  StickySpec,
  StrategySpec,
} from "../../proto/contract/spec/types.ts";
import { formatDuration, WHOLE } from "../../proto/contract/units.ts";
import type { BasisPoints } from "../../proto/contract/units.ts";
import type { Rollout } from "../model/rollout.ts";

export type ProgramStep =
  | { readonly kind: "setWeight"; readonly weight: BasisPoints }
  /** `durationMs` null: until the operator says so. `approval`: it is the switch that is waited with. */
  | { readonly kind: "pause"; readonly durationMs: number | null; readonly approval: boolean }
  | { readonly kind: "analysis"; readonly id: string; readonly analysis: AnalysisSpec }
  | { readonly kind: "setHeaderRoute"; readonly route: HeaderRoute }
  | { readonly kind: "setMirrorRoute"; readonly route: MirrorRoute };

export const PREVIEW = "preview";

type Programmed = Pick<Rollout, "strategy" | "fastTrack" | "from">;

export function programOf({ strategy, fastTrack, from }: Programmed): readonly ProgramStep[] {
  if (from === 0 || strategy.kind === "rolling") return [];
  if (fastTrack) return [{ kind: "setWeight", weight: WHOLE }];
  return strategy.kind === "canary" ? canary(strategy) : blueGreen(strategy);
}

/** Both versions serve on every host, by weight; else hosts move whole. */
export function splits({ strategy, from }: Pick<Rollout, "strategy" | "from">): boolean {
  if (from === 0) return false;
  return strategy.kind === "blueGreen" || (strategy.kind === "canary" && strategy.trafficRouting === "weighted");
}

export function stickyOf(strategy: StrategySpec): StickySpec | null {
  return strategy.kind === "canary" ? strategy.stickiness : null;
}

/** The program has asked for all that it will ever ask, and seen it confirmed. */
export const programOver = (rollout: Rollout): boolean => rollout.step.index >= programOf(rollout).length;

export const currentStep = (rollout: Rollout): ProgramStep | undefined => programOf(rollout)[rollout.step.index];

/** How long a host that serves the new version keeps the old one warm. */
export function warmMs(strategy: StrategySpec): number {
  return strategy.kind === "blueGreen"
    ? Math.max(strategy.minHealthyMs, strategy.scaleDownDelayMs)
    : strategy.minHealthyMs;
}

function canary({ steps }: CanaryStrategy): readonly ProgramStep[] {
  const program = steps.map((step, at): ProgramStep => {
    if (step.kind === "analysis") return { kind: "analysis", id: `step ${at + 1}`, analysis: step.analysis };
    return step.kind === "pause" ? { ...step, approval: false } : step;
  });
  const last = program.findLast((step) => step.kind === "setWeight");
  return last?.weight === WHOLE ? program : [...program, { kind: "setWeight", weight: WHOLE }];
}

function blueGreen(strategy: BlueGreenStrategy): readonly ProgramStep[] {
  const { previewRoute, prePromotionAnalysis, postPromotionAnalysis } = strategy;
  const { autoPromotionEnabled, autoPromotionMs } = strategy;
  const program: ProgramStep[] = [];
  if (previewRoute.length > 0) {
    program.push({ kind: "setHeaderRoute", route: { name: PREVIEW, matches: previewRoute } });
  }
  if (prePromotionAnalysis !== null) {
    program.push({ kind: "analysis", id: "prePromotion", analysis: prePromotionAnalysis });
  }
  if (autoPromotionMs !== null || !autoPromotionEnabled) {
    program.push({ kind: "pause", durationMs: autoPromotionMs, approval: true });
  }
  program.push({ kind: "setWeight", weight: WHOLE });
  if (postPromotionAnalysis !== null) {
    program.push({ kind: "analysis", id: "postPromotion", analysis: postPromotionAnalysis });
  }
  return program;
}

/** `setWeight 20 %`, as the document says it. */
export function stepText(step: ProgramStep): string {
  switch (step.kind) {
    case "setWeight":
      return `setWeight ${formatWeight(step.weight)}`;
    case "pause":
      if (step.durationMs === null) return step.approval ? "await approval" : "pause";
      return `${step.approval ? "await approval, at most" : "pause"} ${formatDuration(step.durationMs)}`;
    case "analysis":
      return `analysis ${step.analysis.metrics.map((metric) => metric.name).join(", ")}`;
    case "setHeaderRoute":
      return `${step.route.matches.length === 0 ? "remove route" : "setHeaderRoute"} ${step.route.name}`;
    case "setMirrorRoute":
      return step.route.percentage === 0
        ? `remove mirror ${step.route.name}`
        : `setMirrorRoute ${step.route.name} ${formatWeight(step.route.percentage)}`;
  }
}

export const formatWeight = (weight: BasisPoints): string => `${String(weight / 100)} %`;
