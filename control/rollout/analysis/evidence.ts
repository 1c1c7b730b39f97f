/**
 * How much speaks for the canary being worse than the stable version beside it, as an e-value: under two versions that
 * are no different its expectation is at most 1 at whatever moment one looks, so it reaches 1/α with a chance of at most
 * α (Ville), with any number of looks, changing weights and drifting error rates.
 *
 * Given the k bad requests of a block of time, the canary's part of them is expected to be its share p of the requests.
 * For an odds ratio θ > 1 a bad request is worth r1 = θ/(1-p+pθ) on the canary and r2 = 1/(1-p+pθ) on stable;
 * p·r1 + (1-p)·r2 = 1. Were bad requests independent, all of these could be multiplied. They are not: one slow backend,
 * one bad second, one crashing process gives hundreds at once. So the evidence is tempered, by three rules:
 *
 *   1. One block, one vote. A block is worth the *mean* f·r1 + (1-f)·r2 over its bad requests, f = x/k. Its expectation
 *      is 1 under any dependence within the block: only E[f] = p is asked for, and the mean is linear in f. (It is never
 *      below the geometric mean, i.e. a likelihood ratio to the power 1/k. With k = 1 it is the plain ratio.)
 *   2. One bad spell, one vote. After a vote with bad requests of the canary, blocks do not count until the canary has
 *      been clean for PAUSE_MS (a spell that goes on would have shown), or SPELL_MS have passed (it is over anyway).
 *      What happens on stable alone needs no such wait: to count a spell of stable twice only lowers the e-value.
 *   3. Unless the canary has been *steady*: if its share of bad requests scattered no more than that of independent ones
 *      over the last 2 · SPELL_MS, no spell of at most SPELL_MS explains it, and each block votes.
 *
 * What holds. Suppose that bad requests come in clusters (of one request, or many), each of which falls on the canary
 * with probability p regardless of the others, or is shared out over both with expectation p; that no cluster lasts
 * longer than SPELL_MS; and that none pauses for PAUSE_MS and then goes on. Then in a block that votes E[f | before] ≤ p:
 * a cluster with bad requests in it either begins there (expectation p), or was seen on stable before (0), or was not
 * looked at before. That is a proof where either the pause alone, or the time alone, ends a wait. Whichever comes first
 * (a spell on stable is then counted no later than one on the canary would be), and rule 3, are held up by simulation:
 * test/sim/judge, with the shares of false aborts beside α.
 * What does not hold. Callers must be split by chance: where the canary gets other requests than stable does (a header
 * route, a preview), the test compares what is not alike. Spells of one instance much longer than SPELL_MS are to it a bad
 * version; so is a host that is worse for good while it carries the canary alone. Errors of requests that began in an
 * earlier window are set against the shares of this one; where the canary's share has just shrunk, the earlier one is taken.
 *
 * The ratios for a grid of θ are mixed. Part of the stake is held back and put in bit by bit (HOLD, STAKE): a canary
 * that was good for an hour and then breaks is not given credit for that hour. Both keep the expectation at most 1.
 *
 * Units   milliseconds, counts. Everything is a plain number: it is stored as JSON with the rollout.
 * Source  Lindon & Malek, NeurIPS 2022; Lindon et al., KDD 2022 (arXiv 2205.14762); the mean as an e-value:
 *         Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 2024.
 * Cost    one pass over the grid and over at most 12 remembered blocks, once a block.
 */
import type { SequentialEvidence } from "../../model/analysis.ts";

/** Shorter intervals are put together to blocks of this length. */
export const BLOCK_MS = 5_000;
/** The longest bad spell of one instance that counts as one event. */
export const SPELL_MS = 30_000;
/** So long without a bad request of the canary ends a spell sooner. */
export const PAUSE_MS = 10_000;

const ODDS = [1.5, 2.5, 5, 12, 60] as const;
/** Share of the stake that is held back at first, and of it what goes in with each vote. */
const HOLD = 0.25;
const STAKE = 0.02;
/** Steady: dispersion of the canary's bad requests around their mean, 1 when independent, over so many blocks at least. */
const STEADY_DISPERSION = 1.5;
const STEADY_BLOCKS = 6;
const REMEMBERED_BLOCKS = 12;
/** What looks worse without being found so: as many bad ones, as far apart. */
const WORSE_BAD = 3;
const WORSE_Z = 3;
/** A share that fell by more than this factor is not yet that of the requests that end now. */
const SHARE_FELL = 1.5;

/** What was counted between two looks. `of`: requests, or answers; `bad`: of these. */
export interface Window {
  readonly ms: number;
  readonly canary: { readonly of: number; readonly bad: number };
  readonly stable: { readonly of: number; readonly bad: number };
}

/** The `memory` of SequentialEvidence, by name. */
interface Memory {
  /** Held back of the stake, 0..1. */
  readonly held: number;
  /** The e-value now. */
  readonly value: number;
  readonly votes: number;
  /** Not to vote for so long, unless the canary is clean for PAUSE_MS. */
  readonly waitMs: number;
  readonly cleanMs: number;
  /** Does the block that is being put together count? */
  readonly counts: 0 | 1;
  /** That block, and the newest ones, oldest first: BLOCK_FIELDS numbers each. */
  readonly block: readonly number[];
  readonly recent: readonly number[];
}

type Block = Window;
const BLOCK_FIELDS = 5;
const BEGIN: Memory = {
  held: HOLD,
  value: 1,
  votes: 0,
  waitMs: 0,
  cleanMs: PAUSE_MS,
  counts: 1,
  block: [0, 0, 0, 0, 0],
  recent: [],
};

export function noEvidence(): SequentialEvidence {
  return {
    logRatios: ODDS.map(() => Math.log((1 - HOLD) / ODDS.length)),
    peak: 1,
    windows: 0,
    canary: { requests: 0, bad: 0 },
    stable: { requests: 0, bad: 0 },
    memory: { ...BEGIN },
  };
}

export function observe(evidence: SequentialEvidence, window: Window): SequentialEvidence {
  const memory = memoryOf(evidence);
  const open = blocks(memory.block)[0];
  const free = memory.waitMs === 0 || memory.cleanMs >= PAUSE_MS;
  // A block that does not count is cut short as soon as the next one may.
  const cut = open !== undefined && memory.counts === 0 && free;
  const recent = cut ? remember(memory.recent, open) : memory.recent;
  const begins = open === undefined || cut;
  const block = begins ? window : add(open, window);
  const counts = !begins ? memory.counts : free || steady(blocks(recent)) ? 1 : 0;
  const whole = block.ms >= BLOCK_MS;
  const votes = whole && counts === 1 && block.canary.bad + block.stable.bad > 0;
  const next: Memory = {
    ...memory,
    counts,
    waitMs: votes && block.canary.bad > 0 ? SPELL_MS : Math.max(0, memory.waitMs - window.ms),
    cleanMs: window.canary.bad > 0 ? 0 : memory.cleanMs + window.ms,
    block: whole ? [] : flat(block),
    recent: whole ? remember(recent, block) : recent,
  };
  const seen: SequentialEvidence = {
    ...evidence,
    windows: evidence.windows + 1,
    canary: total(evidence.canary, window.canary),
    stable: total(evidence.stable, window.stable),
    memory: { ...next },
  };
  return votes ? vote(seen, next, block, blocks(recent)) : seen;
}

/** The e-value now; `peak` is what is held against the threshold. */
export function eValue(evidence: SequentialEvidence): number {
  return memoryOf(evidence).value;
}

/**
 * Has the canary looked clearly worse over the newest blocks (a minute, about)? Untempered, so it may well be one bad
 * spell: no reason to fail a version, but one not to pass it yet. One-sided z of two shares, pooled.
 */
export function looksWorse(evidence: SequentialEvidence): boolean {
  const { recent, block } = memoryOf(evidence);
  const sum = { canary: { of: 0, bad: 0 }, stable: { of: 0, bad: 0 } };
  for (const each of [...blocks(recent), ...blocks(block)]) {
    for (const side of ["canary", "stable"] as const) {
      sum[side].of += Math.max(each[side].of, each[side].bad);
      sum[side].bad += each[side].bad;
    }
  }
  const { canary, stable } = sum;
  if (canary.bad < WORSE_BAD || stable.of === 0) return false;
  const pooled = (canary.bad + stable.bad) / (canary.of + stable.of);
  const spread = Math.sqrt(pooled * (1 - pooled) * (1 / canary.of + 1 / stable.of));
  return canary.bad / canary.of - stable.bad / stable.of > WORSE_Z * spread;
}

function vote(
  evidence: SequentialEvidence,
  memory: Memory,
  block: Block,
  recent: readonly Block[],
): SequentialEvidence {
  const part = block.canary.bad / (block.canary.bad + block.stable.bad);
  const p = expectedPart(block, recent);
  const staked = (memory.held * STAKE) / ODDS.length;
  const logRatios = ODDS.map((odds, i) => {
    const log = evidence.logRatios[i] ?? -Infinity;
    const before = log + Math.log1p(staked * Math.exp(-log));
    return before + Math.log((part * odds + 1 - part) / (1 - p + p * odds));
  });
  const held = memory.held * (1 - STAKE);
  const value = Math.min(Number.MAX_VALUE, held + logRatios.reduce((sum, log) => sum + Math.exp(log), 0));
  return {
    ...evidence,
    logRatios,
    peak: Math.max(evidence.peak, value),
    memory: { ...memory, held, value, votes: memory.votes + 1 },
  };
}

/** The canary's share of the requests; the share before, where that was clearly greater: its last requests end now. */
function expectedPart(block: Block, recent: readonly Block[]): number {
  const now = shareOf([block]);
  const before = shareOf(within(recent, SPELL_MS));
  return before > SHARE_FELL * now ? before : now;
}

function shareOf(blocks: readonly Block[]): number {
  let canary = 0;
  let all = 0;
  for (const block of blocks) {
    // Bad ones may have begun before the block: there were at least so many requests.
    const its = Math.max(block.canary.of, block.canary.bad);
    canary += its;
    all += its + Math.max(block.stable.of, block.stable.bad);
  }
  return all === 0 ? 0 : canary / all;
}

/** The newest blocks that cover `ms`. */
function within(recent: readonly Block[], ms: number): readonly Block[] {
  let from = recent.length;
  for (let covered = 0; from > 0 && covered < ms; from--) covered += recent[from - 1]?.ms ?? 0;
  return recent.slice(from);
}

/** Rule 3: has the canary's share of bad requests scattered over the blocks no more than that of independent ones? */
function steady(recent: readonly Block[]): boolean {
  if (recent.length < STEADY_BLOCKS || recent.reduce((sum, block) => sum + block.ms, 0) < 2 * SPELL_MS) return false;
  const requests = recent.reduce((sum, { canary }) => sum + Math.max(canary.of, canary.bad), 0);
  const bad = recent.reduce((sum, { canary }) => sum + canary.bad, 0);
  if (bad < recent.length) return false;
  const rate = bad / requests;
  let dispersion = 0;
  for (const { canary } of recent) {
    const expected = Math.max(canary.of, canary.bad) * rate;
    if (expected > 0) dispersion += (canary.bad - expected) ** 2 / (expected * Math.max(1 - rate, 0.01));
  }
  return dispersion / (recent.length - 1) <= STEADY_DISPERSION;
}

function memoryOf(evidence: SequentialEvidence): Memory {
  return { ...BEGIN, ...(evidence.memory as Partial<Memory>) };
}

function total(
  so: { requests: number; bad: number },
  far: { of: number; bad: number },
): { requests: number; bad: number } {
  return { requests: so.requests + far.of, bad: so.bad + far.bad };
}

function add(block: Block, window: Window): Block {
  return {
    ms: block.ms + window.ms,
    canary: { of: block.canary.of + window.canary.of, bad: block.canary.bad + window.canary.bad },
    stable: { of: block.stable.of + window.stable.of, bad: block.stable.bad + window.stable.bad },
  };
}

function remember(recent: readonly number[], block: Block): readonly number[] {
  return [...recent, ...flat(block)].slice(-REMEMBERED_BLOCKS * BLOCK_FIELDS);
}

function flat(block: Block): number[] {
  return [block.ms, block.canary.of, block.canary.bad, block.stable.of, block.stable.bad];
}

function blocks(numbers: readonly number[]): Block[] {
  const found: Block[] = [];
  for (let at = 0; at + BLOCK_FIELDS <= numbers.length; at += BLOCK_FIELDS) {
    const [ms = 0, of = 0, bad = 0, stableOf = 0, stableBad = 0] = numbers.slice(at, at + BLOCK_FIELDS);
    found.push({ ms, canary: { of, bad }, stable: { of: stableOf, bad: stableBad } });
  }
  return found;
}
