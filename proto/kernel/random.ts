/** Chance as a port. Tests and the simulation pass a seeded source; roots pass `systemRandom`. */
export interface Random {
  /** A float in [0, 1). */
  next(): number;
}

/** A whole number in [0, below). */
export function integer(random: Random, below: number): number {
  return Math.floor(random.next() * below);
}

/**
 * A reproducible source: the same seed gives the same numbers for ever.
 * Source  mulberry32, public domain (Tommy Ettinger).
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    next() {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = state;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
    },
  };
}
