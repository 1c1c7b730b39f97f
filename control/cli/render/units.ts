/** Numbers as people read them. */

export const count = (n: bigint | number): string => n.toLocaleString("en-US");

export const percent = (basisPoints: number): string => `${String(Math.round(basisPoints / 10) / 10)} %`;

/** Microseconds → "850 µs", "1.2 ms", "3.4 s". */
export function micros(us: bigint | number): string {
  const n = Number(us);
  if (n === 0) return "–";
  if (n < 1_000) return `${String(n)} µs`;
  return n < 1_000_000 ? `${short(n / 1_000)} ms` : `${short(n / 1_000_000)} s`;
}

/** Two digits, and never an exponent. */
const short = (n: number): string => (n < 10 ? String(Number(n.toPrecision(2))) : String(Math.round(n)));

/** Milliseconds → "0.4 s", "12 s", "3 min 5 s", "2 h 10 min". */
export function span(ms: number): string {
  const s = Math.max(0, ms) / 1_000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${String(Math.floor(s))} s`;
  if (s < 3_600) return `${String(Math.floor(s / 60))} min ${String(Math.floor(s % 60))} s`;
  return s < 86_400
    ? `${String(Math.floor(s / 3_600))} h ${String(Math.floor((s % 3_600) / 60))} min`
    : `${String(Math.floor(s / 86_400))} d`;
}

export const ago = (atMs: bigint | number, now: number): string =>
  Number(atMs) === 0 ? "never" : `${span(now - Number(atMs))} ago`;
