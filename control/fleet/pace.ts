/**
 * How often agents report, and how long they may be silent: by the size of the fleet, so that a controller takes no more
 * than `REPORTS_A_SECOND` however many there are. What somebody may wait for is reported at once at any pace (PROTOCOL.md,
 * P6); what waits for its turn are counts, and the sign of life.
 *
 *   agents up to   250   500   1,000   2,000   4,000   8,000   16,000
 *   a report in    250   500   1,000   2,000   4,000   8,000   16,000 ms
 *   lease          5     5     5       6       12      24      48 s
 *
 * The lease of an agent whose stream has ended is the shortest one at any size: whoever is there comes back within
 * `reconnectMaxMs`. A dead process ends its stream at once, a dead machine with the keepalive (15 s).
 *
 * Source  Nomad's `max_heartbeats_per_second` and the TTL that it grows by.
 */
import type { Millis } from "../../proto/kernel/clock.ts";

export interface Pace {
  readonly reportEveryMs: Millis;
  readonly leaseMs: Millis;
}

const REPORTS_A_SECOND = 1_000;
/** Two reports may go missing. */
const REPORTS_A_LEASE = 3;

/** `shortest`: of a small fleet. Doubles, so that a growing fleet is seldom told another. */
export function paceOf(agents: number, shortest: Pace): Pace {
  let { reportEveryMs } = shortest;
  while ((agents * 1_000) / reportEveryMs > REPORTS_A_SECOND) reportEveryMs *= 2;
  return { reportEveryMs, leaseMs: Math.max(shortest.leaseMs, REPORTS_A_LEASE * reportEveryMs) };
}
