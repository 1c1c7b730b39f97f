/** `drain` and `strategy`: how an instance leaves, and how a rollout goes on. */
import { formatDuration, MAX_DURATION_MS } from "../units.ts";
import { DEFAULTS } from "./defaults.ts";
import { countOrPercent, duration, flag, mapping, oneOf, share, whole } from "./leaf.ts";
import type { DrainSpec, RollingStrategy, StrategySpec } from "./types.ts";

/** A default gives way to what the document says; two things that the document says must agree. */
interface Order {
  readonly key: string;
  readonly ms: number | undefined;
  readonly cap: number;
  readonly capKey: string;
}

function disorder({ key, ms, cap, capKey }: Order): { path: string[]; message: string } | undefined {
  if (ms === undefined || ms <= cap) return undefined;
  return { path: [key], message: `${formatDuration(ms)} is longer than ${capKey}, ${formatDuration(cap)}` };
}

export const drain = mapping({
  timeout: duration(0, "30s").default(DEFAULTS.drain.timeoutMs),
  sse: duration(0, "5s").optional(),
  websocket: duration(0, "10s").optional(),
  kill: duration(0, "10s").default(DEFAULTS.drain.killMs),
  onTimeout: oneOf(["cut", "pause"]).default(DEFAULTS.drain.onTimeout),
}).transform((d, context): DrainSpec => {
  for (const [key, ms] of [
    ["sse", d.sse],
    ["websocket", d.websocket],
  ] as const) {
    const wrong = disorder({ key, ms, cap: d.timeout, capKey: "timeout" });
    if (wrong !== undefined) context.issues.push({ code: "custom", ...wrong, input: ms });
  }
  return {
    timeoutMs: d.timeout,
    sseMs: d.sse ?? Math.min(DEFAULTS.drain.sseMs, d.timeout),
    websocketMs: d.websocket ?? Math.min(DEFAULTS.drain.websocketMs, d.timeout),
    killMs: d.kill,
    onTimeout: d.onTimeout,
  };
});

const rolling = mapping({
  maxSurge: countOrPercent().default(DEFAULTS.rolling.maxSurge),
  maxUnavailable: countOrPercent().default(DEFAULTS.rolling.maxUnavailable),
  minHealthyTime: duration(0, "10s").optional(),
  healthyDeadline: duration(1, "5m").optional(),
  progressDeadline: duration(1, "10m").optional(),
  autoRevert: flag().default(DEFAULTS.rolling.autoRevert),
  maxErrorRate: share().default(DEFAULTS.rolling.maxErrorRate),
  minRequests: whole(1, 1_000_000_000, "a count").default(DEFAULTS.rolling.minRequests),
  onPartition: oneOf(["pause", "continue"]).default(DEFAULTS.rolling.onPartition),
}).transform((r, context): RollingStrategy => {
  const wrong = (path: string[], message: string): void => {
    context.issues.push({ code: "custom", path, message, input: r });
  };
  if (r.maxSurge.value === 0 && r.maxUnavailable.value === 0) {
    wrong(["maxUnavailable"], "maxSurge and maxUnavailable are both 0, so that nothing could ever be updated");
  }
  const { minHealthyMs, healthyDeadlineMs, progressDeadlineMs } = DEFAULTS.rolling;
  const progress = r.progressDeadline ?? atLeast(progressDeadlineMs, r.healthyDeadline);
  const healthy = r.healthyDeadline ?? Math.min(progress, atLeast(healthyDeadlineMs, r.minHealthyTime));
  for (const order of [
    { key: "healthyDeadline", ms: r.healthyDeadline, cap: progress, capKey: "progressDeadline" },
    { key: "minHealthyTime", ms: r.minHealthyTime, cap: healthy, capKey: "healthyDeadline" },
  ]) {
    const found = disorder(order);
    if (found !== undefined) wrong(found.path, found.message);
  }
  return {
    kind: "rolling",
    maxSurge: r.maxSurge,
    maxUnavailable: r.maxUnavailable,
    minHealthyMs: r.minHealthyTime ?? Math.min(minHealthyMs, healthy),
    healthyDeadlineMs: healthy,
    progressDeadlineMs: progress,
    autoRevert: r.autoRevert,
    maxErrorRate: r.maxErrorRate,
    minRequests: r.minRequests,
    onPartition: r.onPartition,
    onSupersede: "retarget",
    rollbackWindow: 0,
    analysis: null,
    staggerMs: 0,
    orderBy: "",
    firstHostMs: 0,
  };
});

/** A deadline's default leaves room for twice what must fit inside it. */
const atLeast = (usual: number, inside = 0): number => Math.min(MAX_DURATION_MS, Math.max(usual, 2 * inside));

export const strategy = mapping({ rolling: rolling.prefault({}) }).transform((s): StrategySpec => s.rolling);
