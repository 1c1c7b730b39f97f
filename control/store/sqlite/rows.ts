/** Rows of the SQLite schema ⇄ the model's values. */
import type { JournalEntry } from "../../model/rollout.ts";
import type { Revision, Service } from "../../model/service.ts";
import type { Retirement, StoredEvent } from "../store.ts";

export type Row = Readonly<Record<string, unknown>>;

export const text = (row: Row, column: string): string => String(row[column]);
export const number = (row: Row, column: string): number => Number(row[column]);
/** What this program itself wrote under this schema version; a change of shape is a migration's work. */
export const json = (row: Row, column: string): unknown => JSON.parse(text(row, column));

export const serviceOf = (row: Row): Service => ({
  name: text(row, "name"),
  stable: number(row, "stable"),
  previous: number(row, "previous"),
  newest: number(row, "newest"),
});

export const revisionOf = (row: Row): Revision => ({
  service: text(row, "service"),
  revision: number(row, "revision"),
  version: text(row, "version"),
  spec: json(row, "spec") as Revision["spec"],
  specHash: text(row, "spec_hash"),
  createdAtMs: number(row, "created_at_ms"),
});

export const retirementOf = (row: Row): Retirement => ({
  service: text(row, "service"),
  stage: text(row, "stage") as Retirement["stage"],
  sinceMs: number(row, "since_ms"),
});

export const entryOf = (row: Row): JournalEntry => ({
  rollout: text(row, "rollout"),
  change: number(row, "change"),
  atMs: number(row, "at_ms"),
  epoch: number(row, "epoch"),
  actor: text(row, "actor"),
  stage: text(row, "stage"),
  reason: text(row, "reason"),
  message: text(row, "message"),
});

export const eventOf = (row: Row): StoredEvent => ({
  seq: number(row, "seq"),
  atMs: number(row, "at_ms"),
  kind: text(row, "kind"),
  service: text(row, "service"),
  rollout: text(row, "rollout"),
  host: text(row, "host"),
  actor: text(row, "actor"),
  message: text(row, "message"),
});
