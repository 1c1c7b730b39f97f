/**
 * What is measured to judge a version, as its document says it, checked and complete. The words and their meaning are
 * Argo Rollouts' AnalysisTemplate; `sequential` is Baton's own test on the counts that the sidecars made.
 *
 * One measurement is successful, failed, inconclusive (neither condition holds, or too little was seen), or an error
 * (it could not be measured): four different things. No data is never a success.
 *
 * Units  milliseconds; shares 0..1; latencies in milliseconds.
 */
export interface AnalysisSpec {
  /** Never empty. */
  readonly metrics: readonly MetricSpec[];
  /** A step's analysis looks for at least so long; one in the background until the rollout is promoted. */
  readonly durationMs: number;
}

export interface MetricSpec {
  readonly name: string;
  readonly source: MetricSource;
  readonly intervalMs: number;
  readonly initialDelayMs: number;
  /** Measurements until the metric is over; 0: as long as the analysis lasts. */
  readonly count: number;
  /** More failed measurements than this fail the metric. */
  readonly failureLimit: number;
  readonly inconclusiveLimit: number;
  readonly consecutiveErrorLimit: number;
  /** Both null: only for `sequential`, which needs none. With one alone, the other is its opposite. */
  readonly success: Condition | null;
  readonly failure: Condition | null;
  /** false: its failure makes the analysis inconclusive (it pauses) instead of failed (it rolls back). */
  readonly critical: boolean;
  /** Measured and shown, with no consequence. */
  readonly dryRun: boolean;
}

/** `result >= 0.95 && result < 2`: every comparison must hold. */
export interface Condition {
  /** As the document says it. */
  readonly text: string;
  readonly all: readonly { readonly op: "<" | "<=" | ">" | ">=" | "==" | "!="; readonly value: number }[];
}

export type MetricSource = SequentialSource | TrafficSource | PrometheusSource | WebhookSource | CommandSource;

/** Is the canary worse than the stable version beside it? An e-value that may be looked at at any time. */
export interface SequentialSource {
  readonly kind: "sequential";
  /** errors: 5xx of the app and requests lost on it. latency: slower than the stable version's own p99 before. */
  readonly of: "errors" | "latency";
  /** The chance of failing a version that is no worse, for all the metrics of one analysis together. */
  readonly alpha: number;
  /** Of the canary: before so many, it is inconclusive unless it has failed. */
  readonly minRequests: number;
}

/** A figure of the sidecars' own counts over the interval. */
export interface TrafficSource {
  readonly kind: "traffic";
  /** saturation: requests in flight per ready instance. requestRate: per second. p50..p99: milliseconds. */
  readonly of: "successRate" | "errorRate" | "p50" | "p90" | "p95" | "p99" | "saturation" | "requestRate";
  readonly version: "canary" | "stable";
}

/** GET ADDRESS/api/v1/query; a scalar, or a vector of one series. `{{service}}`, `{{canary}}`, `{{stable}}` are filled in. */
export interface PrometheusSource {
  readonly kind: "prometheus";
  readonly address: string;
  readonly query: string;
  readonly timeoutMs: number;
}

/** A 2xx answer with JSON; `jsonPath` (`$.data.value`) names the number in it. */
export interface WebhookSource {
  readonly kind: "webhook";
  readonly url: string;
  readonly method: "GET" | "POST";
  readonly jsonPath: string;
  readonly timeoutMs: number;
}

/** Run by the controller, if it was started with leave to: the last line of its output is the number. */
export interface CommandSource {
  readonly kind: "command";
  readonly command: readonly string[];
  readonly timeoutMs: number;
}
