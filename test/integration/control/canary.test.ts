import { status } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { Api, Folder, inProcess, shopDocument } from "../../support/control.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { until } from "../../support/processes.ts";
import { traffic } from "../../support/samples.ts";

const actor = "ann";
const STEPS = `
      analysis: { metrics: [] }
      stickiness: { cookie: { name: shop-canary, maxAge: 1h } }
      steps:
        - setHeaderRoute: { name: beta, matches: [{ headers: [{ name: x-beta, value: "true" }] }] }
        - setMirrorRoute: { name: shadow, percentage: 5 }
        - setWeight: 20
        - pause: {}
        - setWeight: 60
        - pause: { duration: 20s }
`;
const canary = (version: string): string => shopDocument(version).replace("rolling:\n", `canary:${STEPS}`);
const withoutSurge = (text: string): string => text.replace(/^ +maxSurge: 1\n +maxUnavailable: 0\n/m, "");

/** Two hosts and a gateway that serve v1. */
async function serving(state: string) {
  const control = await inProcess(state);
  const controller = control.controller.grpc;
  const agents = ["host-1", "host-2"].map((host) => new FakeAgent({ controller, host }));
  const gateway = new FakeAgent({ controller, host: "gateway-1", role: "gateway" });
  const all = [...agents, gateway];
  await until("the agents have been welcomed", () => all.every((agent) => agent.welcomes.length > 0));
  await control.client.apply(shopDocument("v1"));
  await control.client.rolloutWhen("v1 is out", (v) => v.ended);
  const [first, second] = agents;
  return {
    client: control.client,
    hosts: [first!, second!] as const,
    gateway,
    async [Symbol.asyncDispose]() {
      for (const agent of all) await agent[Symbol.asyncDispose]();
      await control[Symbol.asyncDispose]();
    },
  };
}

test("a canary's view: steps as they go, the split as asked and as applied, then stable without anything started again", async () => {
  using state = new Folder();
  await using all = await serving(state.path);
  const { client, hosts } = all;
  await client.apply(withoutSurge(canary("v2")));
  const paused = await client.rolloutWhen("it waits for an operator", (v) => v.reason === "Step");
  expect(paused.program.map(({ text, state: at }) => [text, at])).toEqual([
    ["setHeaderRoute beta", "done"],
    ["setMirrorRoute shadow 5 %", "done"],
    ["setWeight 20 %", "done"],
    ["pause", "current"],
    ["setWeight 60 %", "to come"],
    ["pause 20s", "to come"],
    ["setWeight 100 %", "to come"],
  ]);
  expect(paused).toMatchObject({ phase: "Paused", exitCode: 3, unconfirmed: [] });
  expect(paused.message).toContain("`baton rollout promote shop` goes on, `baton rollout abort shop` rolls back");
  expect(paused.split).toEqual({
    weight: 2_000,
    sticky: "cookie shop-canary",
    routes: [
      { kind: "header", name: "beta", percentage: 0, hostsAsked: 2, hostsApplied: 2 },
      { kind: "mirror", name: "shadow", percentage: 500, hostsAsked: 2, hostsApplied: 2 },
    ],
  });
  expect(
    paused.versions.map(({ version, weightAsked, weightApplied }) => [version, weightAsked, weightApplied]),
  ).toEqual([
    ["v1", 8_000, 8_000],
    ["v2", 2_000, 2_000],
  ]);
  const ids = new Set(hosts.flatMap((host) => host.instances.filter((i) => i.version === "v2").map((i) => i.id)));

  // By hand, while it waits; every host confirms.
  await client.call(Api.setWeight, { service: "shop", weight: 3_500, actor });
  const byHand = await client.rolloutWhen("35 % are applied", (v) => v.versions[1]?.weightApplied === 3_500);
  expect(byHand.split?.weight).toBe(3_500);
  expect(hosts[0].service("shop")?.revisions.map(({ weight }) => weight)).toEqual([6_500, 3_500]);
  await expect(client.call(Api.setWeight, { service: "shop", weight: 10_001, actor })).rejects.toThrow(/more than all/);

  // What is not confirmed yet is named, with why.
  hosts[1].decide = () => "no room for a table";
  await client.call(Api.promote, { service: "shop", full: false, actor });
  const refused = await client.rolloutWhen("one refuses", (v) => v.reason === "Rejected");
  expect(refused.unconfirmed).toEqual([
    { host: "host-2", role: "host", state: "rejected", why: "no room for a table" },
  ]);
  expect(refused.versions[1]).toMatchObject({ weightAsked: 6_000 });
  hosts[1].decide = () => null;
  await client.call(Api.resume, { service: "shop", reason: "", actor });
  const timed = await client.rolloutWhen("60 % are applied", (v) => v.stage === "Step" && v.reason === "Pausing");
  expect(timed.versions[1]).toMatchObject({ weightAsked: 6_000, weightApplied: 6_000 });
  expect(Number(timed.program[5]?.untilMs)).toBeGreaterThan(Date.now());
  await client.call(Api.promote, { service: "shop", full: false, actor });
  const done = await client.rolloutWhen("v2 is stable", (v) => v.ended);
  expect(done.stage).toBe("Succeeded");
  expect(new Set(done.program.map((step) => step.state))).toEqual(new Set(["done"]));
  // Promotion never re-deploys.
  expect(new Set(hosts.flatMap((host) => host.instances.map((i) => i.id)))).toEqual(ids);
});

test("aborted, its steps are not reached, and the old version has all of the traffic in one change", async () => {
  using state = new Folder();
  await using all = await serving(state.path);
  const { client, hosts } = all;
  await client.apply(withoutSurge(canary("v2")));
  await client.rolloutWhen("it waits for an operator", (v) => v.reason === "Step");
  hosts[0].traffic = [traffic("shop-r2-0-host-1", { version: "v2", started: 50, completed: 50, latency: [[60, 50]] })];
  hosts[0].report();
  await client.call(Api.abort, { service: "shop", reason: "enough", actor });
  const back = await client.rolloutWhen("it is back", (v) => v.ended);
  expect(back).toMatchObject({ stage: "RolledBack", exitCode: 1 });
  expect(back.program.map((step) => step.state)).toEqual([
    "done",
    "done",
    "done",
    ...new Array<string>(4).fill("not reached"),
  ]);
  const [, second] = back.versions;
  expect(second?.latency).toEqual([{ belowUs: expect.any(BigInt) as bigint, count: 50n }]);
  expect(second?.p50Us).toBe(second?.latency[0]?.belowUs);
  expect(second?.p90Us).toBe(second?.p50Us);
  await until("v1 alone runs", () => hosts.every((host) => host.instances.every(({ version }) => version === "v1")));
});

test("retry goes through every step again, promote --full passes over what is left, undo goes back by the older strategy", async () => {
  using state = new Folder();
  await using all = await serving(state.path);
  const { client, hosts } = all;
  const said = { service: "shop", reason: "", actor };
  await client.apply(withoutSurge(canary("v2")));
  const first = await client.rolloutWhen("it waits for an operator", (v) => v.reason === "Step");
  await client.call(Api.abort, said);
  await client.rolloutWhen("it is back", (v) => v.ended);
  const again = await client.call(Api.retry, said);
  expect(again.id).not.toBe(first.id);
  const second = await client.rolloutWhen("it waits again", (v) => v.id === again.id && v.reason === "Step");
  expect(second.program).toHaveLength(7);
  await client.call(Api.promote, { service: "shop", full: true, actor });
  const done = await client.rolloutWhen("v2 is stable", (v) => v.ended && v.id === again.id);
  expect(done).toMatchObject({ stage: "Succeeded", fastTrack: true });
  const undone = await client.call(Api.undo, { service: "shop", toRevision: 0, actor });
  expect(undone).toMatchObject({ strategy: "rolling", toVersion: "v1", program: [] });
  await client.rolloutWhen("v1 is back", (v) => v.ended && v.id === undone.id && v.stage === "Succeeded");
  // And on to the canary's revision once more: by its own steps, as no window says otherwise.
  const forth = await client.call(Api.undo, { service: "shop", toRevision: 2, actor });
  expect(forth).toMatchObject({ strategy: "canary", toVersion: "v2", fastTrack: false });
  await client.rolloutWhen("it waits for an operator", (v) => v.id === forth.id && v.reason === "Step");
  expect(hosts[0].service("shop")?.revisions.map(({ weight }) => weight)).toEqual([8_000, 2_000]);
});

test("an agent that vanishes is named with how long it has been silent", async () => {
  using state = new Folder();
  await using all = await serving(state.path);
  const { client, hosts } = all;
  await client.apply(withoutSurge(canary("v2")));
  await client.rolloutWhen("it waits for an operator", (v) => v.reason === "Step");
  hosts[1].talking = false;
  const gone = await client.rolloutWhen("it is missed", (v) => v.unconfirmed.some((one) => one.state === "no news"));
  expect(gone.unconfirmed).toMatchObject([{ host: "host-2", role: "host" }]);
  expect(gone.unconfirmed[0]?.why).toMatch(/^nothing was heard of it for \d+\.\d s$/);
});

test("a weight by hand is refused where there is none to set, with the command that would do", async () => {
  using state = new Folder();
  await using all = await serving(state.path);
  const { client, hosts } = all;
  const set = (): Promise<unknown> => client.call(Api.setWeight, { service: "shop", weight: 3_000, actor });
  const refusal = (details: RegExp): unknown =>
    expect.objectContaining({ code: status.FAILED_PRECONDITION, details: expect.stringMatching(details) as unknown });
  await expect(set()).rejects.toEqual(refusal(/has ended .*`baton deploy shop --to VERSION`/));
  hosts[0].neverReady.add("v2");
  await client.apply(shopDocument("v2", { healthyDeadline: "20s", progressDeadline: "30s" }));
  await expect(set()).rejects.toEqual(refusal(/moves whole hosts, .*`baton rollout promote shop` moves it on/));
});
