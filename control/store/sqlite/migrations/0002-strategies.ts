/**
 * Strategies besides rolling, matches beyond the path: what was stored before has none of their fields. Each is given
 * what it meant all along, which is also what a document that does not name it means; so a document that is applied
 * again after the upgrade is found to be the revision that it was (`spec_hash` is made anew with the spec).
 *
 * The values are written out here and not taken from defaults.ts: what a stored revision means must not change when a
 * default does.
 */
import type { DatabaseSync } from "node:sqlite";
import { hashOf } from "../../../../proto/contract/canonical.ts";
import { json, number, text } from "../rows.ts";

type Body = Readonly<Record<string, unknown>>;

const NO_FILTER = { set: [], add: [], remove: [] };
const RULE = { method: null, headers: [], queryParams: [], requestHeaders: NO_FILTER, responseHeaders: NO_FILTER };
const STRATEGY = {
  onSupersede: "retarget",
  rollbackWindow: 0,
  analysis: null,
  staggerMs: 0,
  orderBy: "",
  firstHostMs: 0,
};

export const strategies = {
  version: 2,
  sql: "",
  then(db: DatabaseSync): void {
    const setSpec = db.prepare("UPDATE revisions SET spec = ?, spec_hash = ? WHERE service = ? AND revision = ?");
    for (const row of db.prepare("SELECT * FROM revisions").all()) {
      const spec = specOf(json(row, "spec") as Body);
      setSpec.run(JSON.stringify(spec), hashOf(spec), text(row, "service"), number(row, "revision"));
    }
    const setRollout = db.prepare("UPDATE rollouts SET body = ? WHERE id = ?");
    for (const row of db.prepare("SELECT id, body FROM rollouts").all()) {
      setRollout.run(JSON.stringify(rolloutOf(json(row, "body") as Body)), text(row, "id"));
    }
  },
} as const;

function specOf(spec: Body): Body {
  const rules = spec["rules"] as readonly Body[];
  return { ...spec, rules: rules.map((rule) => ({ ...RULE, ...rule })), strategy: strategyOf(spec) };
}

const strategyOf = (holder: Body): Body => ({ ...STRATEGY, ...(holder["strategy"] as Body) });

function rolloutOf(rollout: Body): Body {
  const judgedFrom = Object.entries(rollout["judgedFrom"] as Readonly<Record<string, Body>>);
  return {
    step: { index: 0, sinceMs: rollout["startedAtMs"], confirmedAtMs: 0, promoted: false },
    split: { weight: 0, routes: [], mirrors: [] },
    analyses: [],
    accepted: [],
    lastBegunAtMs: 0,
    fastTrack: false,
    ...rollout,
    strategy: strategyOf(rollout),
    judgedFrom: Object.fromEntries(judgedFrom.map(([version, seen]) => [version, { latency: [], ...seen }])),
  };
}
