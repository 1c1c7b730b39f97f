/** RESULTS.md: what the simulation found, as tables. */
import { interval, type Tally } from "./play.ts";

export interface Row {
  readonly name: string;
  readonly tallies: readonly Tally[];
}

export interface Results {
  readonly command: string;
  readonly runs: number;
  readonly equal: readonly Row[];
  readonly beyond: readonly Row[];
  readonly worse: readonly Row[];
  readonly equalLatency: readonly Row[];
  readonly worseLatency: readonly Row[];
}

export function markdown(results: Results): string {
  const { runs, equal, beyond, worse, equalLatency, worseLatency } = results;
  return `# The judge, simulated

\`${results.command}\` wrote this page and \`plot.svg\`; the same seed gives the same page. ${runs.toLocaleString("en-US")} runs a
case. The judge is the one that rolls back (control/rollout/analysis), one metric alone, so that it fails at an e-value of
1/α. Where it looks every 2 s unless a column says otherwise (the default is every 10 s); latency is looked at every 5 s.

![False aborts and detection](plot.svg)

## False aborts: two equal versions

${EQUAL_WORDS}

${shares(equal)}

Of Baton's columns, the highest share at α 0.01 is ${highest([...equal, ...equalLatency], 0.01)}; at α 0.05 it is
${highest([...equal, ...equalLatency], 0.05)}.

Latency, 10 minutes at 50 requests/s, lognormal with a p99 of 300 ms:

${shares(equalLatency)}

## Beyond the assumption

The bound is claimed for bad spells of at most 30 s. A longer one on a single instance is, as far as counts can say, a bad
version; so is a host that is worse for good while it carries the canary alone. This is what such spells do:

${shares(beyond)}

## Detection: the canary is worse

Canary at 10 %. Median canary requests and seconds from the moment that it is worse until it is failed, over all runs; below
it, the share of runs in which it was failed at all within the hour. Fixed thresholds that fail half of all equal versions
are quick too.

${detections(worse)}

Latency:

${detections(worseLatency)}

${READING}
`;
}

const EQUAL_WORDS = `20 minutes each, 20 to 1,000 requests/s, both versions with the same 0.05 to 2 % of errors (0.005 to 0.1 % between
clusters). A cluster falls on the canary with the probability of its share of the traffic. Share of runs in which the
canary was failed, with its 99 % interval (Wilson).`;

const READING = `## How to read it

- **untempered** is the textbook's binomial mixture, which takes every error for an event of its own: it keeps its bound
  where errors are independent, and fails up to four healthy canaries of five where they come in bursts. Its speed at high
  rates is the other side of that: a second or two cannot tell a bad version from a bad second.
- At few requests tempering costs next to nothing, since errors are rare enough to be events of their own: at 20 requests/s
  0.1 → 1 % takes about 700 canary requests. At many it costs requests, not much time: the judge takes one to four minutes,
  because that is how long it takes a bad spell of 30 s to show itself to be one. Gross failures need not wait for it:
  \`maxErrorRate\` of the rollout halts at once.
- The bound is proved for clusters of errors that last at most 30 s, do not pause for 10 s and go on, and fall on the canary
  with the probability of its share; the judge's third rule, and its choice of whichever comes first of pause and time, rest
  on this simulation (control/rollout/analysis/evidence.ts says it in full).
- **Argo** looks ten times, once a minute, for the success rate or p99 named. **Flagger** looks once a minute and gives up
  after five failed looks. Neither asks what the version before does: with 2 % of errors on both, 99 % aborts every time.`;

function shares(rows: readonly Row[]): string {
  return table(rows, ({ failed, runs }) => {
    const [low, high] = interval(failed, runs);
    return `${percent(failed / runs)} (${percent(low)}–${percent(high)})`;
  });
}

function detections(rows: readonly Row[]): string {
  return table(rows, ({ failed, runs, medianRequests, medianSeconds }) => {
    const caught = failed === runs ? "all" : percent(failed / runs);
    if (medianSeconds === Infinity) return `–<br>${caught}`;
    return `${medianRequests.toLocaleString("en-US")} · ${medianSeconds} s<br>${caught}`;
  });
}

/** Columns of one width, as the formatter would have them. */
function table(rows: readonly Row[], cell: (tally: Tally) => string): string {
  const names = rows[0]?.tallies.map(({ column }) => column.name) ?? [];
  const lines = [["", ...names], ...rows.map(({ name, tallies }) => [name, ...tallies.map(cell)])];
  const widths = ["", ...names].map((_, at) => Math.max(4, ...lines.map((line) => line[at]?.length ?? 0)));
  const line = (cells: readonly string[]): string => {
    const padded = cells.map((words, at) =>
      at === 0 ? words.padEnd(widths[at] ?? 0) : words.padStart(widths[at] ?? 0),
    );
    return `| ${padded.join(" | ")} |`;
  };
  const rule = widths.map((width, at) => (at === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  const [head = [], ...body] = lines;
  return [line(head), line(rule), ...body.map(line)].join("\n");
}

/** The worst of Baton's false aborts: what the bound stands or falls by. */
export function worst(rows: readonly Row[], alpha: number): { readonly name: string; readonly tally: Tally } | null {
  let found: { name: string; tally: Tally } | null = null;
  for (const { name, tallies } of rows) {
    for (const tally of tallies) {
      const mine = tally.column.name.startsWith("Baton") && tally.column.limit === Math.round(1 / alpha);
      if (mine && (found === null || tally.failed > found.tally.failed)) found = { name, tally };
    }
  }
  return found;
}

function highest(rows: readonly Row[], alpha: number): string {
  const found = worst(rows, alpha);
  if (found === null) return "–";
  const { failed, runs } = found.tally;
  const [low, high] = interval(failed, runs);
  return `**${percent(failed / runs)} (99 % interval ${percent(low)}–${percent(high)})**, “${found.name}”`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share > 0.1 ? 0 : 2)} %`;
}
