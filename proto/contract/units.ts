/**
 * Units as people write them, and as code holds them: durations in milliseconds, shares in basis points.
 *
 * Errors  parsers answer `undefined` for what they can't read; the caller knows the file, line and path to name.
 */

/** A share of traffic, 0..10_000: fine enough for 0.01 %, whole numbers only, so that sums are exact. */
export type BasisPoints = number;
export const WHOLE: BasisPoints = 10_000;

const FACTORS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h)/y;
/** 24 days: Node fires a timer beyond 2^31-1 ms (24.8 days) at once. */
export const MAX_DURATION_MS = 24 * 24 * 3_600_000;

/** `500ms`, `2s`, `1m30s`, `0s` → milliseconds; anything else, or more than 24 days, → undefined. */
export function parseDuration(text: string): number | undefined {
  if (text === "0") return 0;
  let total = 0;
  PART.lastIndex = 0;
  for (let at = 0; at < text.length; at = PART.lastIndex) {
    const part = PART.exec(text);
    if (part === null) return undefined;
    total += Number(part[1]) * (FACTORS[part[2] ?? ""] ?? Number.NaN);
  }
  const ms = Math.round(total);
  return text.length > 0 && ms <= MAX_DURATION_MS ? ms : undefined;
}

/** Milliseconds → the shortest exact text that `parseDuration` reads back: 90_000 → `1m30s`. */
export function formatDuration(ms: number): string {
  let rest = Math.round(ms);
  if (rest === 0) return "0s";
  let text = "";
  for (const [unit, size] of [
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1_000],
    ["ms", 1],
  ] as const) {
    const count = Math.floor(rest / size);
    if (count > 0) text += `${String(count)}${unit}`;
    rest -= count * size;
  }
  return text;
}

/** A count of hosts, or a percent of them (`25%`). */
export type CountOrPercent =
  { readonly kind: "count"; readonly value: number } | { readonly kind: "percent"; readonly value: number };

/** Rounds as Kubernetes does: surge up, unavailable down. */
export function resolveCount(value: CountOrPercent, total: number, round: "up" | "down"): number {
  if (value.kind === "count") return value.value;
  const exact = (value.value * total) / 100;
  return round === "up" ? Math.ceil(exact) : Math.floor(exact);
}

/**
 * How many hosts of `total` a rolling update may add and take away. Both may round to nothing (0 and 10 % of 3): then
 * one may be taken away, or the rollout would never move. Kubernetes does the same (deployment/util, ResolveFenceposts).
 */
export function resolveRolling(
  maxSurge: CountOrPercent,
  maxUnavailable: CountOrPercent,
  total: number,
): { readonly surge: number; readonly unavailable: number } {
  const surge = resolveCount(maxSurge, total, "up");
  const unavailable = resolveCount(maxUnavailable, total, "down");
  return { surge, unavailable: surge === 0 && unavailable === 0 ? 1 : unavailable };
}
