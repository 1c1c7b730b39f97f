/**
 * The keeper's log, and the worker's: pino's JSON lines on stderr without pino, because the keeper uses Node's own
 * modules only and a worker's start must be short (measured: pino costs 12–15 ms of a start of 30).
 *
 * Errors  a line that can't be written (closed pipe, full non-blocking pipe) is dropped: the log never stops traffic.
 */
import { writeSync } from "node:fs";
import type { Log, LogFields } from "../../proto/kernel/log.ts";
import type { AgentOptions } from "./protocol.ts";

const LEVELS = { debug: 20, info: 30, warn: 40, error: 50, silent: 100 } as const;

export function lineLog(level: AgentOptions["logLevel"], fields: LogFields, fd = 2): Log {
  const threshold = LEVELS[level];
  const at =
    (rank: number) =>
    (more: LogFields, message: string): void => {
      if (rank < threshold) return;
      const line = { level: rank, time: Date.now(), pid: process.pid, ...fields, ...plain(more), msg: message };
      try {
        writeSync(fd, `${JSON.stringify(line)}\n`);
      } catch {
        // Nobody reads: nothing to be done, and nothing that traffic should suffer from.
      }
    };
  return {
    debug: at(LEVELS.debug),
    info: at(LEVELS.info),
    warn: at(LEVELS.warn),
    error: at(LEVELS.error),
    child: (more) => lineLog(level, { ...fields, ...more }, fd),
  };
}

/** Errors have no enumerable fields: without this a stack would be logged as {}. */
function plain(fields: LogFields): LogFields {
  const error = fields["err"];
  return error instanceof Error ? { ...fields, err: { message: error.message, stack: error.stack } } : fields;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
