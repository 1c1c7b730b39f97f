import { expect, test } from "vitest";
import type { EndpointConfig, ServiceConfig, TableConfig } from "../../../agent/proxy/config.ts";
import type { Endpoint } from "../../../agent/proxy/endpoint.ts";
import type { Ground } from "../../../agent/proxy/ground.ts";
import { DEFAULT_LIMITS } from "../../../agent/proxy/limits.ts";
import { ReadBuffers } from "../../../agent/proxy/sockets.ts";
import { COUNTER } from "../../../agent/proxy/stats-layout.ts";
import { Stats, memoryStatsFile } from "../../../agent/proxy/stats-writer.ts";
import { Choice } from "../../../agent/proxy/split.ts";
import { EMPTY_TABLE, compileTable } from "../../../agent/proxy/table.ts";
import type { Table } from "../../../agent/proxy/table.ts";
import { Wheel } from "../../../agent/proxy/wheel.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { seededRandom } from "../../../proto/kernel/random.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { KEY, endpoint, service } from "../../support/proxy-kit.ts";

function start() {
  const clock = new FakeClock();
  const failed: string[] = [];
  const limits = { ...DEFAULT_LIMITS, upstreamConnections: 2 };
  const ground: Ground = {
    clock,
    random: seededRandom(3),
    log: silentLog,
    limits,
    wheel: new Wheel(clock, (then) => then()),
    stats: new Stats(memoryStatsFile(16), clock, (error) => {
      throw error;
    }),
    buffers: new ReadBuffers(limits),
    onEndpointFailed: (id) => void failed.push(id),
  };
  return { clock, ground, failed };
}

const config = (services: readonly ServiceConfig[], more: Partial<TableConfig> = {}): TableConfig => ({
  sequence: 1,
  agent: "edge",
  listeners: [{ key: KEY, services: services.map((_, i) => i) }],
  services,
  ...more,
});

function compiled(ground: Ground, services: readonly ServiceConfig[], live: Table = EMPTY_TABLE): Table {
  const result = compileTable(ground, config(services), live);
  if (result.kind !== "ok") throw new Error(result.why);
  return result.table;
}

/** Picks `count` times, each claim given back at once unless `keep`, and counts by endpoint. */
function picks(ground: Ground, table: Table, count: number, tried: readonly Endpoint[] = [], keep = false) {
  const seen: Record<string, number> = {};
  for (let i = 0; i < count; i++) {
    const picked = table.services.get("shop")!.picker.pick(ground.random, ground.wheel.now, tried, new Choice());
    const name = typeof picked === "string" ? picked : picked.id;
    seen[name] = (seen[name] ?? 0) + 1;
    if (typeof picked !== "string" && !keep) picked.inFlight -= 1;
  }
  return seen;
}

const versions = (...list: (readonly [number, readonly EndpointConfig[]])[]): Partial<ServiceConfig> => ({
  versions: list.map(([weight, endpoints], i) => ({
    revision: i + 1,
    version: `v${String(i + 1)}`,
    weight,
    endpoints,
  })),
});
const named = (table: Table, id: string): Endpoint => [...table.endpoints.values()].find((one) => one.id === id)!;

test("a host goes to its exact name, then to the longest wildcard, then to the service for all", () => {
  const { ground } = start();
  const table = compiled(ground, [
    service([], { name: "all" }),
    service([], { name: "exact", hostnames: ["A.test"] }),
    service([], { name: "wide", hostnames: ["*.test"] }),
    service([], { name: "narrow", hostnames: ["*.b.test"] }),
  ]);
  const listener = table.listeners.get(KEY)!;
  const name = (host: string): string | undefined => listener.host(host)?.only?.name;
  expect(["a.test", "a.TEST:80", "x.test", "x.b.test", "b.test", "test", "[::1]:80", ""].map(name)).toEqual([
    "exact",
    "exact",
    "wide",
    "narrow",
    "wide",
    "all",
    "all",
    "all",
  ]);
});

test("a table that does not hold together is refused with the reason, and the live one's endpoints are untouched", () => {
  const { ground } = start();
  const live = compiled(ground, [service([endpoint("a", 1, 1)])]);
  const bad: [TableConfig, RegExp][] = [
    [config([service([]), service([])]), /"shop" is there twice/],
    [config([service([], { slot: 16 })]), /slot 16/],
    [config([service([endpoint("a", 1, -1)])]), /endpoint "a": slot -1/],
    [config([service([endpoint("a", 70_000, 1)])]), /port 70000/],
    [config([service([endpoint("a", 1, 1), endpoint("a", 1, 2)])]), /"a" is there twice/],
    [config([service([], versions([5_000, []]))]), /sum to 5000/],
    [config([], { listeners: [{ key: KEY, services: [0] }] }), /no service with index 0/],
    [config([], { agent: "a b" }), /fits no header/],
  ];
  for (const [table, why] of bad) {
    const result = compileTable(ground, table, live);
    expect(result).toMatchObject({ kind: "rejected", why: expect.stringMatching(why) as string });
  }
  expect(named(live, "a").draining).toBe(false);
});

test("an endpoint goes on as itself through tables, takes its open connections to its new slot, and drains when it is gone", () => {
  const { ground } = start();
  const first = compiled(ground, [service([endpoint("a", 1, 1)])]);
  const a = named(first, "a");
  a.opened();
  const second = compiled(ground, [service([endpoint("a", 1, 5)])], first);
  expect(named(second, "a")).toBe(a);
  expect([ground.stats.get(1, COUNTER.connections), ground.stats.get(5, COUNTER.connections)]).toEqual([0, 1]);
  const third = compiled(ground, [service([endpoint("a", 2, 6)])], second);
  expect(named(third, "a")).not.toBe(a);
  expect(a.draining).toBe(true);
  expect(a.slot).toBe(5);
});

test("versions get their shares; what has no weight, or nothing serving, gets none", () => {
  const { ground } = start();
  const shares = versions(
    [9_000, [endpoint("old", 1, 1)]],
    [1_000, [endpoint("new", 2, 2)]],
    [0, [endpoint("standby", 3, 3)]],
  );
  const seen = picks(ground, compiled(ground, [service([], shares)]), 10_000);
  expect(seen["old"]! / 10_000).toBeCloseTo(0.9, 1);
  expect(seen["new"]! / 10_000).toBeCloseTo(0.1, 1);
  expect(seen["standby"]).toBe(undefined);
  const halfway = versions([5_000, [endpoint("old", 1, 1, { mode: "draining" })]], [5_000, [endpoint("new", 2, 2)]]);
  expect(picks(ground, compiled(ground, [service([], halfway)]), 100)).toEqual({ new: 100 });
});

test("none, refused and tried are three answers", () => {
  const { ground } = start();
  expect(picks(ground, compiled(ground, [service([])]), 1)).toEqual({ none: 1 });
  const table = compiled(ground, [service([endpoint("a", 1, 1)])]);
  const a = named(table, "a");
  expect(picks(ground, table, 1, [a])).toEqual({ tried: 1 });
  a.opened();
  a.opened();
  expect(picks(ground, table, 1)).toEqual({ refused: 1 });
});

test("a pick is a claim, and of two the less busy one gets it", () => {
  const { ground } = start();
  const table = compiled(ground, [service([endpoint("a", 1, 1), endpoint("b", 2, 2)])]);
  named(table, "a").inFlight = 10;
  picks(ground, table, 10, [], true);
  expect([named(table, "a").inFlight, named(table, "b").inFlight]).toEqual([10, 10]);
});

test("R6: an ejected endpoint is passed over until its time is up, and said to have failed once", async () => {
  const { ground, clock, failed } = start();
  const table = compiled(ground, [service([endpoint("a", 1, 1), endpoint("b", 2, 2)])]);
  const a = named(table, "a");
  a.failed(true, "ECONNREFUSED");
  a.failed(true, "ECONNREFUSED");
  expect(failed).toEqual(["a"]);
  expect(picks(ground, table, 50)).toEqual({ b: 50 });
  await clock.advance(1_100);
  expect(picks(ground, table, 200)["a"]).toBeGreaterThan(0);
  a.failed(true, "ECONNREFUSED");
  await clock.advance(1_100);
  expect(picks(ground, table, 50)).toEqual({ b: 50 }); // twice as long the second time
  a.succeeded();
  expect(picks(ground, table, 200)["a"]).toBeGreaterThan(0);
});

test("resets eject only when they come in a row", () => {
  const { ground, failed } = start();
  const a = named(compiled(ground, [service([endpoint("a", 1, 1)])]), "a");
  for (let i = 0; i < 10; i++) {
    a.failed(false, "ECONNRESET");
    a.failed(false, "ECONNRESET");
    a.succeeded();
  }
  expect(failed).toEqual([]);
  for (let i = 0; i < 3; i++) a.failed(false, "ECONNRESET");
  expect(failed).toEqual(["a"]);
});

test("with more ejected than the cap allows, ejection means nothing: everyone gets a try", () => {
  const { ground } = start();
  const table = compiled(ground, [service([endpoint("a", 1, 1), endpoint("b", 2, 2), endpoint("c", 3, 3)])]);
  named(table, "a").failed(true, "");
  expect(picks(ground, table, 60)["a"]).toBe(undefined);
  named(table, "b").failed(true, "");
  expect(Object.keys(picks(ground, table, 200)).sort()).toEqual(["a", "b", "c"]);
});

test("R17: a new endpoint's share grows with its age", async () => {
  const { ground, clock } = start();
  const first = compiled(ground, [service([endpoint("a", 1, 1)])]);
  const table = compiled(ground, [service([endpoint("a", 1, 1), endpoint("b", 2, 2)])], first);
  const share = (): number => (picks(ground, table, 2_000)["b"] ?? 0) / 2_000;
  const young = share();
  await clock.advance(2_500);
  const grown = share();
  await clock.advance(3_000);
  expect(young).toBeLessThan(0.15);
  expect(grown).toBeGreaterThan(young);
  expect(share()).toBeCloseTo(0.5, 1);
});

test("R1: an idle time is learned from what the app says, and from closes that are no accident", () => {
  const { ground } = start();
  const a = named(compiled(ground, [service([endpoint("a", 1, 1)])]), "a");
  a.learnKeepAlive(5_000);
  expect(a.idleMs).toBe(4_000);
  a.learnKeepAlive(1_000);
  expect(a.idleMs).toBe(500);
  a.learnKeepAlive(600_000);
  expect(a.idleMs).toBe(DEFAULT_LIMITS.upstreamIdleMs);
  a.learnClose(20);
  expect(a.idleMs).toBe(DEFAULT_LIMITS.upstreamIdleMs);
  a.learnClose(10_000);
  expect(a.idleMs).toBe(8_000);
});
