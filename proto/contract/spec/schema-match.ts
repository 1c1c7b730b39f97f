/**
 * `matches`: which requests, in Gateway API's words. Of a path, a method, headers and query parameters all that is said
 * must hold; of several matches, one.
 */
import * as z from "zod";
import { isFieldName, isFieldValue, isQueryText } from "../http-field.ts";
import { LIMITS } from "../limits.ts";
import { regexProblem } from "../regex.ts";
import { leaf, list, mapping, oneOf, text } from "./leaf.ts";
import type { MatchSpec, ValueMatch } from "./types.ts";

export const METHOD_NAMES = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] as const;

/** Gateway API's own rules for a path's value: absolute, and with one spelling. */
function badPath(value: string): string | undefined {
  if (!value.startsWith("/")) return 'a path starts with "/"';
  if (/[?#]/.test(value)) return "a path has no query and no fragment";
  if (/[^\x21-\x7e]/.test(value)) return "a path is ASCII without spaces; percent-encode the rest";
  if (/%(?![0-9a-f]{2})/i.test(value)) return 'a "%" without two hex digits behind it';
  if (/\/\/|\/\.{1,2}(\/|$)|%2f/i.test(value)) return 'a path has no "//", "/./", "/../" or "%2F"';
  return undefined;
}

/** An expression is held against the whole path: one that begins with a letter would never hold. */
function badPathRegex(value: string): string | undefined {
  if (/^[A-Za-z0-9](?![?*{])[^|]*$/.test(value)) {
    return `it is held against the whole path, which starts with "/": try ${JSON.stringify(`.*${value.slice(0, 40)}`)}`;
  }
  return regexProblem(value);
}

const PATH_TYPES = ["Exact", "PathPrefix", "RegularExpression"] as const;

const pathMatch = mapping({
  type: oneOf(PATH_TYPES).default("PathPrefix"),
  value: text("/api", () => true, "", LIMITS.regexLength).default("/"),
}).transform((path, context): MatchSpec["path"] => {
  const message = path.type === "RegularExpression" ? badPathRegex(path.value) : badPath(path.value);
  if (message !== undefined) context.issues.push({ code: "custom", path: ["value"], message, input: path.value });
  // A prefix is matched by whole segments, so `/api/` and `/api` are the same one.
  const value = path.type === "PathPrefix" && path.value !== "/" ? path.value.replace(/\/$/, "") : path.value;
  return { type: path.type, value };
});

/** A header's name, in the one spelling that is compared: lower case. */
export const headerName = (example: string): z.ZodType<string> =>
  leaf({ type: "string", maxLength: LIMITS.headerNameLength }, `a header's name such as ${example}`, (input) => {
    if (typeof input !== "string") return undefined;
    if (isFieldName(input)) return { value: input.toLowerCase() };
    return { wrong: `${JSON.stringify(input.slice(0, 60))} is not a header's name` };
  });

interface Kind {
  readonly name: z.ZodType<string>;
  readonly isValue: (text: string) => boolean;
  readonly rule: string;
}

function valueMatch({ name, isValue, rule }: Kind): z.ZodType<ValueMatch> {
  return mapping({
    type: oneOf(["Exact", "RegularExpression"]).default("Exact"),
    name,
    value: text('"true"', () => true, "", LIMITS.headerValueLength),
  }).transform((m, context): ValueMatch => {
    const wrong = (message: string): void => {
      context.issues.push({ code: "custom", path: ["value"], message, input: m.value });
    };
    const problem = m.type === "RegularExpression" ? regexProblem(m.value) : undefined;
    if (problem !== undefined) wrong(problem);
    if (m.type === "Exact" && !isValue(m.value)) wrong(`${JSON.stringify(m.value.slice(0, 60))} is not ${rule}`);
    return { type: m.type, name: m.name, value: m.value };
  });
}

const header = valueMatch({
  name: headerName("x-canary"),
  isValue: isFieldValue,
  rule: "a header's value: visible ASCII with blanks inside, and not empty",
});

const queryParam = valueMatch({
  name: text("preview", (t) => t !== "" && isQueryText(t), "a parameter's name", LIMITS.headerNameLength),
  isValue: isQueryText,
  rule: "a parameter's value",
});

/** A name that stands twice: only the first would be asked (Gateway API). */
function unique(matches: readonly ValueMatch[], context: z.core.ParsePayload<ValueMatch[]>): void {
  for (const [i, { name }] of matches.entries()) {
    if (matches.findIndex((m) => m.name === name) === i) continue;
    context.issues.push({ code: "custom", path: [i, "name"], message: `${name} stands here twice`, input: name });
  }
}

const match = mapping({
  path: pathMatch.prefault({}),
  method: oneOf(METHOD_NAMES).optional(),
  headers: list(header, 0, LIMITS.headerMatches, "headers")
    .check((c) => unique(c.value, c))
    .default([]),
  queryParams: list(queryParam, 0, LIMITS.queryMatches, "query parameters")
    .check((c) => unique(c.value, c))
    .default([]),
}).transform((m): MatchSpec => ({
  path: m.path,
  method: m.method ?? null,
  headers: m.headers,
  queryParams: m.queryParams,
}));

export const matches = (min: number, max: number): z.ZodArray<typeof match> => list(match, min, max, "matches");
