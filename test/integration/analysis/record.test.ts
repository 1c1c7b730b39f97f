/** A recording is made of a rollout as it goes on, by the real command, and judged by the very same. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readRecording } from "../../../control/cli/judge/recording.ts";
import { EXIT } from "../../../proto/contract/limits.ts";
import { Api, Folder, inProcess, shopDocument } from "../../support/control.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { startNode, until } from "../../support/processes.ts";
import { traffic } from "../../support/samples.ts";

const BUCKETS = [
  [30, 90],
  [77, 10],
] as const;

test("baton judge --record writes what both versions do until the rollout ends, and judges it afterwards", async () => {
  using state = new Folder();
  await using control = await inProcess(state.path);
  const { client } = control;
  const { grpc } = control.controller;
  await using host = new FakeAgent({ controller: grpc, host: "host-1" });
  await until("it has been welcomed", () => host.welcomes.length > 0);
  await client.apply(shopDocument("v1"));
  await client.rolloutWhen("v1 is out", (view) => view.ended);

  const command = { args: ["judge", "--record", "shop", "--every", "50ms", "--controller", grpc] };
  await using early = startNode("control/cli/main.ts", command);
  expect((await early.exited).code).toBe(EXIT.usage);
  expect(early.stdout).toBe("");
  expect(early.stderr).toMatch(/^baton: rollout shop-r1-\w+ has ended: a recording is made while one goes on\n$/);

  host.neverReady.add("v2");
  await client.apply(shopDocument("v2", { healthyDeadline: "60s", progressDeadline: "70s" }));
  await client.rolloutWhen("it is under way", (view) => view.toVersion === "v2" && view.stage === "Step");
  await using recorder = startNode("control/cli/main.ts", command);
  await recorder.line(/^\{"canary":"v2","stable":"v1","counts":"totals"\}$/);
  const fifth = [0, 0, 95, 0, 0, 5];
  host.traffic = [
    traffic("a", {
      version: "v1",
      started: 100,
      completed: 100,
      statusClasses: [0, 0, 100, 0, 0, 0],
      latency: BUCKETS,
    }),
    traffic("b", { version: "v2", started: 100, completed: 100, statusClasses: fifth, latency: BUCKETS }),
  ];
  await recorder.line(/"v2":\{"requests":100,"errors":5/);
  await client.call(Api.abort, { service: "shop", reason: "enough", actor: "ann" });
  expect(await recorder.exited).toEqual({ code: EXIT.done, signal: null });
  expect(recorder.stderr).toMatch(/^rollout shop-r2-\w+ has ended: RolledBack\n$/);

  const path = join(state.path, "shop.jsonl");
  writeFileSync(path, recorder.stdout);
  const { canary, stable, samples } = readRecording(path, {});
  expect([canary, stable]).toEqual(["v2", "v1"]);
  expect(samples.at(-1)?.versions).toEqual({
    v1: { requests: 100, errors: 0, lost: 0, latency: BUCKETS },
    v2: { requests: 100, errors: 5, lost: 0, latency: BUCKETS },
  });
  expect(samples.at(-1)?.ready).toMatchObject({ v1: 1 });
  await using judge = startNode("control/cli/main.ts", { args: ["judge", path, "--metric", "successRate >= 0.99"] });
  expect((await judge.exited).code).toBe(EXIT.failed);
  expect(judge.stdout).toContain("successRate of v2 is 0.95");
  rmSync(path);
});

test("who asks for a recording without a controller is told so", async () => {
  await using recorder = startNode("control/cli/main.ts", {
    args: ["judge", "--record", "shop", "--controller", "127.0.0.1:1"],
  });
  expect((await recorder.exited).code).toBe(EXIT.unreachable);
  expect(recorder.stdout).toBe("");
});
