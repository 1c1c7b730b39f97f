/** Who is in the workers' table when not everything is as it was asked to be. */
import { expect, test } from "vitest";
import { buildTable } from "../../../agent/core/apply/table.ts";
import type { ServiceConfig } from "../../../agent/proxy/config.ts";
import type { InstanceView } from "../../../agent/core/instances/record.ts";
import { assignment, health, revision, run, service } from "../../support/core/assignments.ts";

const instance = (number: number, changes: Partial<InstanceView>): InstanceView => ({
  ...{ id: `shop-r${number}-0-aaaa`, key: `r${number}`, service: "shop", revision: number, version: `v${number}` },
  ...{ run: run(), health: health(), drain: service([]).drain, mode: "serving", address: "127.0.0.1" },
  ...{ port: 9_000 + number, process: "p", up: true, starts: 1, restarts: 0, exit: null },
  ...{ alive: true, ending: false, ready: true, wasReady: true },
  ...changes,
});

type Revisions = Parameters<typeof service>[0];

const build = (
  revisions: Revisions,
  instances: readonly InstanceView[],
  more: Parameters<typeof service>[1] = {},
): ServiceConfig =>
  buildTable({
    assignment: assignment(1, [service(revisions, more)]),
    instances,
    listeners: [{ key: "127.0.0.1:8080", services: ["shop"] }],
    accepting: true,
    slot: () => 1,
    hasSlot: () => true,
  }).services[0]!;

const routed = (revisions: Revisions, instances: readonly InstanceView[]): string[] =>
  build(revisions, instances).versions.flatMap(({ version, weight, endpoints }) =>
    endpoints.map(({ mode }) => `${version} ${weight} ${mode}`),
  );

test("a new version that has crashed leaves its requests to the draining old one, not to a 503", () => {
  const asked = [revision(1, "draining"), revision(2)];
  const old = instance(1, { mode: "draining" });
  expect(routed(asked, [old, instance(2, {})])).toEqual(["v1 0 draining", "v2 10000 serving"]);
  expect(routed(asked, [old, instance(2, { alive: false, ready: false })])).toEqual(["v1 10000 serving"]);
});

test("an unwell old version is no fallback, and one that is to leave with nothing to follow it still leaves", () => {
  const crashed = instance(2, { alive: false, ready: false });
  const unwell = instance(1, { mode: "draining", ready: false });
  expect(routed([revision(1, "draining"), revision(2)], [unwell, crashed])).toEqual(["v1 0 draining"]);
  expect(routed([revision(1, "draining")], [instance(1, { mode: "draining" })])).toEqual(["v1 0 draining"]);
});

test("a version that has nobody ready keeps its share, so that no one else's callers change version for it", () => {
  const asked = [revision(1, "serving", { weight: 5_000 }), revision(2, "serving", { weight: 3_000 })];
  asked.push(revision(3, "serving", { weight: 2_000 }));
  const sick = { ready: false, wasReady: false };
  const weights = (instances: readonly InstanceView[]): number[] =>
    build(asked, instances).versions.map(({ weight }) => weight);
  expect(weights([instance(1, {}), instance(2, sick), instance(3, {})])).toEqual([5_000, 3_000, 2_000]);
  expect(weights([instance(1, {}), instance(2, {})])).toEqual([5_000, 3_000, 2_000]);
  expect(weights([])).toEqual([5_000, 3_000, 2_000]);
  // Shares that do not sum to the whole are scaled as they were asked for, whoever is ready.
  const half = [revision(1, "serving", { weight: 1_000 }), revision(2, "serving", { weight: 2_000 })];
  expect(build(half, [instance(2, {})]).versions.map(({ weight }) => weight)).toEqual([3_333, 6_667]);
});

test("a version without a share is in the table for its routes, and stands in for nobody", () => {
  const asked = [revision(1), revision(2, "serving", { weight: 0 })];
  expect(routed(asked, [instance(1, {}), instance(2, {})])).toEqual(["v1 10000 serving", "v2 0 serving"]);
  expect(routed(asked, [instance(2, {})])).toEqual(["v2 0 serving"]);
});

test("while others stand in, what can't serve has no share: not even the callers of a moment go nowhere", () => {
  const asked = [revision(1, "draining"), revision(2)];
  const crashed = instance(2, { alive: false, ready: false });
  const { versions } = build(asked, [instance(1, { mode: "draining" }), crashed]);
  expect(versions).toMatchObject([{ revision: 1, weight: 10_000 }]);
  const elsewhere = { host: "b", address: "127.0.0.2", port: 80, mode: "serving" as const };
  const beside = build([revision(2)], [crashed], { endpoints: [elsewhere] });
  expect(beside.versions).toMatchObject([{ revision: 0, weight: 10_000 }]);
});
