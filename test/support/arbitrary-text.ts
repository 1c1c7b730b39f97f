/** Names, texts and times at their edges, for properties. */
import * as fc from "fast-check";
import { MAX_DURATION_MS } from "../../proto/contract/units.ts";

const DNS = Array.from("abcdefghijklmnopqrstuvwxyz0123456789");
const TAG = [...DNS, "A", "B", "X", "Z"];

const edged = (ends: readonly string[], inner: readonly string[]): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.constantFrom(...ends),
      fc.string({ unit: fc.constantFrom(...inner), maxLength: 10 }),
      fc.constantFrom(...ends),
    )
    .map((parts) => parts.join(""));

export const nameArb = fc.oneof(edged(DNS, [...DNS, "-"]), fc.constantFrom("a", "a".repeat(63)));
export const versionArb = fc.oneof(edged(TAG, [...TAG, ".", "-", "_"]), fc.constantFrom("v1", "1.10", "true", "007"));

/** Text as people and programs make it: quotes, line ends, what YAML reads as something else, any script. */
export const textArb = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }).map((t) => t.replaceAll("\0", "").toWellFormed()),
  fc.constantFrom(
    "",
    " ",
    "yes",
    "null",
    "~",
    "1e3",
    "0x10",
    ": #",
    "a\r\nb",
    "\t",
    "'\"",
    "- x",
    "…",
    "\u2028",
    "\u0085",
  ),
);

export const msArb = (min = 0, max = MAX_DURATION_MS): fc.Arbitrary<number> =>
  fc.oneof(fc.integer({ min, max }), fc.integer({ min, max: Math.min(max, min + 5_000) }));
