/**
 * The first schema. What is asked for by its fields has columns; what is only read and written whole is JSON, as the
 * model has it.
 */
export const first = {
  version: 1,
  sql: `
    CREATE TABLE meta (
      only INTEGER PRIMARY KEY CHECK (only = 1),
      epoch INTEGER NOT NULL
    ) STRICT;
    INSERT INTO meta (only, epoch) VALUES (1, 0);

    CREATE TABLE services (
      name TEXT PRIMARY KEY,
      stable INTEGER NOT NULL,
      previous INTEGER NOT NULL,
      newest INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE revisions (
      service TEXT NOT NULL REFERENCES services (name) ON DELETE CASCADE,
      revision INTEGER NOT NULL,
      version TEXT NOT NULL,
      spec TEXT NOT NULL CHECK (json_valid(spec)),
      spec_hash TEXT NOT NULL,
      created_at_ms INTEGER NOT NULL,
      PRIMARY KEY (service, revision)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE retirements (
      service TEXT PRIMARY KEY,
      stage TEXT NOT NULL CHECK (stage IN ('gateways', 'hosts', 'done')),
      since_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE hosts (
      name TEXT PRIMARY KEY,
      body TEXT NOT NULL CHECK (json_valid(body))
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE rollouts (
      id TEXT PRIMARY KEY,
      service TEXT NOT NULL REFERENCES services (name) ON DELETE CASCADE,
      change INTEGER NOT NULL,
      started_at_ms INTEGER NOT NULL,
      ended_at_ms INTEGER NOT NULL,
      body TEXT NOT NULL CHECK (json_valid(body))
    ) STRICT;
    CREATE INDEX rollouts_by_service ON rollouts (service, started_at_ms);

    CREATE TABLE journal (
      rollout TEXT NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
      change INTEGER NOT NULL,
      at_ms INTEGER NOT NULL,
      epoch INTEGER NOT NULL,
      actor TEXT NOT NULL,
      stage TEXT NOT NULL,
      reason TEXT NOT NULL,
      message TEXT NOT NULL,
      PRIMARY KEY (rollout, change)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE ledgers (
      rollout TEXT PRIMARY KEY REFERENCES rollouts (id) ON DELETE CASCADE,
      body TEXT NOT NULL CHECK (json_valid(body))
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE counts (
      host TEXT PRIMARY KEY,
      body TEXT NOT NULL CHECK (json_valid(body))
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE events (
      seq INTEGER PRIMARY KEY AUTOINCREMENT,
      at_ms INTEGER NOT NULL,
      kind TEXT NOT NULL,
      service TEXT NOT NULL,
      rollout TEXT NOT NULL,
      host TEXT NOT NULL,
      actor TEXT NOT NULL,
      message TEXT NOT NULL
    ) STRICT;
  `,
} as const;
