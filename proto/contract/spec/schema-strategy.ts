/**
 * `strategy`: how a rollout goes on. Exactly one of `rolling`, `canary` and `blueGreen`, which have most keys in common;
 * none is a rolling update.
 */
import type * as z from "zod";
import { isLabelKey } from "../ids.ts";
import { MAX_DURATION_MS } from "../units.ts";
import type { CountOrPercent } from "../units.ts";
import { checkCanary, countsCanary } from "./check-canary.ts";
import type { Complaint } from "./check-canary.ts";
import { DEFAULTS } from "./defaults.ts";
import { countOrPercent, duration, flag, leaf, mapping, oneOf, share, text, whole } from "./leaf.ts";
import { analysis, background, canaryBackground } from "./schema-analysis.ts";
import { stickiness, steps } from "./schema-canary.ts";
import { disorder } from "./schema-drain.ts";
import { matches } from "./schema-match.ts";
import { LIMITS } from "../limits.ts";
import type {
  BackgroundAnalysis,
  BlueGreenStrategy,
  CanaryStrategy,
  CommonStrategy,
  RollingStrategy,
  StrategySpec,
} from "./strategy.ts";

const usual = DEFAULTS.strategy;

const common = {
  maxSurge: countOrPercent().optional(),
  maxUnavailable: countOrPercent().default(usual.maxUnavailable),
  minHealthyTime: duration(0, "10s").optional(),
  healthyDeadline: duration(1, "5m").optional(),
  progressDeadline: duration(1, "10m").optional(),
  autoRevert: flag().default(usual.autoRevert),
  maxErrorRate: share().default(usual.maxErrorRate),
  minRequests: whole(1, 1_000_000_000, "a count").default(usual.minRequests),
  onPartition: oneOf(["pause", "continue"]).default(usual.onPartition),
  onSupersede: oneOf(["retarget", "rollBackFirst"]).default(usual.onSupersede),
  rollbackWindow: mapping({ revisions: whole(0, 1_000, "revisions") }).default({ revisions: usual.rollbackWindow }),
};
type Common = z.output<z.ZodObject<typeof common>>;

interface Context {
  readonly issues: z.core.$ZodRawIssue[];
}

function complain({ issues }: Context, { path, message }: Complaint, input: unknown): void {
  issues.push({ code: "custom", path: [...path], message, input });
}

function commonOf(
  s: Common,
  context: Context,
  also: { readonly maxSurge: CountOrPercent; readonly analysis: BackgroundAnalysis | null },
): CommonStrategy {
  const maxSurge = s.maxSurge ?? also.maxSurge;
  if (maxSurge.value === 0 && s.maxUnavailable.value === 0) {
    const message = "maxSurge and maxUnavailable are both 0, so that nothing could ever be updated";
    complain(context, { path: ["maxUnavailable"], message }, s);
  }
  const progress = s.progressDeadline ?? atLeast(usual.progressDeadlineMs, s.healthyDeadline);
  const healthy = s.healthyDeadline ?? Math.min(progress, atLeast(usual.healthyDeadlineMs, s.minHealthyTime));
  for (const order of [
    { key: "healthyDeadline", ms: s.healthyDeadline, cap: progress, capKey: "progressDeadline" },
    { key: "minHealthyTime", ms: s.minHealthyTime, cap: healthy, capKey: "healthyDeadline" },
  ]) {
    const found = disorder(order);
    if (found !== undefined) complain(context, found, s);
  }
  return {
    maxSurge,
    maxUnavailable: s.maxUnavailable,
    minHealthyMs: s.minHealthyTime ?? Math.min(usual.minHealthyMs, healthy),
    healthyDeadlineMs: healthy,
    progressDeadlineMs: progress,
    autoRevert: s.autoRevert,
    maxErrorRate: s.maxErrorRate,
    minRequests: s.minRequests,
    onPartition: s.onPartition,
    onSupersede: s.onSupersede,
    rollbackWindow: s.rollbackWindow.revisions,
    analysis: also.analysis,
  };
}

/** A deadline's default leaves room for twice what must fit inside it. */
const atLeast = (ms: number, inside = 0): number => Math.min(MAX_DURATION_MS, Math.max(ms, 2 * inside));

const rolling = mapping({
  ...common,
  analysis: background.optional(),
  stagger: duration(0, "30s").default(DEFAULTS.rolling.staggerMs),
  orderBy: text("zone", isLabelKey, "a label's key", 320).optional(),
  firstHostTime: duration(0, "5m").default(DEFAULTS.rolling.firstHostMs),
}).transform((r, context): RollingStrategy => ({
  kind: "rolling",
  ...commonOf(r, context, { maxSurge: usual.maxSurge, analysis: r.analysis ?? null }),
  staggerMs: r.stagger,
  orderBy: r.orderBy ?? "",
  firstHostMs: r.firstHostTime,
}));

const canary = mapping({
  ...common,
  trafficRouting: oneOf(["weighted", "hosts"]).default(DEFAULTS.canary.trafficRouting),
  stickiness: stickiness.optional(),
  analysis: canaryBackground.optional(),
  steps: steps.optional(),
}).transform((c, context): CanaryStrategy => {
  const own = c.steps ?? DEFAULTS.canary.steps;
  // Whoever says nothing of analysis is judged all the same.
  const judged = own.some((step) => step.kind === "analysis") ? null : DEFAULTS.canary.analysis;
  const made: CanaryStrategy = {
    kind: "canary",
    ...commonOf(c, context, {
      maxSurge: c.trafficRouting === "weighted" ? usual.maxSurgeSplit : usual.maxSurge,
      analysis: c.analysis === undefined ? judged : c.analysis,
    }),
    trafficRouting: c.trafficRouting,
    stickiness: c.stickiness ?? null,
    steps: own,
  };
  for (const complaint of checkCanary(made)) complain(context, complaint, c);
  return made;
});

/** Argo's, whole seconds there. */
const seconds = leaf<number>({ type: "number", exclusiveMinimum: 0 }, "a number of seconds above 0", (input) => {
  if (typeof input !== "number" || !(input > 0)) return undefined;
  const ms = Math.round(input * 1_000);
  if (ms > MAX_DURATION_MS) return { wrong: `at most ${String(MAX_DURATION_MS / 1_000)} seconds` };
  return ms / 1_000 === input ? { value: ms } : { wrong: "finer than a thousandth of a second" };
});

const blueGreen = mapping({
  ...common,
  analysis: background.optional(),
  previewRoute: mapping({ matches: matches(1, LIMITS.routeMatches) }).optional(),
  prePromotionAnalysis: analysis.optional(),
  autoPromotionEnabled: flag().default(DEFAULTS.blueGreen.autoPromotionEnabled),
  autoPromotionSeconds: seconds.optional(),
  postPromotionAnalysis: analysis.optional(),
  scaleDownDelay: duration(0, "30s").default(DEFAULTS.blueGreen.scaleDownDelayMs),
}).transform((b, context): BlueGreenStrategy => {
  const made: BlueGreenStrategy = {
    kind: "blueGreen",
    ...commonOf(b, context, { maxSurge: usual.maxSurgeSplit, analysis: b.analysis ?? null }),
    previewRoute: b.previewRoute?.matches ?? [],
    prePromotionAnalysis: b.prePromotionAnalysis ?? null,
    autoPromotionEnabled: b.autoPromotionEnabled,
    autoPromotionMs: b.autoPromotionSeconds ?? null,
    postPromotionAnalysis: b.postPromotionAnalysis ?? null,
    scaleDownDelayMs: b.scaleDownDelay,
  };
  for (const complaint of checkBlueGreen(made)) complain(context, complaint, b);
  return made;
});

/** Before the switch only the preview route brings it requests, after it nothing is left to compare with. */
function* checkBlueGreen(b: BlueGreenStrategy): Generator<Complaint> {
  for (const [i, { source }] of (b.prePromotionAnalysis?.metrics ?? []).entries()) {
    if (b.previewRoute.length > 0 || !countsCanary(source)) continue;
    const message = "without a previewRoute the new version gets no requests to judge before the switch";
    yield { path: ["prePromotionAnalysis", "metrics", i, source.kind], message };
  }
  for (const [i, { source }] of (b.postPromotionAnalysis?.metrics ?? []).entries()) {
    if (source.kind !== "sequential") continue;
    const message = "after the switch no requests of the old version are left to compare with; use traffic";
    yield { path: ["postPromotionAnalysis", "metrics", i, source.kind], message };
  }
}

export const strategy = mapping({
  rolling: rolling.optional(),
  canary: canary.optional(),
  blueGreen: blueGreen.optional(),
}).transform((s, context): StrategySpec => {
  const said = [s.rolling, s.canary, s.blueGreen].filter((one) => one !== undefined);
  if (said.length > 1) {
    complain(context, { path: [], message: "expected only one of rolling, canary and blueGreen" }, s);
  }
  return said[0] ?? rolling.parse({});
});
