/** What a seed makes of a world: its size and network, strategies of every kind, versions that fail in every way, strikes. */
import type { AnalysisSpec, Condition, MetricSpec } from "../../../proto/contract/spec/analysis.ts";
import type {
  CanaryStep,
  CommonStrategy,
  MatchSpec,
  ServiceSpec,
  StrategySpec,
} from "../../../proto/contract/spec/types.ts";
import { EVERY_REQUEST } from "../../../proto/contract/spec/types.ts";
import type { CountOrPercent } from "../../../proto/contract/units.ts";
import { integer, type Random } from "../../../proto/kernel/random.ts";
import { GOOD, type Behaviour } from "./agent.ts";
import { STRATEGY } from "./revisions.ts";
import { KINDS, type Strike } from "./strikes.ts";
import type { WorldOptions } from "./world.ts";

export class Chance {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Below `n`. */
  below(n: number): number {
    return integer(this.#random, n);
  }

  /** In [from, to]. */
  between(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  /** Once in `n`. */
  once(n: number): boolean {
    return this.below(n) === 0;
  }

  of<T>(...all: readonly T[]): T {
    return all[this.below(all.length)]!;
  }

  world(seed: number, largest: number, exactly?: number): WorldOptions {
    const size = this.below(1_000);
    const hosts = size < 920 ? this.between(1, 8) : size < 990 ? this.between(9, 20) : this.between(50, 300);
    const held = exactly ?? Math.min(hosts, largest);
    const slow = held > 100 ? 4 : held > 20 ? 2 : 1;
    return {
      ...{
        seed,
        hosts: held,
        gateways: this.of(0, 1, 1, 2, 2, 3),
        strategy: STRATEGY,
        onTimeout: "cut",
        behaviours: {},
      },
      ...{ latencyMs: this.of(1, 20, 100, 300, 700), lossy: this.of(0, 0, 0, 0.02, 0.1, 0.2) },
      ...{ repeats: this.of(0, 0.05, 0.3), longRequests: this.once(4) },
      ...{ reportEveryMs: 250 * slow, leaseMs: 3_000 * slow, ratePerHost: this.of(1, 3, 6) },
    };
  }

  placement(): ServiceSpec["placement"] {
    return this.once(12) ? { hosts: [], labels: { pool: "main" } } : { hosts: [], labels: {} };
  }

  behaviour(hosts: number): Behaviour {
    const only = this.once(6) ? { only: `host-${this.between(1, hosts)}` } : {};
    switch (this.below(12)) {
      case 0:
        return { ...GOOD, readyAfterMs: 2_500, ...only };
      case 1:
        return { ...GOOD, readyAfterMs: null, ...only };
      case 2:
        return { ...GOOD, readyAfterMs: null, exitsAfterMs: 200, ...only };
      case 3:
        return { ...GOOD, exitsAfterMs: this.between(1_200, 9_000), ...only };
      case 4:
        return { ...GOOD, errors: this.of(0.05, 0.4, 1) };
      case 5:
        return { ...GOOD, slow: this.of(2, 5) };
      default:
        return GOOD;
    }
  }

  strategy(): StrategySpec {
    const common = this.#common();
    switch (this.below(3)) {
      case 0:
        return {
          ...{ kind: "rolling", ...common, staggerMs: this.of(0, 0, 400), orderBy: this.of("", "", "zone") },
          firstHostMs: this.of(0, 0, 800),
        };
      case 1: {
        const length = this.below(6);
        const routed = this.once(3) ? "hosts" : "weighted";
        const steps = Array.from({ length }, () => this.#step(routed));
        const sticky = this.of(
          null,
          { kind: "cookie", name: "baton", maxAgeMs: 60_000 } as const,
          { kind: "header", name: "x-user" } as const,
        );
        return { kind: "canary", ...common, trafficRouting: routed, stickiness: sticky, steps };
      }
      default:
        return {
          ...{ kind: "blueGreen", ...common, previewRoute: this.of([], this.#matches()) },
          prePromotionAnalysis: this.once(3) ? this.#analysis() : null,
          postPromotionAnalysis: this.once(3) ? this.#analysis() : null,
          autoPromotionEnabled: !this.once(3),
          autoPromotionMs: this.of(null, null, 700),
          scaleDownDelayMs: this.of(0, 0, 1_500),
        };
    }
  }

  #common(): CommonStrategy {
    return {
      ...{ maxSurge: this.#count(), maxUnavailable: this.#count(), minHealthyMs: this.of(0, 300, 1_000) },
      ...{ healthyDeadlineMs: 6_000, progressDeadlineMs: 15_000, autoRevert: !this.once(4), maxErrorRate: 0.05 },
      ...{ minRequests: 30, onPartition: this.of("pause", "pause", "continue") },
      ...{ onSupersede: this.of("retarget", "retarget", "rollBackFirst"), rollbackWindow: this.below(3) },
      analysis: this.once(4) ? { ...this.#analysis(), startingStep: this.below(3) } : null,
    };
  }

  #count(): CountOrPercent {
    return this.once(2)
      ? { kind: "count", value: this.below(4) }
      : { kind: "percent", value: this.of(0, 0, 25, 34, 50, 100) };
  }

  #step(routed: "hosts" | "weighted"): CanaryStep {
    const name = this.of("one", "two");
    switch (this.below(routed === "hosts" ? 5 : 7)) {
      case 0:
      case 1:
        return { kind: "setWeight", weight: this.of(0, 100, 1_000, 2_500, 5_000, 7_500, 10_000) };
      case 2:
        return { kind: "pause", durationMs: this.between(1, 15) * 100 };
      case 3:
        return this.once(4)
          ? { kind: "pause", durationMs: null }
          : { kind: "setWeight", weight: this.between(1, 9_999) };
      case 4:
        return { kind: "analysis", analysis: this.#analysis() };
      case 5:
        return { kind: "setHeaderRoute", route: { name, matches: this.of([], this.#matches()) } };
      default:
        return { kind: "setMirrorRoute", route: { name, matches: [], percentage: this.of(0, 1_000, 10_000) } };
    }
  }

  #matches(): readonly MatchSpec[] {
    return [{ ...EVERY_REQUEST, headers: [{ type: "Exact", name: "x-version", value: "new" }] }];
  }

  #analysis(): AnalysisSpec {
    const metrics = Array.from({ length: this.between(1, 2) }, (_, at) => this.#metric(`m${at + 1}`));
    return { metrics, durationMs: this.of(0, 1_000, 2_500) };
  }

  #metric(name: string): MetricSpec {
    const limits = {
      ...{ name, intervalMs: this.of(200, 500), initialDelayMs: this.of(0, 0, 300), count: this.between(1, 3) },
      ...{ failureLimit: this.of(0, 1), inconclusiveLimit: this.of(0, 2), consecutiveErrorLimit: this.of(0, 3) },
      ...{ critical: !this.once(5), dryRun: this.once(8) },
    };
    const atLeast = (value: number): Condition => ({ text: `result >= ${value}`, all: [{ op: ">=", value }] });
    switch (this.below(4)) {
      case 0: {
        const of = this.of("errors" as const, "latency" as const);
        return {
          ...{ ...limits, count: 0, success: null, failure: null },
          source: { kind: "sequential", of, alpha: 0.05, minRequests: 20 },
        };
      }
      case 1:
        return {
          ...{ ...limits, success: atLeast(0.9), failure: null },
          source: { kind: "traffic", of: "successRate", version: "canary" },
        };
      default:
        return {
          ...{ ...limits, success: atLeast(0.9), failure: null },
          source: { kind: "prometheus", address: "http://127.0.0.1:9090", query: "up", timeoutMs: 1_000 },
        };
    }
  }

  strikes(): readonly Strike[] {
    if (this.once(3)) return [];
    return Array.from({ length: this.between(1, 5) }, () => ({
      ...{ kind: this.of(...KINDS), at: this.below(this.of(1_500, 6_000, 12_000)) },
      ...{ forMs: this.between(100, this.of(800, 6_000)), who: this.below(64) },
    }));
  }
}
