/**
 * A rollout's hosts in rows of their own. As one text with their rollout, a thousand of them were written anew at every
 * change of one.
 */
import type { DatabaseSync } from "node:sqlite";
import { json, text } from "../rows.ts";

export const tracks = {
  version: 3,
  sql: `
    CREATE TABLE tracks (
      rollout TEXT NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
      position INTEGER NOT NULL,
      body TEXT NOT NULL CHECK (json_valid(body)),
      PRIMARY KEY (rollout, position)
    ) STRICT, WITHOUT ROWID;
  `,
  then(db: DatabaseSync): void {
    const insert = db.prepare("INSERT INTO tracks VALUES (?, ?, ?)");
    const rest = db.prepare("UPDATE rollouts SET body = ? WHERE id = ?");
    for (const row of db.prepare("SELECT id, body FROM rollouts").all()) {
      const id = text(row, "id");
      const { hosts, ...body } = json(row, "body") as { readonly hosts: readonly unknown[] };
      for (const [position, track] of hosts.entries()) insert.run(id, position, JSON.stringify(track));
      rest.run(JSON.stringify(body), id);
    }
  },
} as const;
