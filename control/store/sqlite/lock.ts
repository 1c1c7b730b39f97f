/**
 * One controller a state folder. The lock is SQLite's own lock on a file of its own, so the kernel frees it when its
 * holder dies, however it dies; a pid file beside it only tells people who holds it.
 *
 * Errors  StoreUnusable: the lock is held, or the folder can't be written.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { StoreUnusable } from "../store.ts";

export interface Lock {
  release(): void;
}

const SQLITE_BUSY = 5;

export function lock(folder: string, pid: number): Lock {
  const path = join(folder, "controller.lock");
  const pidFile = join(folder, "controller.pid");
  const db = new DatabaseSync(path, { timeout: 0 });
  try {
    db.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    db.close();
    if ((error as { readonly errcode?: number }).errcode === SQLITE_BUSY) {
      throw new StoreUnusable(`another controller${holder(pidFile)} uses the state folder ${folder}`);
    }
    throw new StoreUnusable(`the lock ${path} can't be taken: ${(error as Error).message}`);
  }
  writeFileSync(pidFile, `${pid}\n`);
  return { release: () => db.close() };
}

function holder(pidFile: string): string {
  try {
    return ` (pid ${readFileSync(pidFile, "utf8").trim()})`;
  } catch {
    return "";
  }
}
