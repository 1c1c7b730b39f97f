/** What a command prints: a table for people, JSON or YAML for programs. Results go to stdout, remarks to stderr. */
import Table from "cli-table3";
import pc from "picocolors";
import { stringify } from "yaml";

export type Format = "table" | "json" | "yaml";
export const FORMATS: readonly Format[] = ["table", "json", "yaml"];

/** `value` for programs; `table` is only called when a person reads. */
export function print(format: Format, value: unknown, table: () => string): void {
  switch (format) {
    case "json":
      process.stdout.write(`${JSON.stringify(plain(value), null, 2)}\n`);
      return;
    case "yaml":
      process.stdout.write(stringify(plain(value)));
      return;
    case "table":
      process.stdout.write(`${table()}\n`);
  }
}

/** A remark beside the result: progress, hints. */
export function remark(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** As pipes and terminals say that their other end is gone. */
const UNREAD: readonly (string | undefined)[] = ["EPIPE", "EIO"];
type Output = "stdout" | "stderr";

/** A reader that went away (`baton get hosts | head -1`) is no error. Remarks alone are done without. */
let unread = (from: Output): void => {
  if (from === "stdout") process.exit(0);
};

/** Once, at the start. */
export function noticeUnread(): void {
  for (const from of ["stdout", "stderr"] as const) {
    process[from].on("error", (error: NodeJS.ErrnoException) => {
      if (!UNREAD.includes(error.code)) throw error;
      unread(from);
    });
  }
}

/** Until disposal, for what has more to end than itself: `act` is done instead, at each thing said to nobody. */
export function whenUnread(act: () => void): Disposable {
  const before = unread;
  unread = act;
  return { [Symbol.dispose]: () => void (unread = before) };
}

/** Wire values as plain JSON: 64-bit counts become numbers (they stay far below 2^53). */
export function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
  }
  return value;
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const none = { top: "", "top-mid": "", "top-left": "", "top-right": "", bottom: "", "bottom-mid": "" };
  const bare = { "bottom-left": "", "bottom-right": "", left: "", "left-mid": "", mid: "", "mid-mid": "", right: "" };
  const drawn = new Table({
    head: head.map((text) => pc.dim(text)),
    chars: { ...none, ...bare, "right-mid": "", middle: "  " },
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
  });
  drawn.push(...rows.map((row) => [...row]));
  return drawn
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}
