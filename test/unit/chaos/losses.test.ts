/** A loss is laid at the door of what may have cut it, and of nothing else. */
import { expect, test } from "vitest";
import type { FaultKind } from "../../chaos/faults.ts";
import { blame } from "../../chaos/losses.ts";
import type { Blame, Seen } from "../../chaos/losses.ts";
import type { Strike } from "../../chaos/strikes.ts";
import type { LossRecord } from "../../loss/ledger.ts";

const NOBODY = "every host killed, or out for its update, at once";
const loss = (began: number, ended: number, more: Partial<LossRecord> = {}): LossRecord => ({
  ...{ atMs: ended, afterMs: ended - began, id: "x", kind: "get", cause: "answer_cut", detail: "", version: "v1" },
  ...{ connectionAgeMs: 0, reuses: 0, idleMs: 0, bytesSent: 100, bytesReceived: 100 },
  ...more,
});
const strike = (kind: FaultKind, victim: string, atMs: number, endedAtMs: number | null = atMs): Strike => ({
  fault: { atMs: 0, kind, victim, forMs: 0, pick: 0 },
  ...{ victim, what: "", atMs, struckAtMs: atMs + 50, endedAtMs },
});
const around = { gateways: new Set(["gateway-1"]), hosts: new Set(["host-1", "host-2"]), seen: [], crashes: false };
const one = (record: LossRecord, struck: Strike, more = around): Blame => blame([record], [struck], more)[0]!;

test("what was in flight on a killed worker is its strike's", () => {
  expect(one(loss(9_000, 10_100), strike("kill-worker", "host-2", 10_000)).by).toBe("kill-worker of host-2");
});

test("what began after the worker was gone is nobody's, nor what ended before, nor what ended long after", () => {
  for (const record of [loss(10_300, 10_400), loss(9_000, 9_500), loss(9_000, 15_000)]) {
    expect(one(record, strike("kill-worker", "host-2", 10_000)).by).toBe("");
  }
});

test("no process that is only stopped, and no way that is cut, explains a loss", () => {
  for (const kind of ["stop-worker", "stop-machine", "stop-app", "cut", "hole", "clock-step", "disk-full"] as const) {
    expect(one(loss(9_000, 10_100), strike(kind, "host-2", 10_000, 18_000)).by).toBe("");
  }
});

test("a controller or a core that is killed explains nothing", () => {
  for (const kind of ["kill-controller", "kill-core", "kill-nats", "kill-nats-majority"] as const) {
    expect(one(loss(9_000, 10_100), strike(kind, "controller", 10_000)).by).toBe("");
  }
});

test("a refused connection is a gateway's that has no keeper, until somebody listens again", () => {
  const refused = loss(11_000, 11_001, { cause: "connect_refused", bytesReceived: 0, bytesSent: 0 });
  const away = strike("kill-keeper", "gateway-1", 10_000, 12_000);
  expect(one(refused, away)).toMatchObject({ by: "kill-keeper of gateway-1", uncounted: true });
  expect(one({ ...refused, atMs: 12_500 }, away).by).toBe("");
  expect(one(refused, strike("kill-keeper", "host-1", 10_000, 12_000)).by).toBe("");
  expect(one({ ...refused, cause: "answer_cut" }, away).by).toBe("");
});

test("a connection that a dead gateway refuses is not a worker's that dies on a host meanwhile", () => {
  const refused = loss(11_000, 11_001, { cause: "connect_refused", bytesReceived: 0, bytesSent: 0 });
  const worker = strike("kill-worker", "host-1", 11_000);
  const away = strike("kill-machine", "gateway-1", 10_000, 12_000);
  expect(blame([refused], [away, worker], around)[0]).toMatchObject({
    by: "kill-machine of gateway-1",
    uncounted: true,
  });
  expect(one(refused, worker).by).toBe("");
});

test("what a dying reader was sent is unread; what it had for long is not", () => {
  const struck = strike("kill-worker", "host-2", 10_000);
  expect(one(loss(9_950, 10_100, { bytesReceived: 0 }), struck).unread).toBe(true);
  expect(one(loss(9_000, 10_100, { bytesReceived: 0 }), struck).unread).toBe(false);
  expect(one(loss(9_950, 10_100, { bytesReceived: 9 }), struck).unread).toBe(false);
});

test("what a stopped gateway had in its hands of a killed worker is told when it wakes", () => {
  const struck = strike("kill-worker", "host-2", 10_000);
  const late = loss(9_000, 15_050);
  const by = (...strikes: readonly Strike[]): string | undefined => blame([late], strikes, around)[0]?.by;
  expect(by(struck)).toBe("");
  expect(by(struck, strike("stop-worker", "gateway-1", 8_000, 15_000))).toBe("kill-worker of host-2");
  expect(by(struck, strike("stop-worker", "gateway-1", 8_000, 11_000))).toBe("");
  expect(by(struck, strike("stop-core", "gateway-1", 8_000, 15_000))).toBe("");
});

test("who is killed while it is stopped has read nothing since it was", () => {
  const struck = strike("kill-worker", "gateway-1", 12_000);
  const sent = loss(10_500, 12_050, { bytesReceived: 0 });
  const unread = (...strikes: readonly Strike[]): boolean | undefined => blame([sent], strikes, around)[0]?.unread;
  expect(unread(struck)).toBe(false);
  expect(unread(struck, strike("stop-machine", "gateway-1", 10_000, 16_000))).toBe(true);
  expect(unread(struck, strike("stop-machine", "gateway-1", 8_000, 11_000))).toBe(false);
  expect(unread(struck, strike("stop-machine", "host-1", 10_000, 16_000))).toBe(false);
});

test("a version that crashes explains what it cut, and no refused connection", () => {
  const crashes = { ...around, crashes: true };
  const elsewhere = strike("hole", "host-1", 50_000);
  expect(one(loss(1, 2), elsewhere, crashes).by).toBe("the new version's own crash");
  expect(one(loss(1, 2, { cause: "connect_refused" }), elsewhere, crashes).by).toBe("");
});

test("that nobody could be sent to is explained when every host was killed, and by nothing less", () => {
  const refused = loss(12_000, 12_400, { cause: "proxy_error", detail: "502 baton-error: connect_failed; sent=0" });
  const both = [strike("kill-keeper", "host-1", 10_000, 12_500), strike("kill-machine", "host-2", 11_500)];
  expect(blame([refused], both, around)[0]?.by).toBe(NOBODY);
  expect(blame([refused], both.slice(0, 1), around)[0]?.by).toBe("");
  expect(blame([refused], [strike("stop-machine", "host-1", 10_000, 12_500), both[1]!], around)[0]?.by).toBe("");
  expect(blame([{ ...refused, atMs: 40_000 }], both, around)[0]?.by).toBe("");
  expect(blame([{ ...refused, detail: "502 baton-error: upstream_reset" }], both, around)[0]?.by).toBe("");
});

test("what its gateway died with before a controller had heard of it is counted by nobody", () => {
  const worker = strike("kill-worker", "gateway-1", 10_000);
  const cut = loss(9_000, 10_050);
  const uncounted = (...strikes: readonly Strike[]): boolean | undefined =>
    blame([cut], [worker, ...strikes], around)[0]?.uncounted;
  const [silence, death] = [
    strike("kill-controller", "controller", 10_300, 12_500),
    strike("kill-keeper", "gateway-1", 16_000),
  ];
  expect(uncounted(silence, death)).toBe(true);
  expect(uncounted(silence)).toBe(false);
  expect(uncounted(death)).toBe(false);
  expect(uncounted(silence, strike("kill-keeper", "host-1", 16_000))).toBe(false);
  expect(uncounted(silence, strike("kill-keeper", "gateway-1", 30_000))).toBe(false);
  expect(uncounted(strike("kill-controller", "controller", 13_000, 14_000), death)).toBe(false);
  expect(uncounted(strike("hole", "host-1", 10_300, 12_500), death)).toBe(false);
  expect(uncounted(strike("hole", "gateway-1", 10_300, 12_500), death)).toBe(true);
  expect(uncounted(strike("disk-full", "n3", 9_500, 12_500), death)).toBe(true);
  expect(uncounted(strike("disk-full", "gateway-1", 9_500, 12_500), death)).toBe(false);
});

test("one that was killed is back when it is seen to serve, and one out of routing was not to be sent to", () => {
  const refused = loss(12_000, 12_400, { cause: "proxy_error", detail: "503 baton-error: no_instance; sent=0" });
  const look = (atMs: number, serves: readonly string[], routed: readonly string[], maxOut = 1): Seen => ({
    ...{ atMs, maxOut, routed: new Map([["gateway-1", routed]]) },
    serves: new Map([...around.hosts].map((host) => [host, serves.includes(host)])),
  });
  const kills = [strike("kill-keeper", "host-1", 10_000), strike("kill-app", "host-2", 10_000)];
  const by = (struck: readonly Strike[], ...seen: readonly Seen[]): string | undefined =>
    blame([refused], struck, { ...around, seen })[0]?.by;
  const none = look(11_900, [], ["host-1", "host-2"]);
  expect(by(kills, none)).toBe(NOBODY);
  expect(by(kills, look(11_900, ["host-1"], ["host-1", "host-2"]))).toBe("");
  expect(by(kills, look(10_200, ["host-1"], ["host-1", "host-2"]), none)).toBe(NOBODY);
  // One killed, the other out for its update: as long as that many may be.
  const [killed] = kills as [Strike];
  expect(by([killed], look(11_900, [], ["host-1"]), look(12_800, [], ["host-1", "host-2"]))).toBe(NOBODY);
  expect(by([killed], look(11_900, [], ["host-1"], 0))).toBe("");
  expect(by([killed], look(11_900, [], ["host-1", "host-2"]))).toBe("");
  expect(by([], look(11_900, [], []))).toBe("");
});

test("an app that wakes with connections that were idle for too long explains a reset as it wakes, and no other", () => {
  const reset = loss(9_000, 15_030, { kind: "post", cause: "proxy_error", detail: "502 baton-error: upstream_reset" });
  expect(one(reset, strike("stop-app", "host-2", 8_900, 15_000)).by).toMatch(
    /^stop-app of host-2, for as long as its app/,
  );
  // It was idle before, too; but what came before the stop was read.
  const short = { ...reset, afterMs: 2_900 };
  expect(one(short, strike("stop-app", "host-2", 12_000, 15_000)).by).toMatch(/^stop-app of host-2/);
  expect(one(reset, strike("stop-app", "host-2", 12_000, 15_000)).by).toBe("");
  expect(one({ ...reset, afterMs: 400 }, strike("stop-app", "host-2", 14_500, 15_000)).by).toBe("");
  expect(one(reset, strike("stop-worker", "host-2", 8_900, 15_000)).by).toBe("");
  expect(one({ ...reset, atMs: 14_000 }, strike("stop-app", "host-2", 8_900, 15_000)).by).toBe("");
  expect(
    one({ ...reset, detail: "502 baton-error: response_cut" }, strike("stop-app", "host-2", 8_900, 15_000)).by,
  ).toBe("");
});

test("a worker that is stopped when its keeper is killed finishes nothing as it wakes", () => {
  const reset = loss(9_000, 15_030, { cause: "proxy_error", detail: "502 baton-error: upstream_reset" });
  const keeper = strike("kill-keeper", "host-2", 12_000, 13_000);
  const by = (...strikes: readonly Strike[]): string | undefined => blame([reset], strikes, around)[0]?.by;
  expect(by(keeper, strike("stop-worker", "host-2", 8_000, 15_000))).toBe(
    "kill-keeper of host-2, whose worker was stopped",
  );
  expect(by(keeper)).toBe("");
  expect(by(keeper, strike("stop-worker", "host-1", 8_000, 15_000))).toBe("");
  expect(by(keeper, strike("stop-worker", "host-2", 12_500, 15_000))).toBe("");
});

test("of two strikes that may have cut it, the later one has", () => {
  const worker = strike("kill-worker", "host-2", 10_000);
  const gateway = strike("kill-machine", "gateway-1", 11_000);
  expect(blame([loss(9_000, 11_030)], [worker, gateway], around)[0]).toMatchObject({
    ...{ by: "kill-machine of gateway-1", uncounted: true },
  });
  expect(blame([loss(9_000, 10_030)], [worker, gateway], around)[0]).toMatchObject({
    ...{ by: "kill-worker of host-2", uncounted: false },
  });
});

test("what a gateway's orphaned workers lost is explained as ever, and counted by nobody", () => {
  const machine = strike("kill-machine", "host-1", 12_000);
  const keeper = strike("kill-keeper", "gateway-1", 10_000, 14_000);
  const cut = loss(11_000, 12_100);
  expect(blame([cut], [machine], around)[0]).toMatchObject({ by: "kill-machine of host-1", uncounted: false });
  expect(blame([cut], [machine, keeper], around)[0]).toMatchObject({ by: "kill-machine of host-1", uncounted: true });
  expect(blame([cut], [machine, strike("kill-keeper", "host-1", 10_000)], around)[0]?.uncounted).toBe(false);
  const crashed = blame([loss(13_500, 14_200)], [keeper], { ...around, crashes: true })[0];
  expect(crashed).toMatchObject({ by: "the new version's own crash", uncounted: true });
  expect(
    blame([loss(30_000, 32_100)], [{ ...machine, atMs: 32_000, struckAtMs: 32_050 }, keeper], around)[0],
  ).toMatchObject({
    uncounted: false,
  });
});
