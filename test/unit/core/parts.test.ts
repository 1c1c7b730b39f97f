/** The core's pure parts, each on its own. */
import { appendFileSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { listenerConflicts, wantedListeners } from "../../../agent/core/apply/listeners.ts";
import { plan } from "../../../agent/core/apply/plan.ts";
import { problemsOf } from "../../../agent/core/apply/validate.ts";
import { OutputFiles, lastLines } from "../../../agent/core/drivers/output.ts";
import { baseEnvironment, processSpec, saysPortTaken } from "../../../agent/core/drivers/process.ts";
import { isAlive, next } from "../../../agent/core/instances/life.ts";
import type { Life, LifeEvent } from "../../../agent/core/instances/life.ts";
import type { CheckResult } from "../../../agent/core/probes/check.ts";
import { ProbeLoop } from "../../../agent/core/probes/probe-loop.ts";
import { Slots } from "../../../agent/core/stats/slots.ts";
import { LIMITS } from "../../../proto/contract/limits.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { assignment, endpoint, probe, revision, run, service } from "../../support/core/assignments.ts";
import { FakeClock } from "../../support/fake-clock.ts";

function folder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "baton-parts-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

test("an instance's life: no event in no phase throws, loses a SIGKILL, or brings back what is gone", () => {
  const lives: Life[] = [
    { kind: "external" },
    { kind: "waiting", until: 5 },
    { kind: "launching" },
    { kind: "running", pid: 1, startedAtMs: 1 },
    { kind: "stopping", pid: 1, killAt: 9, killed: false, again: false },
    { kind: "stopping", pid: 1, killAt: 9, killed: true, again: true },
    { kind: "gone" },
  ];
  const events: LifeEvent[] = [
    { kind: "due" },
    { kind: "up", pid: 2, startedAtMs: 2 },
    { kind: "ended", delay: 100 },
    { kind: "stop", killMs: 50 },
    { kind: "restart", killMs: 50 },
  ];
  for (const life of lives) {
    for (const event of events) {
      const after = next(life, event, 10);
      if (life.kind === "gone") expect(after).toEqual({ life, effects: [] });
      if (event.kind === "stop" && isAlive(life) && life.kind === "running") {
        expect(after.effects).toEqual([
          { kind: "kill", signal: "SIGTERM" },
          { kind: "timer", at: 60 },
        ]);
      }
      if (event.kind === "stop" && after.life.kind === "stopping") expect(after.life.again).toBe(false);
    }
  }
  const killed = next(lives[4]!, { kind: "due" }, 10);
  expect(killed.effects).toEqual([{ kind: "kill", signal: "SIGKILL" }]);
  expect(next(killed.life, { kind: "due" }, 11).effects).toEqual([]);
  expect(next(lives[5]!, { kind: "ended", delay: 100 }, 10).life).toEqual({ kind: "waiting", until: 110 });
});

test("probes: quick until the first success, then at their interval; thresholds count answers in a row", async () => {
  const clock = new FakeClock();
  let well = false;
  const at: number[] = [];
  const said: string[] = [];
  const start = clock.monotonic();
  const loop = new ProbeLoop({
    clock,
    random: { next: () => 0.5 },
    check: () => {
      at.push(clock.monotonic() - start);
      return Promise.resolve<CheckResult>(well ? { ok: true } : { ok: false, why: "503" });
    },
    spec: probe({ intervalMs: 2_000, healthyThreshold: 2, unhealthyThreshold: 3 }),
    address: "127.0.0.1",
    port: 1,
    healthy: false,
    changed: (healthy, why) => said.push(healthy ? "healthy" : why),
    answered: () => undefined,
  });
  await clock.advance(450);
  expect(at).toEqual([0, 200, 400]);
  well = true;
  await clock.advance(400);
  expect(said).toEqual(["healthy"]); // at 600 and 800
  await clock.advance(2_000);
  expect(at.at(-1)).toBe(2_800);
  well = false;
  await clock.advance(4_000);
  well = true;
  await clock.advance(2_000);
  well = false;
  await clock.advance(4_000);
  expect(said).toEqual(["healthy"]); // two bad, one good, two bad: never three in a row
  await clock.advance(2_000);
  expect(said).toEqual(["healthy", "503"]);
  // R6: one failure is enough for one that is suspected.
  well = true;
  await clock.advance(4_000);
  well = false;
  loop.suspect();
  await clock.advance(0);
  expect(said).toEqual(["healthy", "503", "healthy", "503"]);
  loop.stop();
  expect(clock.pending).toBe(0);
});

test("a probe that hangs is not asked a second time beside it", async () => {
  const clock = new FakeClock();
  let asked = 0;
  const loop = new ProbeLoop({
    clock,
    random: { next: () => 0.5 },
    check: () => {
      asked += 1;
      return new Promise(() => undefined);
    },
    spec: probe(),
    address: "127.0.0.1",
    port: 1,
    healthy: true,
    changed: () => undefined,
    answered: () => undefined,
  });
  await clock.advance(10_000);
  loop.suspect();
  await clock.advance(10_000);
  expect(asked).toBe(1);
});

test("the plan is idempotent, knows external instances by host, and is not fooled by a reused revision number", () => {
  const held = assignment(1, [service([revision(1, "serving", { run: run({ count: 2 }) })])]);
  const actions = plan(held, "h1", []);
  expect(actions.map(({ kind }) => kind)).toEqual(["create", "create"]);
  const instances = actions.map((action, at) => ({
    ...(action as Extract<typeof action, { kind: "create" }>),
    ...{ id: `i${at}`, address: "127.0.0.1", port: 1, process: "p", up: true, starts: 1, restarts: 0, exit: null },
    ...{ alive: true, ending: false, ready: true, wasReady: true },
  }));
  expect(plan(held, "h1", instances)).toEqual([]);
  // A controller that lost its store begins to count again: revision 1 is another program now.
  const other = assignment(2, [service([revision(1, "serving", { run: run({ command: ["./other"] }) })])]);
  expect(plan(other, "h1", instances).map((action) => [action.kind, "mode" in action && action.mode])).toEqual([
    ["mode", "absent"],
    ["mode", "absent"],
    ["create", "serving"],
  ]);
  const external = {
    kind: "external" as const,
    instances: [
      { version: "v1", host: null, address: "10.0.0.1", port: 1 },
      { version: "v1", host: "h2", address: "10.0.0.2", port: 1 },
      { version: "v2", host: null, address: "10.0.0.3", port: 1 },
    ],
  };
  const outside = assignment(3, [service([revision(1, "serving", { run: external })])]);
  expect(plan(outside, "h1", []).map((action) => "address" in action && action.address)).toEqual(["10.0.0.1"]);
});

test("an assignment that can't be is told by what is wrong with it", () => {
  const shop = service([revision(1), revision(1)], { endpoints: [endpoint("h"), endpoint("h")] });
  const wrong = assignment(1, [shop, service([revision(1, "serving", { run: run({ count: 65 }) })])]);
  expect(problemsOf(wrong)).toEqual([
    "service shop is in it twice",
    "shop has revision 1 twice",
    "shop has endpoint h twice",
    `67 instances; a host runs at most ${LIMITS.instancesPerHost}`,
  ]);
});

test("listeners: one address may be shared by hostname, and is one socket whatever its spelling", () => {
  const at = (address: string, port: number) => [{ address, port, protocol: "http" as const }];
  const two = (a: string, b: string, hostnames: readonly string[]) =>
    assignment(1, [
      service([], { listeners: at(a, 80), hostnames: ["a.test"] }),
      service([], { name: "api", listeners: at(b, 80), hostnames }),
    ]);
  const problems = (held: ReturnType<typeof two>) => listenerConflicts(held, wantedListeners(held, "declared"));
  expect(problems(two("127.0.0.1", "127.0.0.1", ["b.test"]))).toEqual([]);
  expect(problems(two("127.0.0.1", "127.0.0.1", ["a.test"]))[0]).toContain("the hostname a.test");
  expect(problems(two("0.0.0.0", "127.0.0.1", ["b.test"]))[0]).toContain("one port on this host");
  expect(wantedListeners(two("::1", "0:0:0:0:0:0:0:1", ["b.test"]), "declared")).toHaveLength(1);
  expect(wantedListeners(two("127.0.0.1", "127.0.0.1", []), "assigned").map(({ name }) => name)).toEqual([
    "shop/0@127.0.0.1",
    "api/0@127.0.0.1",
  ]);
});

test("an app gets a small environment, its own, and where to listen; not the agent's secrets", () => {
  const base = baseEnvironment({ PATH: "/bin", HOME: "/root", AWS_SECRET_ACCESS_KEY: "x", NODE_OPTIONS: "--inspect" });
  const { env, cwd } = processSpec({
    ...{ processId: "i.1", instance: "i", service: "shop", version: "v1", host: "h1", port: 4_000, base },
    run: run({ env: { A: "1", PORT: "80" }, cwd: "/srv" }) as Extract<ReturnType<typeof run>, { kind: "process" }>,
    outputFile: "/o",
  });
  expect(env).toEqual({
    ...{ PATH: "/bin", HOME: "/root", A: "1", PORT: "4000", HOST: "127.0.0.1" },
    ...{ BATON_SERVICE: "shop", BATON_VERSION: "v1", BATON_INSTANCE: "i", BATON_HOST: "h1" },
  });
  expect(cwd).toBe("/srv");
});

test("a taken port is known by what programs of several languages say", () => {
  expect(saysPortTaken(["Error: listen EADDRINUSE: address already in use 127.0.0.1:80"])).toBe(true);
  expect(saysPortTaken(["listen tcp 127.0.0.1:80: bind: address already in use"])).toBe(true);
  expect(saysPortTaken(["OSError: [Errno 98] Address already in use"])).toBe(true);
  expect(saysPortTaken(["panicked: Address in use"])).toBe(false);
});

test("output: the last lines, whole, bounded, with no terminal control", () => {
  expect(lastLines("a\r\n\x1b[31mred\x1b[0m\x07\n\n")).toEqual(["a", "red"]);
  expect(lastLines(Array.from({ length: 50 }, (_, n) => `line ${n}`).join("\n"))).toHaveLength(LIMITS.outputLines);
  const [long] = lastLines("é".repeat(1_000));
  expect(Buffer.byteLength(long!)).toBeLessThanOrEqual(LIMITS.outputLineBytes);
  expect(long).not.toContain("\uFFFD");
});

test("output files are rotated under a writer that goes on appending, and those of the gone are few", () => {
  using held = folder();
  const output = new OutputFiles(held.path, silentLog);
  const file = output.path("shop-r1-0-aaaa");
  writeFileSync(file, "x".repeat(LIMITS.outputFileBytes));
  appendFileSync(file, "\nthe end\n");
  for (let n = 0; n < 40; n++) writeFileSync(output.path(`old-${n}`), "old");
  output.tidy(new Set(["shop-r1-0-aaaa"]));
  expect(statSync(file).size).toBe(0);
  expect(existsSync(`${file}.1`)).toBe(true);
  appendFileSync(file, "and on\n");
  expect(output.tail("shop-r1-0-aaaa")).toEqual(["and on"]);
  expect(readdirSync(held.path).filter((name) => name.startsWith("old-"))).toHaveLength(16);
  expect(output.tail("never-was")).toEqual([]);
});

test("statistics records are never given twice, and when they are used up a service's own is shared", () => {
  const slots = new Slots([], silentLog);
  const own = slots.of("shop", "", "");
  for (let n = 0; n < LIMITS.statSlots; n++) slots.of("shop", "v1", `i${n}`);
  expect(slots.of("shop", "v1", "one more")).toBe(own);
  expect(slots.keys().length).toBeLessThan(LIMITS.statSlots);
  expect(slots.of("api", "", "")).not.toBe(own);
  expect(new Slots(slots.keys(), silentLog).of("shop", "v1", "i7")).toBe(slots.of("shop", "v1", "i7"));
});
