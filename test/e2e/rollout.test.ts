/** Whole rollouts by real processes under mixed traffic: what an operator sees, and what the client's ledger says. */
import { expect, test } from "vitest";
import { EXIT } from "../../proto/contract/limits.ts";
import { Api } from "../../control/cli/client.ts";
import type { RolloutView } from "../../proto/gen/baton/v1/operator.ts";
import { demoCluster, describe as told, expectOnly } from "../support/cluster.ts";
import {
  actor,
  BAD_VERSIONS,
  ended,
  expectNothingLost,
  RATE,
  rolledBack,
  superseded,
  thereAndBack,
} from "./rollouts.ts";

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test("v1 → v2 and undo, under traffic: every request is carried, both ledgers say so", async () => {
  await using demo = await demoCluster();
  await thereAndBack(demo);
});

test.each(BAD_VERSIONS)("$version is rolled back by itself, and status shows why", async (bad) => {
  await using demo = await demoCluster();
  await rolledBack(demo, bad);
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
  await superseded(demo);
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
