/**
 * The leaves of the schema: each reads one plain value, and says in plain words what it expected instead. A leaf is a
 * zod type that takes anything, so that every message is ours, with a JSON Schema beside it for editors.
 */
import * as z from "zod";
import { didYouMean, nearest } from "../nearest.ts";
import { formatDuration, parseDuration, WHOLE } from "../units.ts";
import type { BasisPoints, CountOrPercent } from "../units.ts";
import { describe } from "./problem.ts";

/** A value, or what is wrong with it as the end of a sentence: `expected …, got …`. */
export type Read<T> = { readonly value: T } | { readonly wrong: string };

export type Leaf<T> = z.ZodType<T>;

/** `expected` names what is looked for; `read` answers undefined when the value is not that at all. */
export function leaf<T>(
  json: Readonly<Record<string, unknown>>,
  expected: string,
  read: (input: unknown) => Read<T> | undefined,
): Leaf<T> {
  return z
    .unknown()
    .meta({ ...json })
    .transform((input, context) => {
      const found = read(input);
      if (found !== undefined && "value" in found) return found.value;
      const message = found?.wrong ?? unexpected(expected, input);
      context.issues.push({ code: "custom", message, input });
      return z.NEVER;
    });
}

const unexpected = (expected: string, input: unknown): string =>
  input === undefined ? `missing; expected ${expected}` : `expected ${expected}, got ${describe(input)}`;

/** What a problem with a key itself carries, so that it is shown where the key stands. */
export const OF_KEY = { of: "key" } as const;

/**
 * A mapping whose unknown keys are refused, with the nearest known one. What depends on several keys is not looked at
 * then: a key that was mistyped would be missed there once more.
 */
export function mapping<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  const known = Object.keys(shape);
  return z
    .strictObject(shape, {
      // Several keys at once, one line for each: where a value is wrong as well, the check below does not run.
      error: (issue) =>
        issue.code === "unrecognized_keys"
          ? issue.keys.map((key) => unknownKey(key, known)).join("\n")
          : unexpected("a mapping", issue.input),
    })
    .check((payload) => {
      const { issues } = payload;
      for (const issue of issues.splice(0)) {
        if (issue.code !== "unrecognized_keys") issues.push(issue);
        // zod goes on to a mapping's transform after an unknown key, and after this one it does not.
        else for (const key of issue.keys) issues.push(unknown(key, unknownKey(key, known), issue.input));
      }
    });
}

const unknown = (key: string, message: string, input: unknown): z.core.$ZodRawIssue => ({
  code: "custom",
  path: [key],
  message,
  input,
  params: OF_KEY,
});

function unknownKey(key: string, known: readonly string[]): string {
  const guess = nearest(key, known);
  return guess === undefined ? `unknown key; known here: ${known.join(", ")}` : `unknown key; did you mean ${guess}?`;
}

export function list<T extends z.ZodType>(item: T, min: number, max: number, what: string): z.ZodArray<T> {
  return z
    .array(item, { error: (issue) => unexpected(`a list of ${what}`, issue.input) })
    .min(min, { error: `an empty list; expected at least ${String(min)} of: ${what}` })
    .max(max, { error: `more than ${String(max)} ${what}` });
}

/** A mapping of free keys. */
export function table<T extends z.ZodType>(
  key: { readonly is: (key: string) => boolean; readonly rule: string },
  value: T,
  max: number,
): z.ZodRecord<z.ZodString, T> {
  const keys = z.string().refine(key.is, { error: key.rule });
  return z
    .record(keys, value, { error: (issue) => unexpected("a mapping", issue.input) })
    .refine((entries) => Object.keys(entries).length <= max, { error: `more than ${String(max)} entries` });
}

/** Text that `is` accepts; `rule` says what that is. Numbers are refused: 1.10 as a number is 1.1. */
export function text(
  example: string,
  is: (text: string) => boolean,
  rule: string,
  maxLength = 1_024,
  json: Readonly<Record<string, unknown>> = {},
): Leaf<string> {
  return leaf({ type: "string", maxLength, ...json }, `text such as ${example}`, (input) => {
    if (typeof input === "number" || typeof input === "boolean") {
      return { wrong: `expected text such as ${example}, got ${describe(input)}: put it in quotes` };
    }
    if (typeof input !== "string") return undefined;
    if (input.length > maxLength) return { wrong: `longer than ${String(maxLength)} characters` };
    return is(input) ? { value: input } : { wrong: `${describe(input)} is not ${rule}` };
  });
}

export function oneOf<const T extends string>(words: readonly T[]): Leaf<T> {
  const expected = words.length === 1 ? String(words[0]) : `one of ${words.join(", ")}`;
  return leaf({ type: "string", enum: [...words] }, expected, (input) => {
    const found = words.find((word) => word === input);
    if (found !== undefined) return { value: found };
    if (typeof input !== "string") return undefined;
    return { wrong: `expected ${expected}, got ${describe(input)}${didYouMean(input, words)}` };
  });
}

export function whole(min: number, max: number, what = "a whole number"): Leaf<number> {
  const expected = `${what} from ${String(min)} to ${String(max)}`;
  return leaf({ type: "integer", minimum: min, maximum: max }, expected, (input) =>
    typeof input === "number" && Number.isInteger(input) && input >= min && input <= max
      ? { value: input === 0 ? 0 : input } // never -0
      : undefined,
  );
}

export const flag = (): Leaf<boolean> =>
  leaf({ type: "boolean" }, "true or false", (input) => (typeof input === "boolean" ? { value: input } : undefined));

/** Milliseconds. */
export function duration(min: number, example = "2s"): Leaf<number> {
  const expected = `a duration such as ${example}`;
  const json = { type: "string", pattern: "^(0|(\\d+(\\.\\d+)?(ms|s|m|h))+)$" };
  return leaf(json, expected, (input) => {
    if (typeof input !== "string") return input === 0 && min === 0 ? { value: 0 } : undefined;
    const ms = parseDuration(input);
    if (ms === undefined) return undefined;
    if (ms >= min) return { value: ms };
    return { wrong: `expected a duration of at least ${formatDuration(min)}, got ${input}` };
  });
}

/** `1`, or `25%`. */
export function countOrPercent(): Leaf<CountOrPercent> {
  const json = {
    anyOf: [
      { type: "integer", minimum: 0, maximum: 1_000 },
      { type: "string", pattern: "^\\d{1,3}%$" },
    ],
  };
  return leaf<CountOrPercent>(json, 'a count such as 1 or a percentage such as "25%"', (input) => {
    if (typeof input === "number" && Number.isInteger(input) && input >= 0 && input <= 1_000) {
      return { value: { kind: "count", value: input === 0 ? 0 : input } };
    }
    const percent = typeof input === "string" ? /^(\d{1,3})%$/.exec(input) : null;
    if (percent === null) return undefined;
    const value = Number(percent[1]);
    return value <= 100 ? { value: { kind: "percent", value } } : { wrong: `at most "100%", got ${describe(input)}` };
  });
}

/** A share: `0.05` or `"5%"`, 0..1, held to the hundredth of a percent as every share is. */
export function share(): Leaf<number> {
  const json = {
    anyOf: [
      { type: "number", minimum: 0, maximum: 1 },
      { type: "string", pattern: "^\\d+(\\.\\d+)?%$" },
    ],
  };
  return leaf(json, 'a share from 0 to 1 such as 0.05, or "5%"', (input) => {
    const percent = typeof input === "string" ? /^(\d{1,3}(?:\.\d{1,2})?)%$/.exec(input) : null;
    const value = percent === null ? input : Number(percent[1]) / 100;
    if (typeof value !== "number" || !(value >= 0 && value <= 1)) return undefined;
    const points: BasisPoints = Math.round(value * WHOLE);
    return { value: points / WHOLE };
  });
}

/** A percentage as Argo writes it, `20` or `0.5`, to the hundredth: basis points. */
export function percentage(): Leaf<BasisPoints> {
  const json = { type: "number", minimum: 0, maximum: 100 };
  return leaf(json, "a percentage from 0 to 100 such as 20", (input) => {
    if (typeof input !== "number" || !(input >= 0 && input <= 100)) return undefined;
    const points = Math.round(input * 100);
    return points / 100 === input ? { value: points === 0 ? 0 : points } : { wrong: "finer than 0.01 percent" };
  });
}

/** A number above 0. */
export function positive(max: number, what: string): Leaf<number> {
  const expected = `${what} above 0, at most ${String(max)}`;
  return leaf({ type: "number", exclusiveMinimum: 0, maximum: max }, expected, (input) =>
    typeof input === "number" && input > 0 && input <= max ? { value: input } : undefined,
  );
}

/** Where a mapping must have one of its keys and no more: what is wrong, or undefined. */
export function notOne(input: Readonly<Record<string, unknown>>, keys: readonly string[]): string | undefined {
  const here = keys.filter((key) => input[key] !== undefined);
  if (here.length === 1) return undefined;
  return here.length === 0 ? `expected one of ${keys.join(", ")}` : `expected only one of ${here.join(" and ")}`;
}
