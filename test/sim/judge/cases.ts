/**
 * What the judge is tried against. `equal` versions must not be told apart, whatever their errors look like; `worse`
 * ones must be, soon.
 */
import type { Chance } from "./chance.ts";
import type { Cluster, Plan } from "./world.ts";

export interface Case {
  readonly name: string;
  readonly plan: Plan;
}

const MINUTES = 60;
const anyRate = (chance: Chance): number => chance.logBetween(20, 1_000);
const anyError = (chance: Chance): number => chance.logBetween(0.000_5, 0.02);
const rareError = (chance: Chance): number => chance.logBetween(0.000_05, 0.001);

const bursts = (every: number): Cluster => ({ kind: "burst", every, seconds: [0.1, 10], size: [5, 200] });
const spells = (
  every: number,
  seconds: Cluster["seconds"] = [1, 30],
  size: Cluster["size"] = [0.05, 0.6],
): Cluster => ({
  kind: "spell",
  every,
  seconds,
  size,
});
const common = (every: number): Cluster => ({ kind: "common", every, seconds: [1, 30], size: [0.05, 0.6] });

const steady = { seconds: 20 * MINUTES, rate: anyRate, weight: 0.1, error: anyError } as const;
const ladder = { ...steady, weight: "ladder" } as const;
const bursty = { ...ladder, error: rareError };

/** 20 minutes each; 20 to 1,000 requests/s; errors of 0.05 to 2 %, or of 0.005 to 0.1 % between clusters. */
export const EQUAL: readonly Case[] = [
  { name: "constant, canary 1 %", plan: { ...steady, weight: 0.01 } },
  { name: "constant, canary 10 %", plan: steady },
  { name: "constant, canary 50 %", plan: { ...steady, weight: 0.5 } },
  { name: "weights change, 1 to 50 %", plan: ladder },
  { name: "weights, traffic and errors drift (5 ×)", plan: { ...ladder, swing: 5 } },
  { name: "few bursts (5–200 errors in 0.1–10 s)", plan: { ...bursty, clusters: [bursts(300)] } },
  { name: "many bursts", plan: { ...bursty, clusters: [bursts(15)] } },
  { name: "bursts, canary 10 %", plan: { ...bursty, weight: 0.1, clusters: [bursts(30)] } },
  { name: "bursts, canary 50 %", plan: { ...bursty, weight: 0.5, clusters: [bursts(30)] } },
  { name: "few bad spells of an instance (1–30 s)", plan: { ...bursty, clusters: [spells(300)] } },
  { name: "many bad spells", plan: { ...bursty, clusters: [spells(20)] } },
  { name: "bad spells, canary 10 %", plan: { ...bursty, weight: 0.1, clusters: [spells(40)] } },
  { name: "bad spells, canary 50 %", plan: { ...bursty, weight: 0.5, clusters: [spells(40)] } },
  {
    name: "long, strong spells, canary 10 %",
    plan: { ...bursty, weight: 0.1, clusters: [spells(60, [20, 30], [0.2, 0.6])] },
  },
  { name: "mild spells over 0.05–2 % errors", plan: { ...steady, clusters: [spells(40, [1, 30], [0.02, 0.2])] } },
  { name: "common bursts (both versions)", plan: { ...bursty, clusters: [common(60)] } },
  { name: "instances wander (AR, 10 s), canary 10 %", plan: { ...steady, wander: { spread: 1.5, seconds: 10 } } },
  { name: "instances wander (AR, 10 s), weights change", plan: { ...ladder, wander: { spread: 1.5, seconds: 10 } } },
  { name: "all of it at once", plan: { ...bursty, swing: 3, clusters: [bursts(60), spells(60), common(120)] } },
];

/** Bad spells longer than SPELL_MS: beyond what the bound is claimed for, shown so that nobody has to guess. */
export const BEYOND: readonly Case[] = [
  {
    name: "few bad spells of 1–2 min, canary 10 %",
    plan: { ...bursty, weight: 0.1, clusters: [spells(300, [60, 120])] },
  },
  { name: "few bad spells of 1–2 min, weights change", plan: { ...bursty, clusters: [spells(300, [60, 120])] } },
  { name: "instances wander (AR, 60 s), canary 10 %", plan: { ...steady, wander: { spread: 1.5, seconds: 60 } } },
];

const SHIFTS = [
  [0.001, 0.01],
  [0.01, 0.03],
  [0.002, 0.01],
] as const;

/** Canary 10 % at three rates; then one that breaks only after ten good minutes. */
export const WORSE: readonly Case[] = [
  ...SHIFTS.flatMap(([error, canaryError]) => [20, 100, 1_000].map((rate) => worse(error, canaryError, rate, 0))),
  worse(0.001, 0.01, 100, 600),
  worse(0.001, 0.5, 100, 0),
];

function worse(error: number, canaryError: number, rate: number, from: number): Case {
  const late = from === 0 ? "" : ` after ${from / MINUTES} good min`;
  return {
    name: `${percent(error)} → ${percent(canaryError)}, ${rate}/s${late}`,
    plan: {
      seconds: 60 * MINUTES,
      rate: () => rate,
      weight: 0.1,
      error: () => error,
      canaryError,
      canaryErrorFrom: from,
    },
  };
}

function percent(share: number): string {
  return `${Number((share * 100).toPrecision(3))} %`;
}
