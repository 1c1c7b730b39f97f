/**
 * Brings a database to the schema that this program knows: each migration once, in order, all in one transaction, with
 * the reached version in `user_version`. The file carries `application_id`, so that a database of some other program
 * is never taken for ours.
 *
 * Errors  StoreUnusable: a schema newer than known, another program's database.
 */
import type { DatabaseSync } from "node:sqlite";
import { StoreUnusable } from "../store.ts";
import { first } from "./migrations/0001-first.ts";
import { strategies } from "./migrations/0002-strategies.ts";
import { tracks } from "./migrations/0003-tracks.ts";

export interface Migration {
  readonly version: number;
  readonly sql: string;
  /** What SQL alone can't do, after it, in the same transaction. */
  readonly then?: (db: DatabaseSync) => void;
}

export const MIGRATIONS: readonly Migration[] = [first, strategies, tracks];

/** "BTN1" */
export const APPLICATION_ID = 0x42544e31;

/** Throws for what this program must not write to; it reads only. Answers the schema's version. */
export function schemaOf(db: DatabaseSync, path: string, migrations: readonly Migration[] = MIGRATIONS): number {
  const known = migrations.at(-1)?.version ?? 0;
  const stored = numberOf(db, "user_version");
  const owner = numberOf(db, "application_id");
  const tables = db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.["n"];
  if (owner !== APPLICATION_ID && tables !== 0) {
    throw new StoreUnusable(`${path} is a database of another program; name another folder with --state`);
  }
  if (stored > known) {
    throw new StoreUnusable(
      `${path} has schema ${stored}, and this program knows schemas up to ${known}: ` +
        "start the newer Baton that wrote it, or name another folder with --state",
    );
  }
  return stored;
}

export function migrate(db: DatabaseSync, path: string, migrations: readonly Migration[] = MIGRATIONS): void {
  const known = migrations.at(-1)?.version ?? 0;
  const stored = schemaOf(db, path, migrations);
  if (stored === known) return;
  db.exec("BEGIN IMMEDIATE");
  try {
    for (const { sql, then } of migrations.filter(({ version }) => version > stored)) {
      db.exec(sql);
      then?.(db);
    }
    db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${known}`);
    db.exec("COMMIT");
  } catch (error) {
    db.exec("ROLLBACK");
    throw error;
  }
}

function numberOf(db: DatabaseSync, pragma: "user_version" | "application_id"): number {
  const value = db.prepare(`PRAGMA ${pragma}`).get()?.[pragma];
  return typeof value === "number" ? value : 0;
}
