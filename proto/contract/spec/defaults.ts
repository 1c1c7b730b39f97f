/**
 * What a document need not say. Each default names who expects it; where the known systems differ, the one that loses
 * nothing wins.
 *
 * Units  milliseconds, counts, shares 0..1, basis points.
 */
import type { BackgroundAnalysis, CanaryStep } from "./strategy.ts";
import type { MetricSpec, SequentialSource } from "./analysis.ts";

/** Common to the three strategies. */
const strategy = {
  /** One host more at a time, none less: Kubernetes and Argo say 25 % of both, which takes capacity away. */
  maxSurge: { kind: "count", value: 1 },
  /** Where both versions run on every host to take a share each, all hosts are made ready at once (Argo's canary and
   * preview ReplicaSets come up whole as well). */
  maxSurgeSplit: { kind: "percent", value: 100 },
  maxUnavailable: { kind: "count", value: 0 },
  /** Nomad's update block: min_healthy_time, healthy_deadline, progress_deadline (Argo's is 10 minutes too). */
  minHealthyMs: 10_000,
  healthyDeadlineMs: 300_000,
  progressDeadlineMs: 600_000,
  /** Nomad's is false; a rollout that fails unattended must not be left half done. */
  autoRevert: true,
  /** Argo Rollouts' and Flagger's examples ask for 95 to 99 % success. */
  maxErrorRate: 0.05,
  minRequests: 50,
  /** I5: no step on the absence of news. */
  onPartition: "pause",
  /** What Argo, Flagger and Kubernetes do: a newer revision is what is wanted, the sooner the better. */
  onSupersede: "retarget",
  /** Argo's: none unless it is asked for. */
  rollbackWindow: 0,
} as const;

/** An analysis: Argo's AnalysisTemplate, except for the intervals, where Argo's default is to measure once. */
const analysis = {
  /** A step's, when not every metric has a count; Argo would never end it. */
  durationMs: 300_000,
  /** Looking more often finds little sooner (test/sim/judge) and is stored each time; a bad minute weighs more then. */
  sequentialIntervalMs: 10_000,
  trafficIntervalMs: 10_000,
  /** Prometheus scrapes every 15 to 60 seconds: asking more often shows the same samples. */
  externalIntervalMs: 30_000,
  count: 0,
  failureLimit: 0,
  /** As many as errors: the first looks at a small canary may come too early to see anything. Argo's is 0. */
  inconclusiveLimit: 4,
  consecutiveErrorLimit: 4,
  /** DESIGN, analysis: about 700 requests of a canary tell 1 % of errors from 0.1 % at this level. */
  alpha: 0.01,
  minRequests: 100,
  trafficVersion: "canary",
  webhookMethod: "GET",
  /** Argo's web provider: 10 seconds. */
  timeoutMs: 10_000,
  commandTimeoutMs: 30_000,
} as const;

const sequential = (name: string, of: SequentialSource["of"]): MetricSpec => ({
  name,
  source: { kind: "sequential", of, alpha: analysis.alpha, minRequests: analysis.minRequests },
  intervalMs: analysis.sequentialIntervalMs,
  initialDelayMs: 0,
  count: analysis.count,
  failureLimit: analysis.failureLimit,
  inconclusiveLimit: analysis.inconclusiveLimit,
  consecutiveErrorLimit: analysis.consecutiveErrorLimit,
  success: null,
  failure: null,
  critical: true,
  dryRun: false,
});

/** A canary is judged, whether its document thinks of it or not. */
const background: BackgroundAnalysis = {
  startingStep: 0,
  durationMs: 0,
  metrics: [sequential("errors", "errors"), sequential("latency", "latency")],
};

const fiveMinutes: CanaryStep = { kind: "pause", durationMs: 300_000 };
/** A small share first, as Argo's and Flagger's examples begin; then by factors, each long enough for people to notice. */
const steps: readonly CanaryStep[] = [500, 2_500, 5_000].flatMap((weight): CanaryStep[] => [
  { kind: "setWeight", weight },
  fiveMinutes,
]);

export const DEFAULTS = {
  /** Loopback unless told otherwise. */
  listenAddress: "127.0.0.1",
  /** Retries beyond the first attempt: Istio's default (2). The retry budget bounds them all together (R16). */
  retryAttempts: 2,
  processCount: 1,
  docker: {
    network: "bridge",
    /** Kubernetes' for every tag but `latest`. */
    pullPolicy: "IfNotPresent",
    /** Enough for an undo, and for one more. */
    retain: 2,
    /** Docker's own default has no bound, and fills the disk. */
    logging: { driver: "json-file", options: { "max-size": "8m", "max-file": "2" } },
  },
  /** HAProxy: inter 2s, rise 2, fall 3. Timeout: Kubernetes' timeoutSeconds. */
  probe: { intervalMs: 2_000, timeoutMs: 1_000, healthyThreshold: 2, unhealthyThreshold: 3 },
  /** timeout: Kubernetes' terminationGracePeriodSeconds. kill: docker stop's. sse and websocket never exceed timeout. */
  drain: { timeoutMs: 30_000, sseMs: 5_000, websocketMs: 10_000, killMs: 10_000, onTimeout: "cut" },
  strategy,
  analysis,
  rolling: { staggerMs: 0, firstHostMs: 0 },
  canary: {
    /** Argo's with a mesh: weights are exact however few the hosts. */
    trafficRouting: "weighted",
    steps,
    analysis: background,
    /** Longer than a rollout of a day; the cookie says nothing but who is who. */
    cookie: { name: "baton-canary", maxAgeMs: 86_400_000 },
  },
  /** Argo's autoPromotionEnabled, and its scaleDownDelaySeconds. */
  blueGreen: { autoPromotionEnabled: true, scaleDownDelayMs: 30_000 },
} as const;
