import { RE2JS } from "re2js";
import { expect, test } from "vitest";
import { LIMITS } from "../../../proto/contract/limits.ts";
import { isRegex, regexProblem } from "../../../proto/contract/regex.ts";

test("an expression that a backtracking engine never ends on is taken, and ends", () => {
  const pattern = "(a+)+b|(x*)*y";
  expect(regexProblem(pattern)).toBeUndefined();
  const start = performance.now();
  expect(RE2JS.compile(pattern).matches("a".repeat(8_000))).toBe(false);
  expect(performance.now() - start).toBeLessThan(2_000);
});

test.each([
  ["", "an empty expression, which matches the empty text alone"],
  ["(a", "not an RE2 expression: missing closing ): `(a`"],
  ["a**", "not an RE2 expression: invalid nested repetition operator: `**`"],
  ["(?=a)", "not an RE2 expression: invalid or unsupported Perl syntax: `(?=`"],
  ["(a)\\1", "not an RE2 expression: invalid escape sequence: `\\1`"],
  ["x".repeat(1_025), "longer than 1024 characters"],
  ["a{501}", "compiles to more than 500 instructions; repeat less"],
  ["(a{25}){25}", "compiles to more than 500 instructions; repeat less"],
  ["x".repeat(600), "compiles to more than 500 instructions; repeat less"],
])("what is wrong with an expression is said: %s", (pattern, expected) => {
  expect(regexProblem(pattern)).toBe(expected);
});

test("a long expression of large classes, many times over, is refused before it is laid out", () => {
  const hostile = "\\pL{400}".repeat(Math.floor(LIMITS.regexLength / 8));
  const start = performance.now();
  for (let i = 0; i < 256; i++) expect(isRegex(hostile)).toBe(false);
  // Laying each out takes a second or so.
  expect(performance.now() - start).toBeLessThan(500);
});
