/** Plays a case many times under every judge at once, and counts. */
import { chance, codes } from "./chance.ts";
import type { Case } from "./cases.ts";
import { SCORES, type Column, type Limit, type Score } from "./rules.ts";
import { world, type Second } from "./world.ts";

/** Of one column: when each run failed the canary. */
export interface Tally {
  readonly column: Limit;
  readonly runs: number;
  readonly failed: number;
  /** Over all runs, Infinity where it was not failed: from the moment that the canary was worse. */
  readonly medianSeconds: number;
  readonly medianRequests: number;
}

export interface End {
  readonly seconds: number;
  readonly requests: number;
}

export const NEVER: End = { seconds: Infinity, requests: Infinity };

export function play(of: Case, columns: readonly Column[], runs: number, seed: number): readonly Tally[] {
  const ends: End[][] = columns.map(() => []);
  for (let run = 0; run < runs; run++) {
    once(of, columns, run, seed).forEach((end, i) => ends[i]?.push(end));
  }
  return columns.map((column, i) => tally(column, ends[i] ?? []));
}

export function tally(column: Limit, ends: readonly End[]): Tally {
  const median = (figures: number[]): number =>
    figures.sort((a, b) => a - b)[Math.floor((figures.length - 1) / 2)] ?? NaN;
  return {
    column,
    runs: ends.length,
    failed: ends.filter(({ seconds }) => seconds < Infinity).length,
    medianSeconds: median(ends.map(({ seconds }) => seconds)),
    medianRequests: median(ends.map(({ requests }) => requests)),
  };
}

function once({ plan, name }: Case, columns: readonly Column[], run: number, seed: number): readonly End[] {
  const random = chance(seed, run, ...codes(name));
  const traffic = world(plan, random);
  const second: Second = { canaryRequests: 0, canaryBad: 0, stableRequests: 0, stableBad: 0 };
  const watching = [...new Set(columns.map(({ score }) => score))].map((name) => new Watch(SCORES[name](), name));
  const ends = columns.map(() => NEVER);
  const from = plan.canaryErrorFrom ?? 0;
  let requests = 0;
  let open = columns.length;
  for (let t = 1; t <= plan.seconds && open > 0; t++) {
    traffic.step(second);
    if (t > from) requests += second.canaryRequests;
    for (const watch of watching) {
      if (!watch.see(second, t)) continue;
      for (const [i, { score, limit }] of columns.entries()) {
        if (score !== watch.name || watch.value < limit || ends[i] !== NEVER) continue;
        // What failed before it was worse is no detection: it counts as at once.
        ends[i] = { seconds: Math.max(0, t - from), requests };
        open--;
      }
    }
  }
  return ends;
}

/** Sums seconds up to the windows of one judge. */
class Watch {
  readonly name: Column["score"];
  value = 0;
  readonly #score: Score;
  #canary = 0;
  #canaryBad = 0;
  #stable = 0;
  #stableBad = 0;

  constructor(score: Score, name: Column["score"]) {
    this.#score = score;
    this.name = name;
  }

  /** Has it looked? */
  see(second: Second, t: number): boolean {
    this.#canary += second.canaryRequests;
    this.#canaryBad += second.canaryBad;
    this.#stable += second.stableRequests;
    this.#stableBad += second.stableBad;
    if (t % this.#score.everySeconds !== 0) return false;
    this.value = this.#score.see({
      ms: this.#score.everySeconds * 1_000,
      canary: { of: this.#canary, bad: this.#canaryBad },
      stable: { of: this.#stable, bad: this.#stableBad },
    });
    this.#canary = this.#canaryBad = this.#stable = this.#stableBad = 0;
    return true;
  }
}

/** Wilson's interval; 99 % for z = 2.576. */
export function interval(hits: number, runs: number, z = 2.576): readonly [number, number] {
  const share = hits / runs;
  const middle = share + (z * z) / (2 * runs);
  const spread = z * Math.sqrt((share * (1 - share)) / runs + (z * z) / (4 * runs * runs));
  const scale = 1 + (z * z) / runs;
  return [Math.max(0, (middle - spread) / scale), Math.min(1, (middle + spread) / scale)];
}
