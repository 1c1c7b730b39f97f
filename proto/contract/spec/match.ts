/** Which requests, as a value, and as one text for messages and for finding the same one again. */

/** What a request must be to be taken: all of it. Of several that take one, the most specific wins (Gateway API). */
export interface MatchSpec {
  readonly path: { readonly type: "Exact" | "PathPrefix" | "RegularExpression"; readonly value: string };
  /** null: any. */
  readonly method: string | null;
  /** Names in lower case. Of a field that is sent several times, the first. */
  readonly headers: readonly ValueMatch[];
  /** Names and values as percent-decoded. */
  readonly queryParams: readonly ValueMatch[];
}

/** Regular expressions are RE2's, anchored at both ends: none takes more than linear time. */
export interface ValueMatch {
  readonly type: "Exact" | "RegularExpression";
  readonly name: string;
  readonly value: string;
}

/** Equal text, equal requests: `PathPrefix /api`, `Exact /pay POST, header x-canary=true, query v~[0-9]+`. */
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
