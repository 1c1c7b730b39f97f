/**
 * The embedded store: one SQLite file, one writer. Each batch is one transaction with synchronous FULL, so what was
 * committed survives SIGKILL and a power cut alike.
 *
 * Errors  rejects with SQLite's own error when storage fails (disk full, I/O); the batch is rolled back.
 * Cost    one fsync a commit; of a rollout, the tracks that changed (tracks.ts).
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import type { HostCounts, RolloutLedger } from "../../ledger/types.ts";
import type { JournalEntry, Rollout } from "../../model/rollout.ts";
import type { Host } from "../../model/service.ts";
import { KEEP } from "../store.ts";
import type { Change, Committed, EventQuery, NewEvent, Store, StoredEvent, StoredState } from "../store.ts";
import { entryOf, eventOf, json, number, retirementOf, revisionOf, serviceOf } from "./rows.ts";
import { Tracks } from "./tracks.ts";

/** Thrown inside a transaction to take it back; an outcome outside. */
class Conflict extends Error {}

type RolloutChange = Extract<Change, { readonly kind: "rollout" }>;

export class SqliteStore implements Store {
  readonly description: string;
  readonly position = 0;
  readonly #db: DatabaseSync;
  readonly #released: () => void;
  readonly #statements = new Map<string, StatementSync>();
  readonly #tracks = new Tracks({ all: this.#all.bind(this), run: this.#run.bind(this) });
  #open = true;

  constructor(db: DatabaseSync, path: string, released: () => void) {
    this.#db = db;
    this.#released = released;
    this.description = `sqlite ${path}`;
  }

  load(): Promise<StoredState> {
    return settle(() => this.#load());
  }

  #load(): StoredState {
    const tracks = this.#tracks.load();
    return {
      epoch: this.#epoch(),
      services: this.#all("SELECT * FROM services ORDER BY name").map(serviceOf),
      revisions: this.#all("SELECT * FROM revisions ORDER BY service, revision").map(revisionOf),
      retirements: this.#all("SELECT * FROM retirements ORDER BY service").map(retirementOf),
      hosts: this.#bodies("SELECT body FROM hosts ORDER BY name") as Host[],
      rollouts: (this.#bodies("SELECT body FROM rollouts ORDER BY started_at_ms, rowid") as Rollout[]).map(
        (rollout) => ({ ...rollout, hosts: tracks.get(rollout.id) ?? [] }),
      ),
      ledgers: this.#bodies("SELECT body FROM ledgers ORDER BY rollout") as RolloutLedger[],
      counts: this.#bodies("SELECT body FROM counts ORDER BY host") as HostCounts[],
    };
  }

  commit(epoch: number, changes: readonly Change[]): Promise<Committed> {
    return settle(() => {
      this.#db.exec("BEGIN IMMEDIATE");
      try {
        const stored = this.#epoch();
        if (epoch < stored) {
          this.#db.exec("ROLLBACK");
          return { kind: "fenced", epoch: stored };
        }
        const events = changes.map((change) => this.#apply(change)).filter((event) => event !== null);
        if (events.length > 0) this.#forgetOldEvents(events.at(-1)?.seq ?? 0);
        this.#db.exec("COMMIT");
        this.#tracks.committed();
        return { kind: "ok", events };
      } catch (error) {
        this.#tracks.rolledBack();
        if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
        if (error instanceof Conflict) return { kind: "conflict", message: error.message };
        throw error;
      }
    });
  }

  raiseEpoch(to: number): Promise<{ kind: "ok" } | { kind: "taken"; epoch: number }> {
    return settle(() => {
      const { changes } = this.#statement("UPDATE meta SET epoch = ? WHERE epoch < ?").run(to, to);
      return changes === 1 ? { kind: "ok" } : { kind: "taken", epoch: this.#epoch() };
    });
  }

  journal(rollout: string): Promise<readonly JournalEntry[]> {
    return settle(() => this.#all("SELECT * FROM journal WHERE rollout = ? ORDER BY change", rollout).map(entryOf));
  }

  events(query: EventQuery): Promise<readonly StoredEvent[]> {
    return settle(() =>
      this.#all(
        `SELECT * FROM events WHERE seq > ?1 AND (?2 = '' OR service = ?2) ORDER BY seq DESC LIMIT ?3`,
        query.afterSeq,
        query.service,
        query.limit,
      )
        .map(eventOf)
        .reverse(),
    );
  }

  /** The lock keeps other writers out. */
  follow(): () => void {
    return () => undefined;
  }

  close(): Promise<void> {
    return settle(() => {
      if (!this.#open) return;
      this.#open = false;
      this.#db.close();
      this.#released();
    });
  }

  #apply(change: Change): StoredEvent | null {
    switch (change.kind) {
      case "service": {
        const { name, stable, previous, newest } = change.service;
        this.#run(
          `INSERT INTO services VALUES (?, ?, ?, ?) ON CONFLICT (name)
           DO UPDATE SET stable = excluded.stable, previous = excluded.previous, newest = excluded.newest`,
          ...[name, stable, previous, newest],
        );
        return null;
      }
      case "revision": {
        const { service, revision, version, spec, specHash, createdAtMs } = change.revision;
        const { changes } = this.#statement("INSERT OR IGNORE INTO revisions VALUES (?, ?, ?, ?, ?, ?)").run(
          ...[service, revision, version, JSON.stringify(spec), specHash, createdAtMs],
        );
        if (changes === 0) throw new Conflict(`revision ${revision} of ${service} is stored already`);
        return null;
      }
      case "forget-service":
        this.#run("DELETE FROM services WHERE name = ?", change.service);
        return null;
      case "retirement": {
        const { service, stage, sinceMs } = change.retirement;
        this.#run("INSERT OR REPLACE INTO retirements VALUES (?, ?, ?)", service, stage, sinceMs);
        return null;
      }
      case "end-retirement":
        this.#run("DELETE FROM retirements WHERE service = ?", change.service);
        return null;
      case "host":
        this.#run("INSERT OR REPLACE INTO hosts VALUES (?, ?)", change.host.name, JSON.stringify(change.host));
        return null;
      case "rollout":
        this.#rollout(change);
        return null;
      case "ledger":
        this.#run(
          "INSERT OR REPLACE INTO ledgers VALUES (?, ?)",
          ...[change.ledger.rollout, JSON.stringify(change.ledger)],
        );
        return null;
      case "counts":
        this.#run("INSERT OR REPLACE INTO counts VALUES (?, ?)", change.counts.host, JSON.stringify(change.counts));
        return null;
      case "event":
        return this.#event(change.event);
    }
  }

  #rollout({ rollout, expect, entries }: RolloutChange): void {
    const stored = this.#statement("SELECT change FROM rollouts WHERE id = ?").get(rollout.id);
    const at = stored === undefined ? -1 : number(stored, "change");
    if (at !== expect) throw new Conflict(`rollout ${rollout.id} is at change ${at}, not at ${expect}`);
    const { hosts: _tracks, ...body } = rollout;
    this.#run(
      `INSERT INTO rollouts VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id)
       DO UPDATE SET change = excluded.change, ended_at_ms = excluded.ended_at_ms, body = excluded.body`,
      ...[rollout.id, rollout.service, rollout.change, rollout.startedAtMs, rollout.endedAtMs, JSON.stringify(body)],
    );
    this.#tracks.write(rollout, at);
    for (const e of entries) {
      this.#run(
        "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        ...[e.rollout, e.change, e.atMs, e.epoch, e.actor, e.stage, e.reason, e.message],
      );
    }
    if (at !== -1) return;
    this.#run(
      `DELETE FROM rollouts WHERE service = ?1 AND ended_at_ms > 0 AND id NOT IN
         (SELECT id FROM rollouts WHERE service = ?1 ORDER BY started_at_ms DESC, rowid DESC LIMIT ?2)`,
      ...[rollout.service, KEEP.rolloutsPerService],
    );
  }

  #event(event: NewEvent): StoredEvent {
    const { lastInsertRowid } = this.#statement(
      `INSERT INTO events (at_ms, kind, service, rollout, host, actor, message) VALUES (?, ?, ?, ?, ?, ?, ?)`,
    ).run(event.atMs, event.kind, event.service, event.rollout, event.host, event.actor, event.message);
    return { ...event, seq: Number(lastInsertRowid) };
  }

  #forgetOldEvents(newest: number): void {
    this.#run("DELETE FROM events WHERE seq <= ?", newest - KEEP.events);
  }

  #epoch(): number {
    return number(this.#statement("SELECT epoch FROM meta").get() ?? {}, "epoch");
  }

  #bodies(sql: string): unknown[] {
    return this.#all(sql).map((row) => json(row, "body"));
  }

  #all(sql: string, ...values: readonly SQLInputValue[]): Readonly<Record<string, unknown>>[] {
    return this.#statement(sql).all(...values);
  }

  #run(sql: string, ...values: readonly SQLInputValue[]): void {
    this.#statement(sql).run(...values);
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/** SQLite answers at once; the port promises, as a store beyond a network would. */
function settle<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => resolve(work()));
}
