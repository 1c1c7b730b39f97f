import { expect, test } from "vitest";
import { holds, parseCondition } from "../../../proto/contract/spec/condition.ts";

const wrong = (text: string): string => {
  const parsed = parseCondition(text);
  return "wrong" in parsed ? parsed.wrong : "taken";
};
const check = (text: string, result: number): boolean => {
  const parsed = parseCondition(text);
  if ("wrong" in parsed) throw new Error(parsed.wrong);
  return holds(parsed.value, result);
};

test("a condition is read as it is written, and kept in its own words", () => {
  expect(parseCondition(" result>=0.95&&result < 2e3 ")).toEqual({
    value: {
      text: " result>=0.95&&result < 2e3 ",
      all: [
        { op: ">=", value: 0.95 },
        { op: "<", value: 2_000 },
      ],
    },
  });
  expect(parseCondition("result == -0")).toMatchObject({ value: { all: [{ op: "==", value: 0 }] } });
});

test("every comparison must hold, at its very edge too", () => {
  expect([0.94, 0.95, 1, 1.01].map((r) => check("result >= 0.95 && result <= 1", r))).toEqual([
    false,
    true,
    true,
    false,
  ]);
  expect([1, 2].map((r) => check("result > 1", r))).toEqual([false, true]);
  expect([1, 2].map((r) => check("result < 2", r))).toEqual([true, false]);
  expect([0, 1].map((r) => check("result == 1", r))).toEqual([false, true]);
  expect([0, 1].map((r) => check("result != 1", r))).toEqual([true, false]);
});

test.each([
  ["", 'expected result, as in "result >= 0.95", got the end'],
  ["0.95 <= result", 'expected result, as in "result >= 0.95", got "0.95 <= result"'],
  ["result[0] >= 0.95", "a source gives one number: write result, without an index"],
  ["result", "expected one of < <= > >= == !=, got the end"],
  ["result = 1", 'expected one of < <= > >= == !=, got "= 1"'],
  ["results > 1", 'expected one of < <= > >= == !=, got "s > 1"'],
  ["result > ", "expected a number behind >, got the end"],
  ["result > 95%", 'expected a number behind >, got "95%"'],
  ["result > 1e999", 'expected a number behind >, got "1e999"'],
  ["result > 0x10", 'expected a number behind >, got "0x10"'],
  ["result > 1 &&", 'expected result, as in "result >= 0.95", got the end'],
  ["result > 1 || result < 0", '"||" is not known here: comparisons are joined by && alone'],
  ["result > 1 result < 2", 'expected && or the end, got "result < 2"'],
  ["result > 1)", 'expected && or the end, got ")"'],
  [`result > ${"1".repeat(300)}`, "longer than 256 characters"],
])("what is wrong is said where the reading stopped: %s", (text, expected) => {
  expect(wrong(text)).toBe(expected);
});
