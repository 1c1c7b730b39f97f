/** Stores as earlier versions of the program left them: stores/schema-N.sql was written by the one that had schema N. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, expect, test } from "vitest";
import type { StoredState } from "../../../control/store/store.ts";
import { openSqliteStore } from "../../../control/store/sqlite/open.ts";
import { specHash } from "../../../proto/contract/spec/document.ts";
import { parseFiles } from "../../../proto/contract/spec/parse.ts";
import { rollout, strategy } from "../../support/samples.ts";

const folders: string[] = [];
afterEach(() => {
  for (const made of folders.splice(0)) rmSync(made, { recursive: true, force: true });
});

function before(): string {
  const folder = mkdtempSync(join(tmpdir(), "baton-upgrade-"));
  folders.push(folder);
  const db = new DatabaseSync(join(folder, "controller.db"));
  db.exec(readFileSync(join(import.meta.dirname, "stores", "schema-1.sql"), "utf8"));
  db.close();
  return folder;
}

async function upgraded(folder: string): Promise<StoredState> {
  const { store, damaged } = openSqliteStore({ folder, pid: 1, nowMs: 0 });
  expect(damaged).toBeNull();
  const state = await store.load();
  await store.close();
  return state;
}

const hashOfDocument = (text: string): string => {
  const parsed = parseFiles([{ file: "a.yaml", text, baseDir: "/srv" }]);
  if (parsed.kind === "invalid") throw new Error(JSON.stringify(parsed.problems));
  return specHash(parsed.services[0]!.spec);
};

/** What was applied when the store was written. */
const SHOP = `
apiVersion: baton/v1
kind: Service
metadata: { name: shop }
spec:
  version: v1
  listen: [{ address: 127.0.0.1, port: 8080, protocol: http }]
  run: { process: { command: ["node", "server.js"], cwd: "." } }
  health: { path: /healthz, interval: 100ms, timeout: 100ms, healthyThreshold: 1, unhealthyThreshold: 2 }
  drain: { timeout: 500ms, kill: 500ms }
  strategy:
    rolling:
      maxSurge: 1
      maxUnavailable: 0
      minHealthyTime: 50ms
      healthyDeadline: 2s
      progressDeadline: 10s
      autoRevert: true
`;
const CART = `
apiVersion: baton/v1
kind: Service
metadata: { name: cart, labels: { team: web } }
spec:
  version: "7"
  listen: [{ address: 127.0.0.1, port: 8081, protocol: http }]
  hostnames: [cart.example]
  rules:
    - matches: [{ path: { type: PathPrefix, value: /pay } }]
      timeouts: { request: 3s }
      retry: { attempts: 1, methods: [POST] }
    - matches: [{ path: { type: PathPrefix, value: / } }]
  placement: { labels: { zone: a } }
  run: { external: { instances: [{ version: "7", address: "127.0.0.1:9001" }] } }
`;

test("a document that is applied again after the upgrade is the revision that it was, not a new one", async () => {
  const { revisions } = await upgraded(before());
  const shop = revisions.find(({ service, revision }) => service === "shop" && revision === 1);
  expect(shop?.specHash).toBe(hashOfDocument(SHOP));
  const cart = revisions.find(({ service }) => service === "cart");
  expect(cart?.specHash).toBe(hashOfDocument(CART));
  for (const { spec, specHash: hash } of revisions) expect(specHash(spec)).toBe(hash);
});

test("rollouts, ended and under way, have every field that the engine reads, and keep what they had", async () => {
  const { rollouts, services, ledgers, counts, hosts, epoch } = await upgraded(before());
  expect(rollouts.map(({ service, stage, pause }) => [service, stage.kind, pause?.message])).toEqual([
    ["shop", "succeeded", undefined],
    ["cart", "step", undefined],
    ["shop", "step", "kept for later"],
  ]);
  for (const one of rollouts) {
    expect(Object.keys(one).sort()).toEqual(Object.keys(rollout()).sort());
    expect(Object.keys(one.strategy).sort()).toEqual(Object.keys(strategy).sort());
    expect(Object.keys(one.step).sort()).toEqual(Object.keys(rollout().step).sort());
    expect(one.hosts.map((track) => track.host)).toEqual(["host-1"]);
  }
  expect(rollouts[2]).toMatchObject({
    strategy: { autoRevert: false, healthyDeadlineMs: 1_000 },
    judgedFrom: { v1: { requests: 40, errors: 1, lost: 0, latency: [] } },
    hosts: [{ stage: "starting", exitsAllowed: 1 }],
  });
  expect(services.map(({ name, stable, newest }) => [name, stable, newest])).toEqual([
    ["cart", 0, 1],
    ["shop", 1, 2],
  ]);
  expect([ledgers.length, counts.length, hosts.length, epoch]).toEqual([3, 2, 2, 1]);
});

test("an upgrade that is done is not done again", async () => {
  const folder = before();
  const once = await upgraded(folder);
  expect(await upgraded(folder)).toEqual(once);
});
