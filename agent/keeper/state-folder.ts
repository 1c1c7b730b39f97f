/**
 * The state folder belongs to one agent at a time.
 *
 * The lock is the kernel's, so it ends with its holder however that ends, and holds between containers that share a
 * volume; there is nothing stale to judge. Node has no flock of its own, but its SQLite takes such a lock on a file.
 *
 * Errors  an answer with one line for the operator.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Log } from "../../proto/kernel/log.ts";
import { readProcesses } from "./leftovers.ts";
import { messageOf } from "./log.ts";

export interface StateFolder {
  /** `<state>/keeper`, for the keeper's own files. */
  readonly own: string;
  readonly processesFile: string;
  release(): void;
}

const SQLITE_BUSY = 5;

export function takeStateFolder(stateDir: string, log: Log): StateFolder | { readonly error: string } {
  const own = join(stateDir, "keeper");
  const processesFile = join(own, "processes.json");
  let lock: DatabaseSync | undefined;
  try {
    mkdirSync(own, { recursive: true, mode: 0o700 });
    lock = new DatabaseSync(join(own, "lock"), { timeout: 0 });
    lock.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
  } catch (error) {
    lock?.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY)
      return { error: `the state folder ${stateDir} can't be used: ${messageOf(error)}` };
    const holder = readProcesses(processesFile, log).find(({ kind }) => kind === "keeper");
    const who = holder === undefined ? "another agent" : `another agent (pid ${String(holder.pid)})`;
    return { error: `the state folder ${stateDir} is in use by ${who}; give each agent a folder of its own` };
  }
  const held = lock;
  return { own, processesFile, release: () => held.close() };
}
