/** Revisions of the model world's one service: what varies is given, the rest is plain. */
import type { ProbeSpec, RollingStrategy, ServiceSpec, StrategySpec } from "../../../proto/contract/spec/types.ts";
import type { Revision } from "../../../control/model/service.ts";

export const DRAIN_MS = 3_000;

export const STRATEGY: RollingStrategy = {
  kind: "rolling",
  maxSurge: { kind: "count", value: 1 },
  maxUnavailable: { kind: "count", value: 0 },
  minHealthyMs: 1_000,
  healthyDeadlineMs: 8_000,
  progressDeadlineMs: 25_000,
  autoRevert: true,
  maxErrorRate: 0.05,
  minRequests: 30,
  onPartition: "pause",
  onSupersede: "retarget",
  rollbackWindow: 0,
  analysis: null,
  staggerMs: 0,
  orderBy: "",
  firstHostMs: 0,
};

export interface RevisionParts {
  readonly strategy: StrategySpec;
  readonly onTimeout: "cut" | "pause";
  readonly placement?: ServiceSpec["placement"];
}

export function revisionOf(number: number, { strategy, onTimeout, placement }: RevisionParts): Revision {
  const readiness: ProbeSpec = {
    ...{ kind: "http", path: "/", intervalMs: 200, timeoutMs: 200 },
    ...{ healthyThreshold: 1, unhealthyThreshold: 2 },
  };
  return {
    service: "shop",
    revision: number,
    version: `v${number}`,
    specHash: `hash-${number}`,
    createdAtMs: 0,
    spec: {
      name: "shop",
      version: `v${number}`,
      labels: {},
      listen: [{ address: "127.0.0.1", port: 8080, protocol: "http" }],
      hostnames: [],
      rules: [],
      placement: placement ?? { hosts: [], labels: {} },
      run: { kind: "process", command: ["server"], cwd: ".", env: {}, count: 1 },
      health: { readiness, liveness: null },
      drain: { timeoutMs: DRAIN_MS, sseMs: 500, websocketMs: 500, killMs: 500, onTimeout },
      strategy,
    },
  };
}
