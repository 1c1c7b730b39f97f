#!/usr/bin/env node
/** The `baton` command. One failure, one line on stderr, one exit code. */
import { CommanderError } from "commander";
import { CliError } from "./errors.ts";
import { noticeUnread } from "./output.ts";
import { buildProgram } from "./program.ts";

noticeUnread();

try {
  await buildProgram((exitCode) => {
    process.exitCode = exitCode;
  }).parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode; // commander has said why
  } else if (error instanceof CliError) {
    // One problem a line; each says who speaks.
    process.stderr.write(error.message.replace(/^/gm, "baton: ") + "\n");
    process.exitCode = error.exitCode;
  } else {
    throw error;
  }
}
