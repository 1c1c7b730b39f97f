/**
 * "Did you mean …?": the known word that a mistyped one is nearest to.
 *
 * Source  optimal string alignment distance (Levenshtein with swaps of neighbours): `prot` → `port` is one slip.
 * Cost    rows of word × known; words here are keys and verbs, a few dozen of each.
 */

/** Longer words are no slip of the finger, and need not be measured. */
const MAX_LENGTH = 64;

/** The nearest of `known`, or undefined when none is near enough to be what was meant. The first one wins a tie. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  if (word.length === 0 || word.length > MAX_LENGTH) return undefined;
  const lower = word.toLowerCase();
  const words = [...known];
  let best: string | undefined;
  // One slip in three letters: `dran` is drain, `foo` is not `for`-anything of another length.
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of words) {
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue;
    const d = distance(lower, candidate.toLowerCase());
    // A word of which nothing is left is not the word that was meant.
    if (d < bestDistance && d < candidate.length) {
      best = candidate;
      bestDistance = d;
    }
  }
  return best ?? longer(lower, words);
}

/** `match` is short for `matches`. */
const longer = (word: string, known: readonly string[]): string | undefined =>
  word.length < 3 ? undefined : known.find((candidate) => candidate.toLowerCase().startsWith(word));

/** `; did you mean maxSurge?`, or nothing. */
export function didYouMean(word: string, known: Iterable<string>): string {
  const found = nearest(word, known);
  return found === undefined ? "" : `; did you mean ${found}?`;
}

function distance(a: string, b: string): number {
  let before: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let d = Math.min(at(above, j) + 1, at(row, j - 1) + 1, at(above, j - 1) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) d = Math.min(d, at(before, j - 2) + 1);
      row.push(d);
    }
    before = above;
    above = row;
  }
  return at(above, b.length);
}

const at = (row: readonly number[], i: number): number => row[i] ?? 0;
