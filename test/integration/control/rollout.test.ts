import { describe, expect, test } from "vitest";
import { FakeAgent } from "../../support/fake-agent.ts";
import type { FakeAgentOptions } from "../../support/fake-agent.ts";
import { Api, Folder, inProcess, shopDocument } from "../../support/control.ts";
import { until } from "../../support/processes.ts";

type Agents = readonly [FakeAgent, FakeAgent, FakeAgent, FakeAgent];

function fleet(controller: string, options: Partial<FakeAgentOptions> = {}): Agents & AsyncDisposable {
  const make = (host: string, role: "host" | "gateway"): FakeAgent =>
    new FakeAgent({ controller, host, role, ...options });
  const agents: Agents = [
    make("host-1", "host"),
    make("host-2", "host"),
    make("host-3", "host"),
    make("gateway-1", "gateway"),
  ];
  return Object.assign([...agents] as unknown as Agents, {
    async [Symbol.asyncDispose]() {
      for (const agent of agents) await agent[Symbol.asyncDispose]();
    },
  });
}

const joined = (agents: Agents): Promise<void> =>
  until("all agents have been welcomed", () => agents.every((agent) => agent.welcomes.length > 0));

describe("a rolling rollout over the wire", () => {
  test("three hosts and a gateway go from nothing to v1 and on to v2, and every host ends on v2 alone", async () => {
    using state = new Folder();
    await using control = await inProcess(state.path);
    await using agents = fleet(control.controller.grpc);
    await joined(agents);
    const { client } = control;

    const { results } = await client.apply(shopDocument("v1"), { deploy: false });
    expect(results).toMatchObject([{ service: "shop", outcome: "created", revision: 1, version: "v1" }]);
    expect(results[0]!.rollout).not.toBe("");
    await client.rolloutWhen("v1 is out", (view) => view.ended);

    await client.apply(shopDocument("v2"));
    const view = await client.rolloutWhen("v2 is out", (v) => v.ended && v.toVersion === "v2");
    expect(view).toMatchObject({ stage: "Succeeded", phase: "Healthy", exitCode: 0, fromVersion: "v1" });
    expect(view.versions.find((v) => v.version === "v2")).toMatchObject({ weightApplied: 10_000, ready: 3 });
    expect(view.transitions.length).toBeGreaterThan(3);
    for (const agent of agents.slice(0, 3)) {
      await until(`${agent.host} has v2 alone`, () => {
        return agent.instances.length === 1 && agent.instances[0]?.version === "v2";
      });
    }
    expect(agents[3].service("shop")?.endpoints.map((e) => [e.host, e.mode])).toEqual([
      ["host-1", "serving"],
      ["host-2", "serving"],
      ["host-3", "serving"],
    ]);
    const service = await client.call(Api.getService, { name: "shop" });
    expect(service).toMatchObject({ stableVersion: "v2", hostsServing: 3, hostsWanted: 3 });
    expect(service.listeners).toEqual(["127.0.0.1:8080"]);
  });

  test("a version that is never ready is taken back, and its last words are kept", async () => {
    using state = new Folder();
    await using control = await inProcess(state.path);
    await using agents = fleet(control.controller.grpc);
    await joined(agents);
    const { client } = control;
    await client.apply(shopDocument("v1"));
    await client.rolloutWhen("v1 is out", (view) => view.ended);

    for (const agent of agents) agent.neverReady.add("v3");
    await client.apply(shopDocument("v3", { healthyDeadline: "400ms" }));
    const view = await client.rolloutWhen("v3 is back", (v) => v.ended && v.toVersion === "v3");
    expect(view).toMatchObject({ stage: "RolledBack", phase: "Degraded", exitCode: 1 });
    expect(view.hosts.map(({ applied }) => applied)).toEqual([true, true, true]);
    expect(view.message).toContain("`baton deploy -f` a mended file, or `baton rollout retry shop`");
    const kept = view.hosts.flatMap((host) => host.instances).find((instance) => instance.version === "v3");
    expect(kept).toMatchObject({ reason: "readiness: 503", output: ["listening", "warming up for ever"] });
    const service = await client.call(Api.getService, { name: "shop" });
    // The rollout was taken back; the service is as well as it was before.
    expect(service).toMatchObject({ stableVersion: "v1", phase: "Healthy" });
    for (const agent of agents.slice(0, 3)) {
      await until(`${agent.host} has v1 alone`, () => {
        return agent.instances.length === 1 && agent.instances[0]?.state === "serving";
      });
    }
  });

  test("a host whose lease runs out pauses the rollout, and its return moves it on", async () => {
    using state = new Folder();
    await using control = await inProcess(state.path);
    await using agents = fleet(control.controller.grpc);
    await joined(agents);
    const { client } = control;
    await client.apply(shopDocument("v1"));
    await client.rolloutWhen("v1 is out", (view) => view.ended);

    agents[1].talking = false;
    await client.apply(shopDocument("v2", { progressDeadline: "30s" }));
    const paused = await client.rolloutWhen("it is paused", (v) => v.phase === "Paused");
    expect(paused).toMatchObject({ reason: "FleetPartitioned", exitCode: 3 });
    expect(paused.message).toContain("host-2");
    expect(await client.host("host-2")).toMatchObject({ live: false });

    agents[1].talking = true;
    const view = await client.rolloutWhen("v2 is out", (v) => v.ended);
    expect(view.stage).toBe("Succeeded");
  });

  test("what a host refuses is not sent again until something else is wanted", async () => {
    using state = new Folder();
    await using control = await inProcess(state.path);
    await using agents = fleet(control.controller.grpc);
    await joined(agents);
    const { client } = control;
    await client.apply(shopDocument("v1"));
    await client.rolloutWhen("v1 is out", (view) => view.ended);
    await until("all are synced", async () => (await client.host("host-1"))?.sync === "SYNCED");

    agents[0].decide = () => "no such command: node";
    const before = agents[0].assignments.length;
    await client.apply(shopDocument("v2"));
    const paused = await client.rolloutWhen("it is paused", (v) => v.reason === "Rejected");
    expect(paused.message).toContain("no such command: node");
    expect(await client.host("host-1")).toMatchObject({ sync: "REJECTED", syncReason: "no such command: node" });
    const refused = agents[0].assignments.slice(before).map((assignment) => assignment.hash);
    await new Promise((later) => setTimeout(later, 500));
    expect(agents[0].assignments.length).toBe(before + new Set(refused).size);

    agents[0].decide = () => null;
    await client.call(Api.abort, { service: "shop", reason: "test", actor: "ann" });
    expect(await client.rolloutWhen("it is back", (v) => v.ended)).toMatchObject({ stage: "RolledBack" });
  });

  test("an ack of another generation confirms nothing", async () => {
    using state = new Folder();
    await using control = await inProcess(state.path);
    await using agents = fleet(control.controller.grpc);
    await joined(agents);
    const { client } = control;
    await client.apply(shopDocument("v1"));
    await client.rolloutWhen("v1 is out", (view) => view.ended);

    await until("all are synced", async () => (await client.host("host-1"))?.sync === "SYNCED");

    agents[0].decide = () => "silence";
    const before = agents[0].assignments.length;
    await client.apply(shopDocument("v2"));
    await until("host-1 was asked", () => agents[0].assignments.length > before);
    const asked = agents[0].assignments.at(-1)!;
    agents[0].say({
      kind: "applied",
      applied: { epoch: asked.epoch, generation: asked.generation - 1, hash: asked.hash, services: {} },
    });
    await new Promise((later) => setTimeout(later, 300));
    const host = await client.host("host-1");
    expect(host).toMatchObject({ sync: "STALE" });
    expect(host?.syncReason).toContain(`generation ${asked.generation} was sent`);
    expect(await client.rollout()).toMatchObject({ ended: false });
  });
});
