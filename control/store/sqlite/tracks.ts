/**
 * Rows of a rollout's hosts, in the rollout's order. A change of a rollout leaves most of its tracks the objects that
 * they were: only the others are written.
 *
 * Cost  one comparison a host, one row written for each that changed.
 */
import type { SQLInputValue } from "node:sqlite";
import type { HostTrack, Rollout } from "../../model/rollout.ts";
import { json, text } from "./rows.ts";
import type { Row } from "./rows.ts";

interface Sql {
  all(sql: string, ...values: readonly SQLInputValue[]): Row[];
  run(sql: string, ...values: readonly SQLInputValue[]): void;
}

interface Written {
  readonly change: number;
  readonly tracks: readonly HostTrack[];
}

export class Tracks {
  readonly #sql: Sql;
  /** What the rows hold, by rollout under way: of committed transactions only. */
  #written = new Map<string, Written>();
  #pending = new Map<string, Written | null>();

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  /** All of them, by rollout. */
  load(): ReadonlyMap<string, readonly HostTrack[]> {
    const tracks = new Map<string, HostTrack[]>();
    for (const row of this.#sql.all("SELECT rollout, body FROM tracks ORDER BY rollout, position")) {
      const id = text(row, "rollout");
      const known = tracks.get(id) ?? [];
      if (known.length === 0) tracks.set(id, known);
      known.push(json(row, "body") as HostTrack);
    }
    return tracks;
  }

  /** Within a transaction; `before`: the rollout's `change` that is stored, -1 for none. */
  write(rollout: Rollout, before: number): void {
    const pending = this.#pending.get(rollout.id);
    const known = pending === undefined ? this.#written.get(rollout.id) : pending;
    const held = before !== -1 && known?.change === before ? known.tracks : undefined;
    const { id, hosts, change, endedAtMs } = rollout;
    for (const [position, track] of hosts.entries()) {
      if (held !== undefined && held[position] === track) continue;
      this.#sql.run("INSERT OR REPLACE INTO tracks VALUES (?, ?, ?)", id, position, JSON.stringify(track));
    }
    if (held?.length !== hosts.length) {
      this.#sql.run("DELETE FROM tracks WHERE rollout = ? AND position >= ?", id, hosts.length);
    }
    this.#pending.set(id, endedAtMs > 0 ? null : { change, tracks: hosts });
  }

  /** What was written in this transaction is stored now. */
  committed(): void {
    for (const [id, written] of this.#pending) {
      if (written === null) this.#written.delete(id);
      else this.#written.set(id, written);
    }
    this.#pending.clear();
  }

  rolledBack(): void {
    this.#pending.clear();
  }
}
