/** The rollouts of rollout.test.ts on three NATS servers and two controllers: one cluster for all of them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Controller } from "../../control/cli/client.ts";
import type { DemoCluster } from "../support/cluster.ts";
import { demoCluster, leadership, THREE_NATS } from "../support/cluster.ts";
import { NEVER_READY, rolledBack, superseded, thereAndBack } from "./rollouts.ts";

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

test("a version that never gets ready is rolled back by itself, and status shows why", async () => {
  await rolledBack(demo, NEVER_READY);
});

test("asked of a follower, a rollout is the leader's, and what the follower shows of it is no older than its answer", async () => {
  const { followers } = await leadership(demo.cluster);
  expect(followers).toHaveLength(1);
  using controller = new Controller({ controllers: followers.map(({ grpc }) => grpc) });
  await superseded(demo.asking(controller));
});
