/** The mixed traffic against the demo app itself, with nothing between: what the client calls lost must be lost. */
import { setTimeout as wait } from "node:timers/promises";
import { expect, test } from "vitest";
import { seededRandom } from "../../../proto/kernel/random.ts";
import { systemClock } from "../../../proto/runtime/system-clock.ts";
import { KINDS } from "../../loss/ledger.ts";
import { DEFAULT_MIX, startTraffic } from "../../loss/traffic.ts";
import type { Traffic } from "../../loss/traffic.ts";
import { startNode, until } from "../../support/processes.ts";
import type { RunningProcess } from "../../support/processes.ts";

const demo = (version: string, env: Record<string, string> = {}): RunningProcess =>
  startNode("test/apps/demo/server.ts", {
    env: { VERSION: version, PORT: "0", HOST: undefined, INSTANCE: `${version}-a`, ...env },
  });

async function portOf(app: RunningProcess): Promise<number> {
  return Number((await app.line(/listening on .*:(\d+)/))[1]);
}

const only = (...kinds: readonly string[]): typeof DEFAULT_MIX =>
  Object.fromEntries(KINDS.map((kind) => [kind, kinds.includes(kind) ? 1 : 0])) as typeof DEFAULT_MIX;

// Rests stay below Node's 5 s: at 5 s there is a true race (RACES R1), which nobody here would cover.
const gentle = { clock: systemClock, random: seededRandom(7), idlePauseMs: 2_000 };

test("every kind of traffic is carried by the demo app: all ok, none lost, the rate kept", async () => {
  await using app = demo("v1");
  const target = { host: "127.0.0.1", port: await portOf(app) };
  const mix = { ...DEFAULT_MIX, websocket: 3, events: 3 };
  const traffic = startTraffic({ ...gentle, target, rate: 150, mix });
  await wait(4_000);
  const ledger = await traffic.stop();

  expect(ledger.causes, JSON.stringify(ledger.losses)).toEqual({});
  expect(ledger).toMatchObject({ clean: true, inFlight: 0, versions: { v1: ledger.total.started } });
  expect(ledger.total.ok).toBe(ledger.total.started);
  for (const kind of KINDS) expect(ledger.kinds[kind].ok, kind).toBeGreaterThan(0);
  expect(ledger.achievedRate).toBeGreaterThan(100);
  expect(ledger.counters.reused).toBeGreaterThan(100);
  expect(ledger.counters.messages).toBeGreaterThan(20);
  expect(ledger.counters.events).toBeGreaterThan(20);
  expect(ledger.instances).toEqual({ "v1-a": ledger.total.started });
});

test("SIGTERM: the demo app finishes polls and uploads, ends streams politely, and exits with 0", async () => {
  await using app = demo("v2");
  const target = { host: "127.0.0.1", port: await portOf(app) };
  // A message may cross the app's own close frame on its way: here that is no matter.
  const streams = startTraffic({ ...gentle, target, rate: 20, mix: only("websocket", "events"), resend: true });
  const polls = startTraffic({ ...gentle, target, rate: 20, mix: only("poll", "upload") });
  await until("streams and polls are under way", () => busy(streams) && busy(polls));
  const finished = polls.stop();
  // Connections are accepted in order: once this one is answered, the app has all that was begun before.
  await fetch(`http://127.0.0.1:${target.port}/api/hello`);
  app.signal("SIGTERM");
  const requests = await finished;
  expect(await app.exited).toEqual({ code: 0, signal: null });
  const ended = await streams.stop();

  expect(requests.causes, JSON.stringify(requests.losses)).toEqual({});
  expect(requests).toMatchObject({ clean: true, balanced: true });
  expect(ended.total.drained).toBeGreaterThan(0);
  expect(ended.balanced).toBe(true);
  // After the farewell they come again and find nobody; nothing that was under way may be lost.
  const nobody = ["connect_refused", "connect_failed", "no_answer"];
  expect(Object.keys(ended.causes).filter((cause) => !nobody.includes(cause))).toEqual([]);
});

const busy = (traffic: Traffic): boolean => traffic.snapshot().inFlight >= 10;

test("v3c answers every app request with 500, and its health path with 200", async () => {
  await using app = demo("v3c");
  const port = await portOf(app);
  const traffic = startTraffic({ ...gentle, target: { host: "127.0.0.1", port }, rate: 60 });
  await wait(1_000);
  const ledger = await traffic.stop();
  expect(ledger).toMatchObject({ balanced: true, total: { ok: 0, drained: 0, lost: 0 } });
  expect(ledger.appErrorStatuses).toEqual({ "500": ledger.total.started });
  expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
});

test("v3 is never ready and says why; v3b is ready, then dies with 3 and a trace", async () => {
  await using v3 = demo("v3");
  await using v3b = demo("v3b");
  const ready = await fetch(`http://127.0.0.1:${await portOf(v3b)}/healthz`);
  expect(ready.status).toBe(200);
  expect((await fetch(`http://127.0.0.1:${await portOf(v3)}/healthz`)).status).toBe(503);
  await v3.line(/not ready: migration/);
  expect(await v3b.exited).toEqual({ code: 3, signal: null });
  expect(v3b.stderr).toMatch(/TypeError: [^]*\n {4}at .*\nfatal/);
});

test("a start delay is a time without a listener, and SIGTERM ends it at once", async () => {
  await using app = demo("v2", { START_DELAY_MS: "60000" });
  await app.line(/starting/);
  app.signal("SIGTERM");
  expect(await app.exited).toEqual({ code: 0, signal: null });
  expect(app.stdout).not.toMatch(/listening/);
});

test("two versions behind one name show in the ledger's versions, over time", async () => {
  await using first = demo("v1");
  const port = await portOf(first);
  const random = seededRandom(3);
  const traffic = startTraffic({
    ...gentle,
    random,
    target: { host: "127.0.0.1", port },
    rate: 50,
    mix: only("short"),
  });
  await until("v1 has answered", () => (traffic.snapshot().versions["v1"] ?? 0) > 20);
  await first.stop();
  await using second = demo("v2", { PORT: String(port) });
  await portOf(second);
  await until("v2 has answered", () => (traffic.snapshot().versions["v2"] ?? 0) > 20);
  const ledger = await traffic.stop();
  expect(ledger.timeline[0]?.["v1"]).toBeGreaterThan(0);
  expect(ledger.timeline.at(-1)?.["v2"]).toBeGreaterThan(0);
  // The gap between them is no update without loss, and the ledger says so.
  expect(ledger.causes.connect_refused).toBeGreaterThan(0);
  expect(ledger.clean).toBe(false);
});
