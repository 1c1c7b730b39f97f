/**
 * `analysis`, in a step, before or after a switch, and in the background: metrics in the words of Argo's AnalysisTemplate.
 * A step's analysis always ends: it has a duration, or each of its metrics a count.
 *
 * Errors  what a document says must agree; a default gives way to it.
 */
import * as z from "zod";
import { isVersion, VERSION_RULE } from "../ids.ts";
import { LIMITS } from "../limits.ts";
import { formatDuration, MAX_DURATION_MS } from "../units.ts";
import type { AnalysisSpec, Condition, MetricSource, MetricSpec } from "./analysis.ts";
import { parseCondition } from "./condition.ts";
import { DEFAULTS } from "./defaults.ts";
import { duration, flag, leaf, list, mapping, text, whole } from "./leaf.ts";
import { sourceKeys, sourceOf } from "./schema-source.ts";
import type { BackgroundAnalysis } from "./strategy.ts";

const MANY = 1_000_000;
const MIN_INTERVAL_MS = 100;

const condition = leaf<Condition>({ type: "string", maxLength: 256 }, 'text such as "result >= 0.95"', (input) =>
  typeof input === "string" ? parseCondition(input) : undefined,
);

/** A metric as its document says it; what depends on the analysis around it is not filled in yet. */
type Said = Omit<MetricSpec, "intervalMs"> & { readonly intervalMs: number | undefined };

const metric = mapping({
  name: text("success-rate", isVersion, `a metric's name: ${VERSION_RULE}`, LIMITS.nameLength),
  ...sourceKeys,
  interval: duration(MIN_INTERVAL_MS, "30s").optional(),
  initialDelay: duration(0, "30s").default(0),
  count: whole(0, MANY, "a count").default(DEFAULTS.analysis.count),
  failureLimit: whole(0, MANY, "a count").default(DEFAULTS.analysis.failureLimit),
  inconclusiveLimit: whole(0, MANY, "a count").optional(),
  consecutiveErrorLimit: whole(0, MANY, "a count").default(DEFAULTS.analysis.consecutiveErrorLimit),
  successCondition: condition.optional(),
  failureCondition: condition.optional(),
  critical: flag().default(true),
  dryRun: flag().default(false),
}).transform((m, context): Said => {
  const wrong = (message: string, path: string[] = []): never => {
    context.issues.push({ code: "custom", path, message, input: m });
    return z.NEVER;
  };
  const source = sourceOf(m);
  if (typeof source === "string") return wrong(source);
  const { successCondition: success = null, failureCondition: failure = null } = m;
  if (source.kind === "sequential") {
    const key = success !== null ? "successCondition" : failure !== null ? "failureCondition" : undefined;
    if (key !== undefined) return wrong("sequential compares the two versions, and takes no condition", [key]);
  } else if (success === null && failure === null) {
    return wrong(`expected successCondition or failureCondition: nothing says what ${source.kind} is to show`);
  }
  return {
    name: m.name,
    source,
    intervalMs: m.interval,
    initialDelayMs: m.initialDelay,
    count: m.count,
    failureLimit: m.failureLimit,
    inconclusiveLimit: m.inconclusiveLimit ?? fewerThan(m.count),
    consecutiveErrorLimit: m.consecutiveErrorLimit,
    success,
    failure,
    critical: m.critical,
    dryRun: m.dryRun,
  };
});

/** A metric of which every measurement was inconclusive must not be over by its count. */
const fewerThan = (count: number): number =>
  count === 0 ? DEFAULTS.analysis.inconclusiveLimit : Math.min(DEFAULTS.analysis.inconclusiveLimit, count - 1);

function usualInterval(kind: MetricSource["kind"]): number {
  const { sequentialIntervalMs, trafficIntervalMs, externalIntervalMs } = DEFAULTS.analysis;
  if (kind === "sequential") return sequentialIntervalMs;
  return kind === "traffic" ? trafficIntervalMs : externalIntervalMs;
}

const metrics = (min: number): z.ZodArray<typeof metric> =>
  list(metric, min, LIMITS.metrics, "metrics").check((c) => {
    for (const [i, { name }] of c.value.entries()) {
      const first = c.value.findIndex((m) => m.name === name);
      if (first === i) continue;
      const message = `a second metric named ${name}; metrics[${String(first)}] is the first`;
      c.issues.push({ code: "custom", path: [i, "name"], message, input: name });
    }
  });

/** The analysis of a step, or before and after a switch. */
export const analysis = mapping({ metrics: metrics(1), duration: duration(0, "5m").optional() }).transform(
  (a, context): AnalysisSpec => {
    const endless = a.metrics.findIndex((m) => m.count === 0);
    const durationMs = a.duration ?? (endless < 0 ? 0 : roomFor(a.metrics));
    const wrong = (path: (string | number)[], message: string): void => {
      context.issues.push({ code: "custom", path, message, input: a });
    };
    if (endless >= 0 && durationMs === 0) {
      wrong(["duration"], `0s, and metrics[${String(endless)}] has no count: it would never end`);
    }
    return {
      durationMs,
      metrics: a.metrics.map((m, i): MetricSpec => {
        const usual = usualInterval(m.source.kind);
        if (m.count > 0 || durationMs === 0) return { ...m, intervalMs: m.intervalMs ?? usual };
        const left = durationMs - m.initialDelayMs;
        const intervalMs = m.intervalMs ?? Math.min(usual, Math.max(MIN_INTERVAL_MS, left));
        const rest = `of duration, ${formatDuration(durationMs)}: it would not be measured once`;
        if (left < MIN_INTERVAL_MS)
          wrong(["metrics", i, "initialDelay"], `${formatDuration(m.initialDelayMs)} leaves nothing ${rest}`);
        else if (intervalMs > left) {
          const after = m.initialDelayMs === 0 ? "" : " after initialDelay";
          wrong(
            ["metrics", i, "interval"],
            `${formatDuration(intervalMs)} is longer than what is left${after} ${rest}`,
          );
        }
        return { ...m, intervalMs };
      }),
    };
  },
);

/** The usual duration, or twice what must fit inside it. */
function roomFor(all: readonly Said[]): number {
  const needed = all.map((m) => m.initialDelayMs + (m.intervalMs ?? usualInterval(m.source.kind)));
  return Math.min(MAX_DURATION_MS, Math.max(DEFAULTS.analysis.durationMs, ...needed.map((ms) => 2 * ms)));
}

const always = (m: Said): MetricSpec => ({ ...m, intervalMs: m.intervalMs ?? usualInterval(m.source.kind) });

/** All the while; no metrics: none, where one would be the default. */
export const background = mapping({ metrics: metrics(0) }).transform(({ metrics: all }): BackgroundAnalysis | null =>
  all.length === 0 ? null : { startingStep: 0, durationMs: 0, metrics: all.map(always) },
);

export const canaryBackground = mapping({
  startingStep: whole(0, LIMITS.steps - 1, "a step's index").default(0),
  metrics: metrics(0),
}).transform(({ startingStep, metrics: all }): BackgroundAnalysis | null =>
  all.length === 0 ? null : { startingStep, durationMs: 0, metrics: all.map(always) },
);
