/**
 * Seeded samplers for the judge's simulation: the same seed gives the same runs, on any machine.
 *
 * Source  sfc32 (Chris Doty-Humphrey, PractRand, public domain). Poisson: inversion below a mean of 30, above it the
 *         rounded normal (its relative error is far below what 10,000 runs can show).
 */
export interface Chance {
  /** [0, 1). */
  next(): number;
  between(low: number, high: number): number;
  /** Evenly over the orders of magnitude. */
  logBetween(low: number, high: number): number;
  exponential(mean: number): number;
  normal(): number;
  poisson(mean: number): number;
  binomial(n: number, p: number): number;
}

export function chance(seed: number, ...more: number[]): Chance {
  let a = 0x9e3779b9 | 0;
  let b = seed | 0;
  let c = 0;
  for (const number of more) c = Math.imul(c ^ number, 0x85ebca6b) + 0x165667b1;
  let counter = 1;
  const next = (): number => {
    const t = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return (t >>> 0) / 4_294_967_296;
  };
  for (let i = 0; i < 12; i++) next();
  let spare: number | null = null;
  const normal = (): number => {
    if (spare !== null) {
      const kept = spare;
      spare = null;
      return kept;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - next()));
    const angle = 2 * Math.PI * next();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
  const poisson = (mean: number): number => {
    if (mean <= 0) return 0;
    if (mean > 30) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal()));
    let left = next();
    let chanceOf = Math.exp(-mean);
    let n = 0;
    while (left > chanceOf && n < 200) {
      left -= chanceOf;
      n++;
      chanceOf *= mean / n;
    }
    return n;
  };
  return {
    next,
    normal,
    poisson,
    between: (low, high) => low + (high - low) * next(),
    logBetween: (low, high) => low * (high / low) ** next(),
    exponential: (mean) => -mean * Math.log(1 - next()),
    binomial: (n, p) => {
      if (p <= 0 || n <= 0) return 0;
      if (p >= 1) return n;
      if (p > 0.5) return n - binomialBelowHalf(n, 1 - p);
      return binomialBelowHalf(n, p);
    },
  };

  function binomialBelowHalf(n: number, p: number): number {
    if (n <= 16) {
      let hits = 0;
      for (let i = 0; i < n; i++) if (next() < p) hits++;
      return hits;
    }
    const mean = n * p;
    if (mean > 30) return clamp(Math.round(mean + Math.sqrt(mean * (1 - p)) * normal()), n);
    // Inversion of the binomial itself.
    let left = next();
    let chanceOf = (1 - p) ** n;
    let hits = 0;
    while (left > chanceOf && hits < n) {
      left -= chanceOf;
      hits++;
      chanceOf *= ((n - hits + 1) / hits) * (p / (1 - p));
    }
    return hits;
  }
}

/** A name as part of a seed: each case has runs of its own. */
export function codes(name: string): number[] {
  return Array.from(name, (letter) => letter.charCodeAt(0));
}

const clamp = (value: number, most: number): number => Math.min(most, Math.max(0, value));
