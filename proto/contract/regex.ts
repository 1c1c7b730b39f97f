/**
 * The regular expressions that a document may hold: RE2's, which match in time linear to the text, whatever the pattern
 * (no backtracking, so no catastrophic pattern exists). What is left to bound is the program: its size multiplies the
 * cost of each character that does not run on the compiled automaton.
 *
 * Errors  one sentence without the pattern; the caller knows the file, line and path to name.
 * Source  RE2 syntax; Envoy's `re2.max_program_size` bounds the same measure.
 * Cost    compiling is some milliseconds at worst, since what would unfold to a large program is refused before.
 */
import { RE2JS, RE2JSException } from "re2js";
import { LIMITS } from "./limits.ts";

/** What is wrong with `pattern`, or undefined. */
export function regexProblem(pattern: string): string | undefined {
  if (pattern === "") return "an empty expression, which matches the empty text alone";
  if (pattern.length > LIMITS.regexLength) return `longer than ${String(LIMITS.regexLength)} characters`;
  // `x{400}` is 400 times x: no need to lay it out to know that it is too much.
  if (repeats(pattern) > LIMITS.regexProgram) return TOO_LARGE;
  try {
    return RE2JS.compile(pattern).programSize() > LIMITS.regexProgram ? TOO_LARGE : undefined;
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    return `not an RE2 expression: ${error.message.replace("error parsing regexp: ", "")}`;
  }
}

export const isRegex = (pattern: string): boolean => regexProblem(pattern) === undefined;

const TOO_LARGE = `compiles to more than ${String(LIMITS.regexProgram)} instructions; repeat less`;

function repeats(pattern: string): number {
  let total = 0;
  for (const [, least = "", most = ""] of pattern.matchAll(/\{(\d+)(?:,(\d*))?\}/g)) {
    total += Math.max(Number(least), Number(most));
  }
  return total;
}
