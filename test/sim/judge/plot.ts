/** plot.svg: false aborts on the left, time to detection on the right, both on logarithmic axes. */
import { ARGO_P99, FLAGGER_P99 } from "./latency.ts";
import { interval, type Tally } from "./play.ts";
import type { Results, Row } from "./table.ts";

/** One mark for one judge: its columns for errors and, where it has one, for latency. The last is drawn on top. */
const SHOWN = [
  { legend: "Argo ≥ 95 %", columns: ["Argo ≥ 95 %"], colour: "#e0a100", shape: "square" },
  { legend: "Argo ≥ 99 %, p99 ≤ 500 ms", columns: ["Argo ≥ 99 %", ARGO_P99], colour: "#d4572a", shape: "square" },
  {
    legend: "Argo ≥ 99 %, failureLimit 3",
    columns: ["Argo ≥ 99 %, failureLimit 3"],
    colour: "#a33b3b",
    shape: "square",
  },
  {
    legend: "Flagger ≥ 99 %, p99 ≤ 500 ms",
    columns: ["Flagger ≥ 99 %, threshold 5", FLAGGER_P99],
    colour: "#2a6fd4",
    shape: "triangle",
  },
  { legend: "untempered, α 0.01", columns: ["untempered, α 0.01"], colour: "#8a5cc2", shape: "diamond" },
  { legend: "Baton, α 0.01", columns: ["Baton, α 0.01"], colour: "#0b7a4b", shape: "circle" },
] as const;

const ROW = 22;
const TOP = 92;
const LABELS = 300;
const WIDTH = 430;
const GAP = 40;

interface Axis {
  readonly left: number;
  readonly low: number;
  readonly high: number;
  readonly ticks: readonly (readonly [number, string])[];
}

const SHARES: Axis = {
  left: LABELS,
  low: 0.000_1,
  high: 1,
  ticks: [
    [0.000_1, "≤ 0.01 %"],
    [0.001, "0.1 %"],
    [0.01, "1 %"],
    [0.1, "10 %"],
    [1, "100 %"],
  ],
};
const SECONDS: Axis = {
  left: LABELS + WIDTH + GAP + 230,
  low: 1,
  high: 3_600,
  ticks: [
    [1, "1 s"],
    [10, "10 s"],
    [60, "1 min"],
    [600, "10 min"],
    [3_600, "never"],
  ],
};

export function svg(results: Results): string {
  const { runs } = results;
  const equal = [...results.equal, ...results.equalLatency];
  const worse = [...results.worse, ...results.worseLatency];
  const height = TOP + Math.max(equal.length, worse.length) * ROW + 40;
  const width = SECONDS.left + WIDTH + 30;
  const alpha = place(SHARES, 0.01);
  const parts = [
    text(10, 24, "The judge, simulated", 'font-size="17" font-weight="bold"'),
    legend(),
    panel(SHARES, equal, `Equal versions failed, share of ${runs.toLocaleString("en-US")} runs (bar: 99 % interval)`),
    `<line x1="${alpha}" y1="${TOP - 6}" x2="${alpha}" y2="${TOP + equal.length * ROW}" stroke="#0b7a4b" stroke-dasharray="5 3"/>`,
    text(alpha + 4, TOP + equal.length * ROW + 28, "α", 'fill="#0b7a4b"'),
    ...equal.flatMap((row, i) => drawn(row).map((tally) => falseAborts(tally, i))),
    panel(SECONDS, worse, "Worse canary at 10 %: median time until it is failed"),
    ...worse.flatMap((row, i) => drawn(row).map((tally) => mark(tally, SECONDS, tally.medianSeconds, i))),
  ];
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ` +
    `font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="#ffffff"/>\n${parts.join("\n")}\n</svg>\n`
  );
}

function panel(axis: Axis, rows: readonly Row[], title: string): string {
  const bottom = TOP + rows.length * ROW;
  const ticks = axis.ticks.map(([value, label]) => {
    const x = place(axis, value);
    return (
      `<line x1="${x}" y1="${TOP - 6}" x2="${x}" y2="${bottom}" stroke="#dddddd"/>` +
      text(x, bottom + 14, label, 'text-anchor="middle" fill="#555555"')
    );
  });
  const names = rows.map(({ name }, i) => text(axis.left - 12, middle(i) + 4, name, 'text-anchor="end"'));
  return [text(axis.left, TOP - 16, title, 'font-weight="bold"'), ...ticks, ...names].join("\n");
}

function legend(): string {
  return SHOWN.toReversed()
    .map(({ legend: name, colour, shape }, i) => {
      const x = 20 + i * 215;
      return draw(shape, x, 46, colour) + text(x + 10, 50, name, "");
    })
    .join("\n");
}

function falseAborts(tally: Tally, row: number): string {
  const [low, high] = interval(tally.failed, tally.runs);
  const shown = shownAs(tally);
  if (shown === undefined) return "";
  const bar =
    shown.shape === "circle"
      ? `<line x1="${place(SHARES, low)}" y1="${middle(row)}" x2="${place(SHARES, high)}" y2="${middle(row)}" stroke="${shown.colour}" stroke-width="2"/>`
      : "";
  return bar + mark(tally, SHARES, tally.failed / tally.runs, row);
}

function shownAs({ column }: Tally): (typeof SHOWN)[number] | undefined {
  return SHOWN.find(({ columns }) => columns.some((name) => name === column.name));
}

/** In the order in which they cover one another. */
function drawn({ tallies }: Row): readonly Tally[] {
  const depth = (tally: Tally): number => SHOWN.findIndex((shown) => shown === shownAs(tally));
  return tallies.toSorted((a, b) => depth(a) - depth(b));
}

function mark(tally: Tally, axis: Axis, value: number, row: number): string {
  const shown = shownAs(tally);
  return shown === undefined ? "" : draw(shown.shape, place(axis, value), middle(row), shown.colour);
}

function draw(shape: (typeof SHOWN)[number]["shape"], x: number, y: number, colour: string): string {
  const fill = `fill="${colour}" fill-opacity="0.85"`;
  switch (shape) {
    case "circle":
      return `<circle cx="${x}" cy="${y}" r="5" ${fill}/>`;
    case "square":
      return `<rect x="${x - 4}" y="${y - 4}" width="8" height="8" ${fill}/>`;
    case "diamond":
      return `<path d="M${x} ${y - 6}L${x + 5} ${y}L${x} ${y + 6}L${x - 5} ${y}Z" ${fill}/>`;
    case "triangle":
      return `<path d="M${x} ${y - 5}L${x + 5} ${y + 4}L${x - 5} ${y + 4}Z" ${fill}/>`;
  }
}

function place(axis: Axis, value: number): number {
  const share = Math.log(Math.min(axis.high, Math.max(axis.low, value)) / axis.low) / Math.log(axis.high / axis.low);
  return Math.round((axis.left + share * WIDTH) * 10) / 10;
}

function middle(row: number): number {
  return TOP + row * ROW + ROW / 2;
}

function text(x: number, y: number, words: string, attributes: string): string {
  const safe = words.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return `<text x="${x}" y="${y}" ${attributes}>${safe}</text>`;
}
