/** The table of scenarios: a line as each ends, so that a long run shows where it is. */
import type { Row } from "./scene.ts";

interface Column {
  readonly title: string;
  readonly width: number;
  readonly of: (row: Row) => string;
  readonly right?: true;
}

const count = (n: number): string => n.toLocaleString("en");

const COLUMNS: readonly Column[] = [
  { title: "STRATEGY", width: 16, of: (row) => row.strategy },
  { title: "SCENARIO", width: 46, of: (row) => row.scenario },
  { title: "END", width: 11, of: (row) => row.end },
  { title: "EXIT", width: 4, of: (row) => String(row.exitCode), right: true },
  { title: "REQUESTS", width: 8, of: (row) => count(row.requests), right: true },
  { title: "5XX", width: 5, of: (row) => count(row.appErrors), right: true },
  { title: "LOST: CLIENT", width: 12, of: (row) => count(row.lostClient), right: true },
  { title: "BATON", width: 5, of: (row) => count(row.lostBaton), right: true },
  { title: "EXPLAINED", width: 9, of: (row) => count(row.explained), right: true },
  { title: "SECONDS", width: 7, of: (row) => row.seconds.toFixed(1), right: true },
  { title: "NOTE", width: 0, of: (row) => row.note },
];

const put = (texts: readonly string[]): string =>
  COLUMNS.map(({ width, right }, at) => (right ? texts[at]?.padStart(width) : texts[at]?.padEnd(width)) ?? "")
    .join("  ")
    .trimEnd();

export const header = (): string => put(COLUMNS.map((column) => column.title));
export const line = (row: Row): string => put(COLUMNS.map((column) => column.of(row)));
