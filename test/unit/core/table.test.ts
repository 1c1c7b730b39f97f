/** Who is in the workers' table when not everything is as it was asked to be. */
import { expect, test } from "vitest";
import { buildTable } from "../../../agent/core/apply/table.ts";
import type { InstanceView } from "../../../agent/core/instances/record.ts";
import { assignment, health, revision, run, service } from "../../support/core/assignments.ts";

const instance = (number: number, changes: Partial<InstanceView>): InstanceView => ({
  ...{ id: `shop-r${number}-0-aaaa`, key: `r${number}`, service: "shop", revision: number, version: `v${number}` },
  ...{ run: run(), health: health(), drain: service([]).drain, mode: "serving", address: "127.0.0.1" },
  ...{ port: 9_000 + number, process: "p", starts: 1, restarts: 0, exit: null },
  ...{ alive: true, ending: false, ready: true, wasReady: true },
  ...changes,
});

const routed = (revisions: Parameters<typeof service>[0], instances: readonly InstanceView[]): string[] =>
  buildTable({
    assignment: assignment(1, [service(revisions)]),
    instances,
    listeners: [{ key: "127.0.0.1:8080", services: ["shop"] }],
    accepting: true,
    slot: () => 1,
    hasSlot: () => true,
  }).services.flatMap(({ versions }) =>
    versions.flatMap(({ version, weight, endpoints }) => endpoints.map(({ mode }) => `${version} ${weight} ${mode}`)),
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
