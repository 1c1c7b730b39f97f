/** The log adapter: pino, JSON lines to stderr (stdout belongs to what a command prints). */
import { pino } from "pino";
import type { Log } from "../kernel/log.ts";

export interface LogOptions {
  /** Which part speaks: "controller", "core", "worker", … */
  readonly name: string;
  /** debug, info, warn, error or silent. */
  readonly level: string;
  /** 2 by default. Writes are synchronous, so that the last words of a dying process are kept. */
  readonly fd?: number;
}

export function pinoLog(options: LogOptions): Log {
  return pino(
    { name: options.name, level: options.level, redact: ["token", "*.token", "authorization", "*.authorization"] },
    pino.destination({ dest: options.fd ?? 2, sync: true }),
  );
}
