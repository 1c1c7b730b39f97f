/**
 * A service as its document says it, checked and complete: every default filled in, every unit in the name.
 * `schema.ts` makes it from YAML; nothing else does.
 */
import type { DockerRun } from "./docker.ts";
import type { MatchSpec } from "./match.ts";
import type { StrategySpec } from "./strategy.ts";

export interface ServiceSpec {
  readonly name: string;
  readonly version: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly listen: readonly ListenerSpec[];
  /** `Host` values that this service answers for; empty means any. A leading `*.` matches one or more labels. */
  readonly hostnames: readonly string[];
  /** Never empty: without rules in the document, one that takes every path. */
  readonly rules: readonly RuleSpec[];
  /** Which hosts run it: all of these labels, or one of these names. Both empty means every host agent. */
  readonly placement: { readonly hosts: readonly string[]; readonly labels: Readonly<Record<string, string>> };
  readonly run: RunSpec;
  readonly health: HealthSpec | null;
  readonly drain: DrainSpec;
  readonly strategy: StrategySpec;
}

export interface ListenerSpec {
  readonly address: string;
  readonly port: number;
  readonly protocol: "http";
}

export interface RuleSpec extends MatchSpec {
  readonly timeouts: { readonly requestMs: number | null };
  /** R15: methods beyond the idempotent ones that may be sent twice on this route. */
  readonly retry: { readonly attempts: number; readonly methods: readonly string[] };
  /** Done once, where the next hop is the app. */
  readonly requestHeaders: HeaderFilter;
  readonly responseHeaders: HeaderFilter;
}

/** Gateway API's header modifiers: `remove`, then `set` (in place of what is there), then `add` (beside it). */
export interface HeaderFilter {
  readonly set: readonly HeaderField[];
  readonly add: readonly HeaderField[];
  /** Lower case. */
  readonly remove: readonly string[];
}
export interface HeaderField {
  readonly name: string;
  readonly value: string;
}

export const NO_FILTER: HeaderFilter = { set: [], add: [], remove: [] };
/** For a rule that changes no header. */
export const NO_FILTERS = { requestHeaders: NO_FILTER, responseHeaders: NO_FILTER } as const;
export const EVERY_REQUEST: MatchSpec = {
  path: { type: "PathPrefix", value: "/" },
  method: null,
  headers: [],
  queryParams: [],
};

export type RunSpec = ProcessRun | DockerRun | ExternalRun;

export interface ProcessRun {
  readonly kind: "process";
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Instances of the service on one host. */
  readonly count: number;
}

export interface ExternalRun {
  readonly kind: "external";
  /** `host` limits an instance to the agent of that name; null means every agent of the service. */
  readonly instances: readonly {
    readonly version: string;
    readonly host: string | null;
    readonly address: string;
    readonly port: number;
  }[];
}

export interface ProbeSpec {
  /** container: what the image's HEALTHCHECK says. */
  readonly kind: "http" | "tcp" | "container";
  /** For http: the path asked; 200–399 is healthy. */
  readonly path: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly healthyThreshold: number;
  readonly unhealthyThreshold: number;
}

export interface HealthSpec {
  readonly readiness: ProbeSpec;
  /** An instance that fails it is killed and started again. Null: only its exit counts. */
  readonly liveness: ProbeSpec | null;
}

export interface DrainSpec {
  /** The hard cap for everything in flight on an instance that is leaving. */
  readonly timeoutMs: number;
  /** When server-sent events are ended at an event boundary, counted from the drain's start. */
  readonly sseMs: number;
  /** When WebSockets are closed (1012) at a message boundary, counted from the drain's start; spread over it. */
  readonly websocketMs: number;
  /** SIGTERM to SIGKILL. */
  readonly killMs: number;
  /** What happens to what is still in flight at the hard cap: end it and say so, or stop the rollout and ask. */
  readonly onTimeout: "cut" | "pause";
}

export type {
  BlueGreenStrategy,
  CanaryStep,
  CanaryStrategy,
  CommonStrategy,
  HeaderRoute,
  MirrorRoute,
  RollingStrategy,
  StickySpec,
  StrategySpec,
} from "./strategy.ts";
export type { DockerMount, DockerRun } from "./docker.ts";
export type { AnalysisSpec, Condition, MetricSource, MetricSpec } from "./analysis.ts";
export type { MatchSpec, ValueMatch } from "./match.ts";
