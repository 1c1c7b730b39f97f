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

/** Kept for a destination that takes nothing at the moment (a full disk). */
const KEPT_BYTES = 1024 * 1024;

export function pinoLog(options: LogOptions): Log {
  const destination = pino.destination({ dest: options.fd ?? 2, sync: true, maxLength: KEPT_BYTES });
  // A terminal that was closed, a disk that is full: what can't be logged must not end what would have logged it.
  destination.on("error", () => undefined);
  return pino(
    { name: options.name, level: options.level, redact: ["token", "*.token", "authorization", "*.authorization"] },
    destination,
  );
}
