/** Whole rollouts by real processes under mixed traffic: what an operator sees, and what the client's ledger says. */
import { expect, test } from "vitest";
import { EXIT } from "../../proto/contract/limits.ts";
import { Api } from "../../control/cli/client.ts";
import type { RolloutView } from "../../proto/gen/baton/v1/operator.ts";
import type { ClientLedger } from "../loss/ledger.ts";
import type { DemoCluster } from "../support/cluster.ts";
import { demoCluster, describe as told, expectOnly } from "../support/cluster.ts";

const RATE = 100;
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const ended = (view: RolloutView): boolean => view.ended;
const actor = "test";

function expectNothingLost(ledger: ClientLedger): void {
  expect(ledger.losses.slice(0, 5)).toEqual([]);
  expect(ledger.total.lost).toBe(0);
  expect(ledger.clean).toBe(true);
  expect(ledger.total.started).toBeGreaterThan(RATE);
}

/** The stored ledger once the last reports are in: reports come every 250 ms. */
async function counted(demo: DemoCluster, rollout: string): Promise<RolloutView> {
  await wait(1_000);
  return await demo.until(rollout, ended);
}

test("v1 → v2 and undo, under traffic: every request is carried, both ledgers say so", async () => {
  await using demo = await demoCluster();
  const traffic = demo.traffic(RATE);
  await wait(1_000);
  const there = await demo.until(await demo.deploy("v2"), ended);
  expect(told(there)).toContain("Succeeded");
  expect(there.exitCode).toBe(EXIT.done);
  await expectOnly(demo, "v2");

  const undo = await demo.cluster.controller.call(Api.undo, { service: "demo", toRevision: 0, actor });
  const back = await demo.until(undo.id, ended);
  expect(told(back)).toContain("Succeeded");
  await expectOnly(demo, "v1");

  const ledger = await traffic.stop();
  expectNothingLost(ledger);
  expect(Object.keys(ledger.versions).sort()).toEqual(["v1", "v2"]);
  for (const id of [there.id, back.id]) {
    const view = await counted(demo, id);
    expect(view.ledger?.edge).toBe("gateway");
    expect(Number(view.ledger?.requests ?? 0n)).toBeGreaterThan(RATE);
    expect(view.ledger?.lostTotal).toBe(0n);
    expect(view.ledger?.unexplained).toBe(0n);
  }
});

test.each([
  { version: "v3", exit: /readiness|503|healthy|ready/i, output: /ready/i, appErrors: false },
  { version: "v3b", exit: /exit(ed)? (code|with) 3/i, output: /./, appErrors: false },
  { version: "v3c", exit: /5xx|error/i, output: /./, appErrors: true },
])("$version is rolled back by itself, and status shows why", async ({ version, exit, output, appErrors }) => {
  await using demo = await demoCluster();
  const traffic = demo.traffic(RATE);
  await wait(1_000);
  let lines: readonly string[] = [];
  const view = await demo.until(await demo.deploy(version), (one) => {
    const seen = one.hosts.flatMap((host) => host.instances).filter((instance) => instance.version === version);
    const said = seen.flatMap((instance) => instance.output);
    if (said.length > 0) lines = said;
    return one.ended;
  });
  expect(told(view)).toContain("RolledBack");
  expect(view.exitCode).toBe(EXIT.failed);
  await expectOnly(demo, "v1");

  const why = [view.message, ...view.transitions.map((one) => one.message)].join("\n");
  expect(why).toMatch(exit);
  if (!appErrors) expect(lines.join("\n")).toMatch(output);

  const ledger = await traffic.stop();
  // Nothing is lost through v1. What v3b had in its hands when it crashed can't be saved, and is explained.
  const old = (await counted(demo, view.id)).versions.find((one) => one.version === "v1");
  expect(old?.lost).toBe(0n);
  if (version !== "v3b") expect(ledger.total.lost).toBe(0);
  expect(ledger.total.appErrors > 0).toBe(appErrors);
});

test("abort in mid-rollout takes everything back, and nothing is lost", async () => {
  await using demo = await demoCluster();
  const traffic = demo.traffic(RATE);
  const rollout = await demo.deploy("v2");
  await demo.until(rollout, (view) => view.hosts.some((host) => host.stage === "done"));
  await demo.cluster.controller.call(Api.abort, { service: "demo", reason: "changed my mind", actor });
  const view = await demo.until(rollout, ended);
  expect(told(view)).toContain("RolledBack");
  expect(view.exitCode).toBe(EXIT.failed);
  await expectOnly(demo, "v1");
  expectNothingLost(await traffic.stop());
});

test("pause holds a rollout where it is, resume lets it end", async () => {
  await using demo = await demoCluster();
  const traffic = demo.traffic(RATE);
  const rollout = await demo.deploy("v2");
  await demo.until(rollout, (view) => view.hosts.some((host) => host.stage !== "waiting"));
  const command = { service: "demo", reason: "lunch", actor };
  const paused = await demo.cluster.controller.call(Api.pause, command);
  expect(paused.phase).toBe("Paused");
  expect(paused.exitCode).toBe(EXIT.paused);
  expect(paused.message).toMatch(/resume/);
  const untouched = (view: RolloutView): number => view.hosts.filter((host) => host.stage === "waiting").length;
  await wait(6_000);
  expect(untouched(await demo.until(rollout, () => true))).toBe(untouched(paused));
  await demo.cluster.controller.call(Api.resume, command);
  expect(told(await demo.until(rollout, ended))).toContain("Succeeded");
  expectNothingLost(await traffic.stop());
});

test("a newer revision in mid-rollout supersedes it: one end state, nothing lost", async () => {
  await using demo = await demoCluster();
  const traffic = demo.traffic(RATE);
  const first = await demo.deploy("v3");
  await demo.until(first, (view) => view.hosts.some((host) => host.stage !== "waiting"));
  const second = await demo.deploy("v2");
  expect(told(await demo.until(first, ended))).toMatch(/Superseded|RolledBack/);
  expect(told(await demo.until(second, ended))).toContain("Succeeded");
  await expectOnly(demo, "v2");
  expectNothingLost(await traffic.stop());
});

test("a drained host gets nothing new until it is given back, and nothing is lost", async () => {
  await using demo = await demoCluster();
  const traffic = demo.traffic(RATE);
  await wait(500);
  const { controller } = demo.cluster;
  await controller.call(Api.drain, { host: "host-2", actor });
  const inFlight = async (): Promise<bigint> =>
    (await demo.hosts()).find((host) => host.name === "host-2")?.inFlight ?? -1n;
  const synced = async (): Promise<boolean> => (await demo.hosts()).every((host) => host.sync === "SYNCED");
  await expect.poll(synced, { timeout: 10_000, interval: 50 }).toBe(true);
  await expect.poll(inFlight, { timeout: 40_000, interval: 200 }).toBe(0n);
  for (let i = 0; i < 20; i++) {
    expect(await inFlight()).toBe(0n);
    await wait(100);
  }
  await controller.call(Api.undrain, { host: "host-2", actor });
  await expect.poll(inFlight, { timeout: 20_000, interval: 20 }).toBeGreaterThan(0n);
  expectNothingLost(await traffic.stop());
});
