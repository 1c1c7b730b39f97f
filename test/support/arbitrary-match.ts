/** Any valid match, header filter and sticky key, for properties. */
import * as fc from "fast-check";
import { METHOD_NAMES } from "../../proto/contract/spec/schema-match.ts";
import { NO_FILTER } from "../../proto/contract/spec/types.ts";
import type { HeaderFilter, MatchSpec, StickySpec, ValueMatch } from "../../proto/contract/spec/types.ts";
import { MAX_DURATION_MS } from "../../proto/contract/units.ts";

const pathArb = fc
  .array(fc.constantFrom("a", "b.c", "%20", "~x", "api"), { maxLength: 3 })
  .map((parts) => `/${parts.join("/")}`);

const regexArb = fc.constantFrom("/users/[0-9]+", "(a|b)*c", ".*", "(?i)beta", "\\d{1,3}", "(?:yes: #'\")?", "^/a$");

export const fieldNameArb = fc.oneof(
  fc.constantFrom("x-canary", "user-agent", "a", "x_1.b~c", "constructor", "cookie"),
  fc
    .string({ unit: fc.constantFrom(...Array.from("abcxyz0-_")), minLength: 1, maxLength: 12 })
    .filter((name) => !name.startsWith("proxy-") && !name.startsWith("te")),
);
const fieldValueArb = fc.constantFrom("1", "true", "no", "a b", "~", 'he said "x"', "max-age=0, x", "x".repeat(4_096));
/** Anything that a query may hold once it is decoded. */
const queryTextArb = fc.oneof(
  fc.string({ unit: "binary", maxLength: 10 }).map((t) => t.replaceAll("\0", "").toWellFormed()),
  fc.constantFrom("null", "1e3", "ключ", "a\nb", "😀"),
);

const valueMatches = (name: fc.Arbitrary<string>, exact: fc.Arbitrary<string>): fc.Arbitrary<readonly ValueMatch[]> =>
  fc.uniqueArray(
    fc.oneof(
      fc.record({ type: fc.constant("Exact" as const), name, value: exact }),
      fc.record({ type: fc.constant("RegularExpression" as const), name, value: regexArb }),
    ),
    { maxLength: 3, selector: (m) => m.name },
  );

export const matchArb: fc.Arbitrary<MatchSpec> = fc.record({
  path: fc.oneof(
    fc.record({ type: fc.constantFrom("Exact" as const, "PathPrefix" as const), value: pathArb }),
    fc.record({ type: fc.constant("RegularExpression" as const), value: regexArb }),
  ),
  method: fc.option(fc.constantFrom(...METHOD_NAMES)),
  headers: valueMatches(fieldNameArb, fieldValueArb),
  queryParams: valueMatches(
    queryTextArb.filter((t) => t !== ""),
    queryTextArb,
  ),
});

const fieldArb = fc.record({ name: fieldNameArb, value: fieldValueArb });

export const filterArb: fc.Arbitrary<HeaderFilter> = fc.oneof(
  fc.constant(NO_FILTER),
  fc.record({
    set: fc.uniqueArray(fieldArb, { maxLength: 2, selector: (f) => f.name }),
    add: fc.array(fieldArb, { maxLength: 2 }),
    remove: fc.uniqueArray(fieldNameArb, { maxLength: 2 }),
  }),
);

export const stickyArb: fc.Arbitrary<StickySpec> = fc.oneof(
  fc.record({
    kind: fc.constant("cookie" as const),
    name: fieldNameArb,
    maxAgeMs: fc.integer({ min: 1_000, max: MAX_DURATION_MS }),
  }),
  fc.record({ kind: fc.constant("header" as const), name: fieldNameArb }),
);

/** Percentages as documents can say them. */
export const basisPointsArb = fc.oneof(
  fc.integer({ min: 0, max: 10_000 }),
  fc.constantFrom(0, 1, 2_000, 9_999, 10_000),
);
