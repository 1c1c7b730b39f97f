/**
 * The rollouts of rollout.test.ts on three NATS servers and two controllers: one cluster for all of them. ROLLOUTS=all
 * plays those too that every run plays on SQLite alone.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Controller } from "../../control/cli/client.ts";
import type { DemoCluster } from "../support/cluster.ts";
import { demoCluster, leadership, THREE_NATS } from "../support/cluster.ts";
import { BAD_VERSIONS, rolledBack, superseded, thereAndBack } from "./rollouts.ts";

const ALL = process.env["ROLLOUTS"] === "all";
let demo: DemoCluster;
beforeAll(async () => {
  demo = await demoCluster({ onNats: THREE_NATS });
});
afterAll(async () => {
  await demo[Symbol.asyncDispose]();
});

test("v1 → v2 and undo, under traffic: every request is carried, both ledgers say so", async () => {
  await thereAndBack(demo);
});

test.skipIf(!ALL).each(BAD_VERSIONS)("$version is rolled back by itself, and status shows why", async (bad) => {
  await rolledBack(demo, bad);
});

test("asked of a follower, a rollout is the leader's, and what the follower shows of it is no older than its answer", async () => {
  const { followers } = await leadership(demo.cluster);
  expect(followers).toHaveLength(1);
  using controller = new Controller({ controllers: followers.map(({ grpc }) => grpc) });
  await superseded(demo.asking(controller));
});
