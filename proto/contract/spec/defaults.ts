/**
 * What a document need not say. Each default names who expects it; where the known systems differ, the one that loses
 * nothing wins.
 *
 * Units  milliseconds, counts, shares 0..1.
 */
export const DEFAULTS = {
  /** Loopback unless told otherwise. */
  listenAddress: "127.0.0.1",
  /** Retries beyond the first attempt: Istio's default (2). The retry budget bounds them all together (R16). */
  retryAttempts: 2,
  processCount: 1,
  /** HAProxy: inter 2s, rise 2, fall 3. Timeout: Kubernetes' timeoutSeconds. */
  probe: { intervalMs: 2_000, timeoutMs: 1_000, healthyThreshold: 2, unhealthyThreshold: 3 },
  /** timeout: Kubernetes' terminationGracePeriodSeconds. kill: docker stop's. sse and websocket never exceed timeout. */
  drain: { timeoutMs: 30_000, sseMs: 5_000, websocketMs: 10_000, killMs: 10_000, onTimeout: "cut" },
  rolling: {
    /** One host more at a time, none less: Kubernetes and Argo say 25 % of both, which takes capacity away. */
    maxSurge: { kind: "count", value: 1 },
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
  },
} as const;
