/** `rules`: which requests a service takes, how long they may take, what may be sent again, what their headers become. */
import { isFieldValue, reservedHeader } from "../http-field.ts";
import { LIMITS } from "../limits.ts";
import { DEFAULTS } from "./defaults.ts";
import { duration, list, mapping, oneOf, text, whole } from "./leaf.ts";
import { formatMatch } from "./match.ts";
import { headerName, matches, METHOD_NAMES } from "./schema-match.ts";
import { NO_FILTER } from "./types.ts";
import type { HeaderField, HeaderFilter, RuleSpec } from "./types.ts";

const retry = mapping({
  attempts: whole(0, 10, "retries").default(DEFAULTS.retryAttempts),
  methods: list(oneOf(METHOD_NAMES), 0, METHOD_NAMES.length, "methods").default([]),
}).transform((r): RuleSpec["retry"] => ({
  attempts: r.attempts,
  methods: METHOD_NAMES.filter((method) => r.methods.includes(method)),
}));

const changeable = headerName("x-env").check((c) => {
  const why = reservedHeader(c.value);
  if (why === undefined) return;
  c.issues.push({ code: "custom", message: `${c.value} may not be changed: ${why}`, input: c.value });
});

const field = mapping({
  name: changeable,
  value: text(
    "blue",
    isFieldValue,
    "a header's value: visible ASCII with blanks inside, and not empty",
    LIMITS.headerValueLength,
  ),
}).transform((f): HeaderField => f);

const modifier = mapping({
  set: list(field, 0, LIMITS.headerFields, "headers").default([]),
  add: list(field, 0, LIMITS.headerFields, "headers").default([]),
  remove: list(changeable, 0, LIMITS.headerFields, "headers' names").default([]),
}).transform((m, context): HeaderFilter => {
  const twice = (key: "set" | "remove", names: readonly string[]): void => {
    for (const [i, name] of names.entries()) {
      if (names.indexOf(name) === i) continue;
      context.issues.push({ code: "custom", path: [key, i], message: `${name} stands here twice`, input: name });
    }
  };
  twice(
    "set",
    m.set.map((f) => f.name),
  );
  twice("remove", m.remove);
  return m;
});

const MODIFIERS = {
  RequestHeaderModifier: "requestHeaderModifier",
  ResponseHeaderModifier: "responseHeaderModifier",
} as const;
type FilterType = keyof typeof MODIFIERS;
const FILTER_TYPES = ["RequestHeaderModifier", "ResponseHeaderModifier"] as const satisfies readonly FilterType[];

const filter = mapping({
  type: oneOf(FILTER_TYPES),
  requestHeaderModifier: modifier.optional(),
  responseHeaderModifier: modifier.optional(),
}).transform((f, context): { readonly type: FilterType; readonly change: HeaderFilter } => {
  for (const type of FILTER_TYPES) {
    const key = MODIFIERS[type];
    const message =
      type === f.type
        ? f[key] === undefined && `missing; a filter of type ${type} has it`
        : f[key] !== undefined && `belongs to a filter of type ${type}, and this one is ${f.type}`;
    if (message !== false) context.issues.push({ code: "custom", path: [key], message, input: f[key] });
  }
  return { type: f.type, change: f[MODIFIERS[f.type]] ?? NO_FILTER };
});

const filters = list(filter, 0, FILTER_TYPES.length, "filters").check((c) => {
  for (const [i, { type }] of c.value.entries()) {
    if (c.value.findIndex((f) => f.type === type) === i) continue;
    c.issues.push({ code: "custom", path: [i, "type"], message: `a second ${type}; one holds it all`, input: type });
  }
});

const rule = mapping({
  matches: matches(1, 64).prefault([{}]),
  filters: filters.default([]),
  timeouts: mapping({ request: duration(0, "10s").optional() }).default({}),
  retry: retry.prefault({}),
}).transform((r): RuleSpec[] => {
  const change = (type: FilterType): HeaderFilter => r.filters.find((f) => f.type === type)?.change ?? NO_FILTER;
  // Gateway API: 0s switches the timeout off.
  const requestMs = r.timeouts.request === undefined || r.timeouts.request === 0 ? null : r.timeouts.request;
  return r.matches.map((match) => ({
    ...match,
    timeouts: { requestMs },
    retry: r.retry,
    requestHeaders: change("RequestHeaderModifier"),
    responseHeaders: change("ResponseHeaderModifier"),
  }));
});

/** One rule a match, in the document's order; a match that stands twice would never be asked the second time. */
export const rules = list(rule, 1, LIMITS.rules, "rules").transform((all, context): RuleSpec[] => {
  const seen = new Set<string>();
  const wrong = (path: (string | number)[], message: string): void => {
    context.issues.push({ code: "custom", path, message, input: all });
  };
  for (const [i, made] of all.entries()) {
    for (const [j, one] of made.entries()) {
      const match = formatMatch(one);
      if (seen.has(match)) wrong([i, "matches", j], `a second match of ${match}, which the first one takes`);
      seen.add(match);
    }
  }
  if (all.flat().length > LIMITS.rules) wrong([], `more than ${String(LIMITS.rules)} matches`);
  return all.flat();
});
