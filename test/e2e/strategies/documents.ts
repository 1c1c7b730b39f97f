/**
 * The demo service's documents for end-to-end runs: one base a strategy, with times so short that a whole rollout takes
 * seconds, and the metrics that catch a version that misbehaves. Documents are JSON, which is YAML.
 */
import { ROOT } from "../../support/processes.ts";

export const STRATEGIES = [
  "rolling surge",
  "rolling in place",
  "canary weighted",
  "canary hosts",
  "blueGreen",
] as const;
export type StrategyName = (typeof STRATEGIES)[number];

/** As the document says it, under its kind's key. */
export type Strategy = Readonly<Record<string, unknown>>;

export interface Wanted {
  readonly version: string;
  /** In the words of test/apps/demo/behaviour.ts; "" for a good version. */
  readonly behaviour: string;
  readonly port: number;
  readonly strategy: Readonly<Record<string, Strategy>>;
}

export const SERVICE = "demo";

export function documentOf({ version, behaviour, port, strategy }: Wanted): string {
  const document = {
    apiVersion: "baton/v1",
    kind: "Service",
    metadata: { name: SERVICE },
    spec: {
      version,
      listen: [{ address: "127.0.0.1", port, protocol: "http" }],
      run: {
        process: {
          command: ["node", "test/apps/demo/server.ts"],
          cwd: ROOT,
          env: { VERSION: version, BEHAVIOUR: behaviour },
        },
      },
      health: { path: "/healthz", interval: "200ms", timeout: "1s", healthyThreshold: 2, unhealthyThreshold: 3 },
      drain: { timeout: "15s", sse: "500ms", websocket: "500ms" },
      strategy,
    },
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** Long enough for an app to start on a busy machine of two cores. */
export const HEALTHY_DEADLINE = "8s";

const TIMES = { minHealthyTime: "500ms", healthyDeadline: HEALTHY_DEADLINE, progressDeadline: "40s", minRequests: 20 };

/** What callers of the preview say. */
export const PREVIEW = { name: "x-preview", value: "1" } as const;
const previewMatches = [{ headers: [PREVIEW] }];

/**
 * The sequential test, as quick as it can be made: with α = 0.5 one block of five seconds in which the canary alone has
 * errors is enough. The stable version of these runs never errs, so that nothing fails by chance.
 */
export const sequential = (of: "errors" | "latency", alpha = 0.5): Strategy => ({
  name: of,
  interval: "500ms",
  sequential: { of, alpha, minRequests: 20 },
});

/** A limit on the sidecars' own counts, over a second; two bad seconds fail it. */
export const limit = (of: "errorRate" | "p99", condition: string): Strategy => ({
  name: of,
  interval: "1s",
  failureLimit: 1,
  inconclusiveLimit: 30,
  traffic: { of },
  successCondition: condition,
});

const BASES: Readonly<Record<StrategyName, readonly [kind: string, Strategy]>> = {
  "rolling surge": ["rolling", { ...TIMES, maxSurge: 1, maxUnavailable: 0 }],
  "rolling in place": ["rolling", { ...TIMES, maxSurge: 0, maxUnavailable: 1 }],
  "canary weighted": [
    "canary",
    {
      ...TIMES,
      analysis: { metrics: [sequential("errors")] },
      steps: [{ setWeight: 20 }, { pause: { duration: "1s" } }, { setWeight: 60 }, { pause: { duration: "1s" } }],
    },
  ],
  "canary hosts": [
    "canary",
    {
      ...TIMES,
      trafficRouting: "hosts",
      analysis: { metrics: [sequential("errors")] },
      steps: [{ setWeight: 33 }, { pause: { duration: "1s" } }, { setWeight: 66 }, { pause: { duration: "1s" } }],
    },
  ],
  blueGreen: [
    "blueGreen",
    {
      ...TIMES,
      previewRoute: { matches: previewMatches },
      autoPromotionSeconds: 1,
      postPromotionAnalysis: { metrics: [{ ...limit("errorRate", "result <= 0.05"), count: 2 }] },
      scaleDownDelay: "2s",
    },
  ],
};

/** The base of a strategy with `changes` over it; a change to undefined takes a key out. */
export function strategyOf(name: StrategyName, changes: Strategy = {}): Wanted["strategy"] {
  const [kind, base] = BASES[name];
  return { [kind]: { ...base, ...changes } };
}
