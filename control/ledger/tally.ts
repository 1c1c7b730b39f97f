/**
 * The counts of one service summed over all agents, by role and version, kept up as reports come in: a rollout is judged
 * by them several times a second, and asking must not cost the number of agents.
 *
 * Cost  a difference is added in place, in one pass over its own counts; asking costs versions × latency buckets.
 */
import { LATENCY_BUCKETS } from "../../proto/contract/histogram.ts";
import { CUT_CAUSES, LOSS_CAUSES } from "../../proto/contract/report.ts";
import type { Role } from "../../proto/contract/session.ts";
import type { Span } from "./totals.ts";
import type { HostTotals, Totals } from "./types.ts";

const PLAIN = [
  "started",
  "completed",
  "errors",
  "retried",
  "drained",
  "clientGone",
  "tunnels",
  "eventStreams",
] as const satisfies readonly (keyof Totals)[];

type Sums = Float64Array;
/** One array a version: the plain counts, then lost by cause, cut by cause, latency by bucket. */
const LOST_AT = PLAIN.length;
const CUT_AT = LOST_AT + LOSS_CAUSES.length;
const LATENCY_AT = CUT_AT + CUT_CAUSES.length;
const LENGTH = LATENCY_AT + LATENCY_BUCKETS;

interface Side {
  /** Agents that know the service. */
  agents: number;
  inFlight: number;
  readonly versions: Map<string, Sums>;
}

const side = (): Side => ({ agents: 0, inFlight: 0, versions: new Map() });

export class Tally {
  readonly #sides: Readonly<Record<Role, Side>> = { host: side(), gateway: side() };
  /** Grows with every change: what was made of an earlier state is known to be old. */
  changes = 0;

  /** How many agents of this role know the service. */
  agents(role: Role): number {
    return this.#sides[role].agents;
  }

  /** All that one agent has counted: put in, or with `sign` -1 taken out again. */
  put(agent: HostTotals, sign: 1 | -1 = 1): void {
    this.#sides[agent.role].agents += sign;
    this.level(agent.role, sign * agent.inFlight);
    for (const [version, totals] of Object.entries(agent.versions)) this.add(agent.role, version, totals, sign);
  }

  level(role: Role, change: number): void {
    this.#sides[role].inFlight += change;
    this.changes += 1;
  }

  add(role: Role, version: string, totals: Totals, sign: 1 | -1 = 1): void {
    this.changes += 1;
    const sums = this.#sums(role, version);
    const plus = (at: number, count: number): void => {
      sums[at] = (sums[at] ?? 0) + sign * count;
    };
    for (const [i, key] of PLAIN.entries()) plus(i, totals[key]);
    for (const [i, count] of totals.lost.entries()) plus(LOST_AT + i, count);
    for (const [i, count] of totals.cut.entries()) plus(CUT_AT + i, count);
    for (const [bucket, count] of totals.latency) plus(LATENCY_AT + bucket, count);
  }

  /** By role, what was counted since `start` was this tally; levels are as of now. */
  since(start: Tally | undefined): readonly Span[] {
    return (["host", "gateway"] as const)
      .filter((role) => this.#sides[role].agents > 0)
      .map((role) => {
        const { versions, inFlight } = this.#sides[role];
        const known = start === undefined ? undefined : start.#sides[role].versions;
        const rows = [...versions].map(([version, sums]) => [version, difference(sums, known?.get(version))] as const);
        return { role, inFlight, versions: Object.fromEntries(rows) };
      });
  }

  #sums(role: Role, version: string): Sums {
    const { versions } = this.#sides[role];
    let sums = versions.get(version);
    if (sums === undefined) {
      sums = new Float64Array(LENGTH);
      versions.set(version, sums);
    }
    return sums;
  }
}

/** Never below zero: after a crash the books of an agent may be older than the start, until its next report. */
function difference(now: Sums, start: Sums | undefined): Totals {
  const at = (i: number): number => Math.max(0, (now[i] ?? 0) - (start?.[i] ?? 0));
  const plain = {} as Record<(typeof PLAIN)[number], number>;
  for (const [i, key] of PLAIN.entries()) plain[key] = at(i);
  const latency: [number, number][] = [];
  for (let bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
    const count = at(LATENCY_AT + bucket);
    if (count > 0) latency.push([bucket, count]);
  }
  return {
    ...plain,
    lost: LOSS_CAUSES.map((_, i) => at(LOST_AT + i)),
    cut: CUT_CAUSES.map((_, i) => at(CUT_AT + i)),
    latency,
  };
}
