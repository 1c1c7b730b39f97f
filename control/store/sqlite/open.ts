/**
 * Opens the embedded store in a state folder: takes the lock, looks whether the database can be trusted, brings it to
 * the newest schema. A damaged database is set aside whole (with its -wal and -shm, so that `sqlite3 .recover` finds
 * all there is) before anything is written to it, and an empty one takes its place; the caller tells people. What an
 * empty controller may not do to a running fleet is told in control/DESIGN.md, "Store".
 *
 * Errors  StoreUnusable, in one sentence: not writable, locked, a newer schema, another program's database.
 */
import { accessSync, constants, existsSync, mkdirSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { hashOf } from "../../../proto/contract/canonical.ts";
import { StoreUnusable } from "../store.ts";
import type { Store } from "../store.ts";
import { lock } from "./lock.ts";
import { migrate, schemaOf } from "./migrate.ts";
import { json, text } from "./rows.ts";
import { SqliteStore } from "./sqlite-store.ts";

export interface OpenOptions {
  readonly folder: string;
  /** Named to a second controller that comes for the same folder. */
  readonly pid: number;
  /** Wall clock, for the name of what is set aside. */
  readonly nowMs: number;
}

export interface Opened {
  readonly store: Store;
  readonly damaged: { readonly setAside: string; readonly why: string } | null;
}

export function openSqliteStore(options: OpenOptions): Opened {
  const { folder } = options;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new StoreUnusable(`the state folder ${folder} can't be used: ${(error as Error).message}`);
  }
  const held = lock(folder, options.pid);
  try {
    const path = join(folder, "controller.db");
    const why = damageOf(path);
    const damaged = why === null ? null : { setAside: setAside(path, options.nowMs), why };
    const db = new DatabaseSync(path, { timeout: 5_000 });
    try {
      // FULL: a commit is on the disk before it is acted on, or the journal would lie after a power cut.
      db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF");
      migrate(db, path);
      return { store: new SqliteStore(db, path, () => held.release()), damaged };
    } catch (error) {
      db.close();
      throw error;
    }
  } catch (error) {
    held.release();
    if (error instanceof StoreUnusable) throw error;
    throw new StoreUnusable(`the store in ${folder} can't be opened: ${(error as Error).message}`);
  }
}

/**
 * Read-only, so that a look at a damaged file, or at one that is not ours, changes nothing in it: not even its journal is
 * folded in.
 */
function damageOf(path: string): string | null {
  if (!existsSync(path)) return existsSync(`${path}-wal`) ? "its log is there without it" : null;
  if (statSync(path).size === 0) return "it is empty";
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { readOnly: true, timeout: 5_000 });
    const faults = db.prepare("PRAGMA integrity_check(3)").all();
    const words = faults.map((row) => String(row["integrity_check"]));
    if (words.length !== 1 || words[0] !== "ok") return words.join("; ").replaceAll("\n", " ");
    return alteredRecord(db, schemaOf(db, path));
  } catch (error) {
    if (isDamage(error)) return (error as Error).message;
    throw error;
  } finally {
    db?.close();
  }
}

/**
 * SQLite looks after pages, not after what is written on them: a record that can't be read, and a revision that is not the
 * one that was stored, are found here.
 */
function alteredRecord(db: DatabaseSync, schema: number): string | null {
  for (const [table, column, since] of RECORDS) {
    if (schema < since) continue;
    for (const row of db.prepare(`SELECT * FROM ${table}`).iterate()) {
      let value: unknown;
      try {
        value = json(row, column);
      } catch {
        return `a record of ${table} can't be read`;
      }
      if (table === "revisions" && hashOf(value) !== text(row, "spec_hash")) {
        return `revision ${text(row, "revision")} of ${text(row, "service")} is not what was stored: its hash differs`;
      }
    }
  }
  return null;
}

/** Table, its column of JSON, and the schema that brought it. */
const RECORDS = [
  ["revisions", "spec", 1],
  ["hosts", "body", 1],
  ["rollouts", "body", 1],
  ["ledgers", "body", 1],
  ["counts", "body", 1],
  ["tracks", "body", 3],
] as const;

/** SQLITE_CORRUPT and SQLITE_NOTADB, and their extended codes; of a schema's own text it says so in words alone. */
export function isDamage(error: unknown): boolean {
  if (/^malformed database schema/.test((error as Error).message)) return true;
  const code = (error as { readonly errcode?: unknown }).errcode;
  return typeof code === "number" && [11, 26].includes(code & 0xff);
}

function setAside(path: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, "");
  let aside = `${path}.damaged-${stamp}`;
  for (let n = 2; existsSync(aside); n++) aside = `${path}.damaged-${stamp}-${n}`;
  // Should we die in between, the log that is left alone is found by the next start; a database left without its log
  // would pass for a whole one, and be older than what was promised.
  for (const suffix of ["", "-wal", "-shm"]) {
    if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
  }
  return aside;
}
