/** What several ways to run something have in common: a command's words, and variables of an environment. */
import { LIMITS } from "../limits.ts";
import { list, table, text } from "./leaf.ts";

export const noNul = (t: string): boolean => !t.includes("\0");

/** One argument, or one variable, holds at most what Linux takes (MAX_ARG_STRLEN is 128 KiB with the name). */
export const ARGUMENT_LENGTH = 32_768;

export const command = list(
  text("node", noNul, "without a NUL character", ARGUMENT_LENGTH),
  1,
  LIMITS.arguments,
  'words such as ["node", "server.js"]',
).refine((words) => words[0] !== "", { error: "its first word, the program, is empty", path: [0] });

export const env = table(
  {
    // PORT is how Baton tells an instance where to listen; one value for all would be one port for two versions.
    is: (key) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(key) && key !== "PORT",
    rule: "not a variable to set: letters, digits and _, and not PORT, which Baton gives to each instance",
  },
  text("production", noNul, "without a NUL character", ARGUMENT_LENGTH),
  LIMITS.variables,
);
