/**
 * Traffic of two versions, second by second. Under "equal versions" everything bad falls on the canary with the
 * probability of its share of the traffic: request by request, or cluster by cluster.
 *
 * Units  seconds within; counts out.
 */
import type { Chance } from "./chance.ts";

export interface Second {
  canaryRequests: number;
  canaryBad: number;
  stableRequests: number;
  stableBad: number;
}

export interface World {
  /** Fills in what happened in the next second. */
  step(into: Second): void;
}

export interface Plan {
  readonly seconds: number;
  /** Requests per second of both. */
  readonly rate: (chance: Chance) => number;
  /** Slow swing of rate and errors, as a factor up and down; 1: constant. */
  readonly swing?: number;
  readonly weight: number | "ladder";
  /** Of a request, whichever version it meets. */
  readonly error: (chance: Chance) => number;
  /** Of a request on the canary, when it is not equal. */
  readonly canaryError?: number;
  /** It is equal for so many seconds first. */
  readonly canaryErrorFrom?: number;
  readonly clusters?: readonly Cluster[];
  /** Each instance's error rate wanders by itself: spread of its log, and seconds of its memory. */
  readonly wander?: { readonly spread: number; readonly seconds: number };
}

export interface Cluster {
  /**
   * burst   so many errors within so long, wholly on one version
   * spell   one instance fails a share of its requests for so long
   * common  both versions fail a share of their requests for so long
   */
  readonly kind: "burst" | "spell" | "common";
  /** Mean seconds between two. */
  readonly every: number;
  readonly seconds: readonly [number, number];
  /** burst: errors; else the share that fails. */
  readonly size: readonly [number, number];
}

const INSTANCES = 10;
const LADDER = [0.01, 0.02, 0.05, 0.1, 0.25, 0.5] as const;

interface Event {
  readonly from: number;
  readonly to: number;
  readonly kind: Cluster["kind"];
  readonly onCanary: boolean;
  readonly size: number;
}

export function world(plan: Plan, chance: Chance): World {
  const rate = plan.rate(chance);
  const error = plan.error(chance);
  const weights = plan.weight === "ladder" ? ladder(plan.seconds, chance) : null;
  const weightAt = (t: number): number => weights?.[Math.min(weights.length - 1, Math.floor(t))] ?? Number(plan.weight);
  const events = (plan.clusters ?? []).flatMap((cluster) => happen(cluster, plan.seconds, weightAt, chance));
  const swing = Math.log(plan.swing ?? 1);
  const phases = [chance.between(0, 6.3), chance.between(0, 6.3)] as const;
  const period = chance.between(120, 600);
  const levels = plan.wander === undefined ? [] : Array.from({ length: INSTANCES }, () => chance.normal());
  let t = 0;
  return {
    step(into) {
      const weight = weightAt(t);
      const wave = (phase: number): number =>
        swing === 0 ? 1 : Math.exp(swing * Math.sin((6.283 * t) / period + phase));
      const now = rate * wave(phases[0]);
      let q = error * wave(phases[1]);
      into.canaryRequests = chance.poisson(now * weight);
      into.stableRequests = chance.poisson(now * (1 - weight));
      const canaries = Math.max(1, Math.round(INSTANCES * weight));
      let canaryQ = plan.canaryError === undefined || t < (plan.canaryErrorFrom ?? 0) ? q : plan.canaryError;
      if (plan.wander !== undefined) {
        const { spread, seconds } = plan.wander;
        const keep = Math.exp(-1 / seconds);
        const sums: [number, number] = [0, 0];
        for (let i = 0; i < INSTANCES; i++) {
          levels[i] = keep * (levels[i] ?? 0) + Math.sqrt(1 - keep * keep) * chance.normal();
          sums[i < canaries ? 0 : 1] += Math.exp(spread * (levels[i] ?? 0) - (spread * spread) / 2);
        }
        canaryQ = (q * sums[0]) / canaries;
        q = (q * sums[1]) / (INSTANCES - canaries);
      }
      let common = 0;
      let canaryExtra = 0;
      let stableExtra = 0;
      let canarySpell = 0;
      let stableSpell = 0;
      for (const event of events) {
        const part = Math.min(event.to, t + 1) - Math.max(event.from, t);
        if (part <= 0) continue;
        if (event.kind === "common") common += part * event.size;
        else if (event.kind === "spell") {
          if (event.onCanary) canarySpell += (part * event.size) / canaries;
          else stableSpell += (part * event.size) / (INSTANCES - canaries);
        } else {
          const count = Math.round((event.size * part) / (event.to - event.from) + chance.between(-0.5, 0.5));
          if (event.onCanary) canaryExtra += count;
          else stableExtra += count;
        }
      }
      const bad = (n: number, share: number, extra: number): number =>
        Math.min(n, chance.binomial(n, Math.min(1, share)) + extra);
      into.canaryBad = bad(into.canaryRequests, canaryQ + common + canarySpell, canaryExtra);
      into.stableBad = bad(into.stableRequests, q + common + stableSpell, stableExtra);
      t++;
    },
  };
}

function happen(cluster: Cluster, seconds: number, weightAt: (t: number) => number, chance: Chance): Event[] {
  const events: Event[] = [];
  for (let t = chance.exponential(cluster.every); t < seconds; t += chance.exponential(cluster.every)) {
    events.push({
      kind: cluster.kind,
      from: t,
      to: t + chance.logBetween(...cluster.seconds),
      onCanary: chance.next() < weightAt(t),
      size: chance.logBetween(...cluster.size),
    });
  }
  return events;
}

/** Shares of 1 to 50 % that change every one to three minutes, now and then back down. */
function ladder(seconds: number, chance: Chance): Float64Array {
  const weights = new Float64Array(seconds);
  let rung = Math.floor(chance.between(0, 3));
  let until = chance.between(60, 180);
  for (let t = 0; t < seconds; t++) {
    if (t >= until) {
      rung = chance.next() < 0.15 ? Math.max(0, rung - 2) : Math.min(LADDER.length - 1, rung + 1);
      until = t + chance.between(60, 180);
    }
    weights[t] = LADDER[rung] ?? 0.5;
  }
  return weights;
}
