import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { Api, Folder, inProcess } from "../../support/control.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { until } from "../../support/processes.ts";

test("a rollout that an earlier version of the controller began, paused and left behind is resumed to its end", async () => {
  using state = new Folder();
  const db = new DatabaseSync(join(state.path, "controller.db"));
  db.exec(readFileSync("test/unit/store/stores/schema-1.sql", "utf8"));
  db.close();
  await using control = await inProcess(state.path);
  const { client } = control;
  const controller = control.controller.grpc;
  await using host = new FakeAgent({ controller, host: "host-1", labels: { zone: "a" } });
  await using gateway = new FakeAgent({ controller, host: "gateway-1", role: "gateway" });
  await until("the agents are back", () => host.welcomes.length > 0 && gateway.welcomes.length > 0);
  const found = await client.call(Api.getRollout, { service: "shop", rollout: "" });
  expect(found).toMatchObject({ id: "shop-r2-2ce035", phase: "Paused", reason: "Manual", fromVersion: "v1" });
  expect(found.transitions.map(({ actor }) => actor)).toContain("ann");
  await until("what was started is running", () => host.instances.some(({ revision }) => revision === 2));
  await client.call(Api.resume, { service: "shop", reason: "", actor: "bob" });
  const done = await client.rolloutWhen("v2 is out", (view) => view.ended);
  expect(done).toMatchObject({ id: "shop-r2-2ce035", stage: "Succeeded" });
  const undone = await client.call(Api.undo, { service: "shop", toRevision: 0, actor: "bob" });
  expect(undone.toVersion).toBe("v1");
  expect(await client.rolloutWhen("v1 is back", (view) => view.ended && view.id === undone.id)).toMatchObject({
    stage: "Succeeded",
  });
});
