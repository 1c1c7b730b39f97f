import { describe, expect, test } from "vitest";
import { Api, Folder, inProcess, shopDocument } from "../../support/control.ts";
import type { RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import type { Client } from "../../support/control.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { until } from "../../support/processes.ts";

const actor = "ann";
const patient = { healthyDeadline: "20s", progressDeadline: "30s" };
const rollBackFirst = (version: string): string =>
  shopDocument(version, patient).replace("rolling:", "rolling:\n      onSupersede: rollBackFirst");

/** v1 serves; a rollout to v2, which never gets ready, is under way and gives way by going back. */
async function underWay(client: Client, host: FakeAgent) {
  await until("the agent has been welcomed", () => host.welcomes.length > 0);
  await client.apply(shopDocument("v1"));
  await client.rolloutWhen("v1 is out", (v) => v.ended);
  host.neverReady.add("v2");
  await client.apply(rollBackFirst("v2"));
  await until("v2 starts", () => host.instances.some(({ version }) => version === "v2"));
  return client.rollout();
}

describe("onSupersede: rollBackFirst", () => {
  test("the newer rollout has an id at once, waits while the older goes back, and then begins under that id", async () => {
    using state = new Folder();
    await using control = await inProcess(state.path);
    const { client } = control;
    await using host = new FakeAgent({ controller: control.controller.grpc, host: "host-1" });
    const first = await underWay(client, host);
    // What is asked is not confirmed, so the rollback takes as long as the test wants.
    host.decide = () => "silence";
    const [applied] = (await client.apply(rollBackFirst("v3"))).results;
    const id = applied?.rollout ?? "";
    const waiting = await client.call(Api.getRollout, { service: "", rollout: id });
    expect(waiting).toMatchObject({ stage: "Blocked", phase: "Progressing", behind: first.id, ended: false });
    expect(waiting.message).toContain(`Waits for ${first.id} to go back first`);
    expect(waiting.hosts).toEqual([]);
    expect(host.service("shop")?.revisions.map(({ version }) => version)).toEqual(["v1", "v2"]);
    // Without an id, the one that moves is shown, and which follows it.
    const goesBack = await client.rolloutWhen("v2 goes back", ({ stage }) => stage === "RollingBack");
    expect(goesBack).toMatchObject({ id: first.id, next: id });
    // A pipeline that runs twice is told of the one that waits.
    expect((await client.apply(rollBackFirst("v3"))).results).toMatchObject([{ rollout: id }]);
    host.decide = () => null;
    host.cut();
    const done = await client.rolloutWhen("v3 is out", (v) => v.id === id && v.ended);
    expect(done).toMatchObject({ stage: "Succeeded", fromVersion: "v1", behind: "" });
    expect(done.transitions.map(({ stage }) => stage)).toContain("Blocked");
    const back = await client.call(Api.getRollout, { service: "", rollout: first.id });
    expect(back).toMatchObject({ stage: "RolledBack", ended: true });
    // It was never taken on in mid-way: v2 had gone when v3 began.
    expect(back.endedAtMs).toBeLessThanOrEqual(done.transitions.find((t) => t.stage === "Pending")?.atMs ?? 0n);
  });

  test("of several that would wait the newest does, and abort gives it up before it begins", async () => {
    using state = new Folder();
    await using control = await inProcess(state.path);
    const { client } = control;
    await using host = new FakeAgent({ controller: control.controller.grpc, host: "host-1" });
    await underWay(client, host);
    host.decide = () => "silence";
    const [third] = (await client.apply(rollBackFirst("v3"))).results;
    const [fourth] = (await client.apply(rollBackFirst("v4"))).results;
    const was = await client.call(Api.getRollout, { service: "", rollout: third?.rollout ?? "" });
    expect(was).toMatchObject({ stage: "Superseded", exitCode: 6, ended: true });
    const said = { service: "shop", reason: "", actor };
    await expect(client.call(Api.pause, said)).rejects.toThrow(/is rolling back, which can't be paused/);
    await expect(client.apply(shopDocument("v1"))).rejects.toThrow(
      /going back to v1 already; `baton rollout abort shop` gives up/,
    );
    const given = await client.call(Api.abort, said);
    expect(given).toMatchObject({ id: fourth?.rollout, stage: "RolledBack", ended: true });
    host.decide = () => null;
    host.cut();
    await until("v1 alone runs", () => host.instances.length === 1 && host.instances[0]?.version === "v1");
    const back = (v: RolloutView): boolean => v.toVersion === "v2" && v.ended;
    await until("v2 is taken back", async () => {
      return (await client.call(Api.listRollouts, { service: "shop" })).rollouts.some(back);
    });
    await expect(client.call(Api.abort, said)).rejects.toThrow(/has ended/);
  });

  test("a controller that is started anew while one waits begins it when its way is free", async () => {
    using state = new Folder();
    const before = await inProcess(state.path);
    await using host = new FakeAgent({ controller: before.controller.grpc, host: "host-1" });
    const first = await underWay(before.client, host);
    host.decide = () => "silence";
    const [applied] = (await before.client.apply(rollBackFirst("v3"))).results;
    await before[Symbol.asyncDispose]();
    await using after = await inProcess(state.path);
    host.decide = () => null;
    host.moveTo(after.controller.grpc);
    const done = await after.client.rolloutWhen("v3 is out", (v) => v.id === applied?.rollout && v.ended);
    expect(done.stage).toBe("Succeeded");
    const back = await after.client.call(Api.getRollout, { service: "", rollout: first.id });
    expect(back.stage).toBe("RolledBack");
  });
});

test("back to one of the last so many stable revisions is by the fast track, further back is not", async () => {
  using state = new Folder();
  await using control = await inProcess(state.path);
  const { client } = control;
  await using host = new FakeAgent({ controller: control.controller.grpc, host: "host-1" });
  await until("the agent has been welcomed", () => host.welcomes.length > 0);
  const windowed = (version: string): string =>
    shopDocument(version).replace("rolling:", "rolling:\n      rollbackWindow: { revisions: 2 }");
  for (const version of ["v1", "v2", "v3", "v4"]) {
    await client.apply(windowed(version));
    const view = await client.rolloutWhen(`${version} is out`, (v) => v.toVersion === version && v.ended);
    expect(view.fastTrack).toBe(false);
  }
  const to = async (toRevision: number): Promise<boolean> => {
    const { id, fastTrack } = await client.call(Api.undo, { service: "shop", toRevision, actor });
    await client.rolloutWhen("it is there", (v) => v.id === id && v.ended && v.stage === "Succeeded");
    return fastTrack;
  };
  // Stable before: v3 and v2 are within the window, v1 is not.
  expect(await to(1)).toBe(false);
  // Now v4 and v3 are.
  expect(await to(3)).toBe(true);
  expect(await to(2)).toBe(false);
  expect(await to(0)).toBe(true);
  expect((await client.rollout()).toVersion).toBe("v3");
});
