/** A match as one text, for messages and for finding the same one again: equal text, equal requests. */
import type { MatchSpec, ValueMatch } from "./types.ts";

/** `PathPrefix /api`, `Exact /pay POST, header x-canary=true, query v~[0-9]+`. */
export function formatMatch({ path, method, headers, queryParams }: MatchSpec): string {
  const where = /[\s"]/.test(path.value) ? JSON.stringify(path.value) : path.value;
  const parts = [
    `${path.type} ${where}${method === null ? "" : ` ${method}`}`,
    ...values("header", headers),
    ...values("query", queryParams),
  ];
  return parts.join(", ");
}

/** The order in which they are said makes no difference. */
const values = (kind: string, matches: readonly ValueMatch[]): string[] =>
  matches
    .map(({ type, name, value }) => `${kind} ${quoted(name)}${type === "Exact" ? "=" : "~"}${quoted(value)}`)
    .sort();

/** What could be read as something else is put in quotes, so that no two matches look alike. */
const quoted = (text: string): string => (/^[\w.-]+$/.test(text) ? text : JSON.stringify(text));
