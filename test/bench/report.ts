/** Samples to words: a table a peer, and the ratios round by round, which a machine's slow drift does not touch. */
import type { Options, PeerName } from "./options.ts";
import type { Sample } from "./measure.ts";

/** At most this many times HAProxy's CPU per request. */
export const TARGET = 1.3;
const NOISY_SHARE = 0.05;
const SATURATED_SHARE = 0.97;

interface Column {
  readonly title: string;
  readonly digits: number;
  readonly of: (sample: Sample) => number;
}

const CPU: Column = { title: "CPU µs/request", digits: 2, of: (it) => (it.cpuSeconds / it.requests) * 1e6 };
const CPU_BULK: Column = { title: "CPU ms/GB", digits: 0, of: (it) => (it.cpuSeconds / it.bytes) * 1e12 };
const BUSY: Column = { title: "own core %", digits: 0, of: (it) => it.proxyShare * 100 };
const REQUESTS: readonly Column[] = [
  CPU,
  { title: "requests/s", digits: 0, of: (it) => it.requests / it.seconds },
  { title: "p50 µs", digits: 0, of: (it) => it.p50Micros },
  { title: "p99 µs", digits: 0, of: (it) => it.p99Micros },
  BUSY,
];
const BULK: readonly Column[] = [CPU_BULK, { title: "GB/s", digits: 2, of: (it) => it.bytes / it.seconds / 1e9 }, BUSY];

export function table(samples: readonly Sample[], options: Options): string {
  const columns = options.bulkMiB === null ? REQUESTS : BULK;
  const rows = options.peers.map((peer) => {
    const own = samples.filter((sample) => sample.peer === peer);
    return [peer, ...columns.map((column) => spread(own.map(column.of), column.digits))];
  });
  return align([["", ...columns.map((column) => `${column.title} (min med max)`)], ...rows]);
}

/** The first peer beside each of the others: the median of the ratios taken within each round, and their range. */
export function ratios(samples: readonly Sample[], options: Options): string {
  const [first, ...others] = options.peers;
  if (first === undefined) return "";
  const cost = options.bulkMiB === null ? CPU : CPU_BULK;
  return others.map((other) => ratioLine(samples, cost, first, other, options)).join("\n");
}

function ratioLine(
  samples: readonly Sample[],
  cost: Column,
  first: PeerName,
  other: PeerName,
  options: Options,
): string {
  const costs = (peer: PeerName): number[] => samples.filter((sample) => sample.peer === peer).map(cost.of);
  const theirs = costs(other);
  const pairs = costs(first).map((own, round) => own / (theirs[round] ?? Number.NaN));
  const middle = median(pairs);
  const line = `${cost.title}, ${first} / ${other}: ${middle.toFixed(3)} (${spread(pairs, 3)} over ${String(pairs.length)} rounds)`;
  if (first !== "baton" || other !== "haproxy" || options.bulkMiB !== null) return line;
  return `${line}; target at most ${String(TARGET)}: ${middle <= TARGET ? "met" : "MISSED"}`;
}

/** What a reader should know before trusting the table. */
export function doubts(samples: readonly Sample[], options: Options): string[] {
  const found: string[] = [];
  for (const peer of options.peers) {
    const own = samples.filter((sample) => sample.peer === peer);
    const noisy = own.filter((sample) => sample.foreignShare > NOISY_SHARE);
    if (noisy.length > 0) {
      const most = Math.max(...noisy.map((sample) => sample.foreignShare));
      found.push(
        `${peer}: in ${String(noisy.length)} of ${String(own.length)} rounds others used its core, up to ${percent(most)}`,
      );
    }
    const unsaturated = own.filter((sample) => sample.proxyShare < SATURATED_SHARE);
    if (options.rate === null && unsaturated.length > own.length / 2) {
      const share = percent(median(unsaturated.map((sample) => sample.loadShare)));
      found.push(`${peer}: its core was not saturated, so its throughput is the load's (load's core busy: ${share})`);
    }
    if (options.rate !== null) {
      const got = median(own.map((sample) => sample.requests / sample.seconds));
      if (got < options.rate * 0.9)
        found.push(`${peer}: only ${got.toFixed(0)} of ${String(options.rate)} requests/s got through`);
    }
  }
  return found;
}

const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function spread(values: readonly number[], digits: number): string {
  return [Math.min(...values), median(values), Math.max(...values)].map((value) => value.toFixed(digits)).join(" ");
}

export function align(rows: readonly (readonly string[])[]): string {
  const width = (column: number): number => Math.max(...rows.map((row) => row[column]?.length ?? 0));
  return rows
    .map((row) => row.map((cell, at) => (at === 0 ? cell.padEnd(width(at)) : cell.padStart(width(at)))).join("   "))
    .join("\n");
}
