/**
 * The judges that watch the same traffic: Baton's, the same without tempering, and fixed thresholds as Argo Rollouts and
 * Flagger documents have them. Each keeps a score that only grows; a column fails the canary when it reaches its limit.
 *
 * Source  Argo: successCondition "result >= 0.95", interval 1m, count 10, failureLimit as named. Flagger:
 *         request-success-rate min 99, request-duration (p99) max 500 ms, interval 1m, threshold 5.
 */
import { noEvidence, observe, type Window } from "../../../control/rollout/analysis/evidence.ts";

export interface Score {
  readonly everySeconds: number;
  see(window: Window): number;
}

/** It fails the canary from this score on. */
export interface Limit {
  readonly name: string;
  readonly limit: number;
}

export interface Column extends Limit {
  readonly score: keyof typeof SCORES;
}

export const SCORES = {
  baton: (): Score => baton(2),
  baton10: (): Score => baton(10),
  untempered,
  argo95: (): Score => failedLooks(0.95, 10),
  argo99: (): Score => failedLooks(0.99, 10),
  flagger: (): Score => failedLooks(0.99, Infinity),
} as const;

export const COLUMNS: readonly Column[] = [
  { name: "Baton, α 0.01", score: "baton", limit: 100 },
  { name: "Baton, α 0.05", score: "baton", limit: 20 },
  { name: "Baton, α 0.01, every 10 s", score: "baton10", limit: 100 },
  { name: "untempered, α 0.01", score: "untempered", limit: 100 },
  { name: "Argo ≥ 95 %", score: "argo95", limit: 1 },
  { name: "Argo ≥ 99 %", score: "argo99", limit: 1 },
  { name: "Argo ≥ 99 %, failureLimit 3", score: "argo99", limit: 4 },
  { name: "Flagger ≥ 99 %, threshold 5", score: "flagger", limit: 5 },
];

/** `everySeconds`: the metric's interval; 2 s is the default of a sequential metric. */
export function baton(everySeconds: number): Score {
  let evidence = noEvidence();
  return {
    everySeconds,
    see: (window) => {
      evidence = observe(evidence, window);
      return evidence.peak;
    },
  };
}

const ODDS = [1.5, 2.5, 5, 12, 60];

/** Every bad request counted as if it came alone: the textbook's binomial mixture. */
function untempered(): Score {
  const logs = ODDS.map(() => 0);
  let peak = 1;
  return {
    everySeconds: 2,
    see: ({ canary, stable }) => {
      const bad = canary.bad + stable.bad;
      if (bad === 0) return peak;
      const p = canary.of / (canary.of + stable.of);
      let sum = 0;
      for (const [i, odds] of ODDS.entries()) {
        logs[i] = (logs[i] ?? 0) + canary.bad * Math.log(odds) - bad * Math.log(1 - p + p * odds);
        sum += Math.exp(logs[i] ?? 0) / ODDS.length;
      }
      peak = Math.max(peak, sum);
      return peak;
    },
  };
}

function failedLooks(success: number, looks: number): Score {
  let failed = 0;
  let left = looks;
  return {
    everySeconds: 60,
    see: ({ canary }) => {
      if (canary.of === 0 || left <= 0) return failed;
      left--;
      if (1 - canary.bad / canary.of < success) failed++;
      return failed;
    },
  };
}
