/** What requests are told apart by, and what is done to their headers: matches, filters, the sticky key. */
import type * as wire from "../../gen/baton/v1/spec.ts";
import { isFieldName, isFieldValue, isLowerFieldName, isMethod, isQueryText, reservedHeader } from "../http-field.ts";
import { LIMITS } from "../limits.ts";
import { isRegex } from "../regex.ts";
import { NO_FILTER } from "../spec/types.ts";
import type { HeaderField, HeaderFilter, MatchSpec, StickySpec, ValueMatch } from "../spec/types.ts";
import { MAX_DURATION_MS } from "../units.ts";
import { fail, list, present, text, u32, unique, whole, word } from "./reader.ts";

const MATCH_TYPES = ["Exact", "RegularExpression"] as const;
const PATH_TYPES = ["Exact", "PathPrefix", "RegularExpression"] as const;

export const isPath = (value: string): boolean => /^\/[\x21-\x7e]*$/.test(value);

/** A rule holds the same fields as a match does, flat. */
type WireMatch = Pick<wire.MatchSpec, "pathType" | "pathValue" | "method" | "headers" | "queryParams">;

export const encodeMatch = (m: MatchSpec): WireMatch => ({
  pathType: m.path.type,
  pathValue: m.path.value,
  method: m.method ?? "",
  headers: m.headers.map((h) => ({ ...h })),
  queryParams: m.queryParams.map((q) => ({ ...q })),
});

export function readMatch(field: string, m: WireMatch): MatchSpec {
  const type = word(`${field}.path_type`, m.pathType, PATH_TYPES);
  const isValue = type === "RegularExpression" ? isRegex : isPath;
  const headers = list(`${field}.headers`, m.headers, LIMITS.headerMatches, readHeaderMatch);
  const queryParams = list(`${field}.query_params`, m.queryParams, LIMITS.queryMatches, readQueryMatch);
  unique(`${field}.headers`, headers, (h) => h.name);
  unique(`${field}.query_params`, queryParams, (q) => q.name);
  return {
    path: { type, value: text(`${field}.path_value`, m.pathValue, LIMITS.regexLength, isValue) },
    method: m.method === "" ? null : text(`${field}.method`, m.method, 32, isMethod),
    headers,
    queryParams,
  };
}

const readHeaderMatch = (field: string, h: wire.ValueMatch): ValueMatch =>
  readValueMatch(field, h, isLowerFieldName, isFieldValue);

const readQueryMatch = (field: string, q: wire.ValueMatch): ValueMatch =>
  readValueMatch(field, q, (name) => name !== "" && isQueryText(name), isQueryText);

function readValueMatch(
  field: string,
  m: wire.ValueMatch,
  isName: (text: string) => boolean,
  isExact: (text: string) => boolean,
): ValueMatch {
  const type = word(`${field}.type`, m.type, MATCH_TYPES);
  const [max, is] = type === "Exact" ? [LIMITS.headerValueLength, isExact] : [LIMITS.regexLength, isRegex];
  return {
    type,
    name: text(`${field}.name`, m.name, LIMITS.headerNameLength, isName),
    value: text(`${field}.value`, m.value, max, is),
  };
}

/** A filter that changes nothing is not sent. */
export function encodeFilter({ set, add, remove }: HeaderFilter): wire.HeaderFilter | undefined {
  if (set.length + add.length + remove.length === 0) return undefined;
  return { set: set.map((f) => ({ ...f })), add: add.map((f) => ({ ...f })), remove: [...remove] };
}

export function readFilter(field: string, f: wire.HeaderFilter | undefined): HeaderFilter {
  if (f === undefined) return NO_FILTER;
  const set = list(`${field}.set`, f.set, LIMITS.headerFields, readField);
  unique(`${field}.set`, set, (s) => s.name.toLowerCase());
  return {
    set,
    add: list(`${field}.add`, f.add, LIMITS.headerFields, readField),
    remove: list(`${field}.remove`, f.remove, LIMITS.headerFields, (at, name) =>
      changeable(at, text(at, name, LIMITS.headerNameLength, isLowerFieldName)),
    ),
  };
}

const readField = (field: string, f: wire.HeaderField): HeaderField => ({
  name: changeable(`${field}.name`, text(`${field}.name`, f.name, LIMITS.headerNameLength, isFieldName)),
  value: text(`${field}.value`, f.value, LIMITS.headerValueLength, isFieldValue),
});

function changeable(field: string, name: string): string {
  const why = reservedHeader(name.toLowerCase());
  return why === undefined ? name : fail(field, `${name} may not be changed: ${why}`);
}

export function encodeSticky(s: StickySpec | null): wire.StickySpec | undefined {
  if (s === null) return undefined;
  if (s.kind === "header") return { kind: { $case: "header", value: { name: s.name } } };
  return { kind: { $case: "cookie", value: { name: s.name, maxAgeMs: u32(s.maxAgeMs) } } };
}

export function readSticky(field: string, s: wire.StickySpec | undefined): StickySpec | null {
  if (s === undefined) return null;
  const { $case, value } = present(field, s.kind);
  const name = (is: (text: string) => boolean): string =>
    text(`${field}.name`, value.name, LIMITS.headerNameLength, is);
  if ($case === "header") return { kind: "header", name: name(isLowerFieldName) };
  const maxAgeMs = whole(`${field}.max_age_ms`, value.maxAgeMs, MAX_DURATION_MS, 1_000);
  return { kind: "cookie", name: name(isFieldName), maxAgeMs };
}
