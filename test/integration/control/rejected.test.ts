/** A gateway that can't have a service's port, over the wire: the ways out while the port stays taken. */
import { describe, expect, test } from "vitest";
import { Api, Folder, inProcess, shopDocument } from "../../support/control.ts";
import type { Client } from "../../support/control.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { until } from "../../support/processes.ts";

const TAKEN = 8099;

interface Fleet extends AsyncDisposable {
  readonly client: Client;
  readonly host: FakeAgent;
  readonly gateway: FakeAgent;
}

async function fleet(): Promise<Fleet> {
  const state = new Folder();
  const control = await inProcess(state.path);
  const at = { controller: control.controller.grpc };
  const host = new FakeAgent({ ...at, host: "host-1" });
  const gateway = new FakeAgent({ ...at, host: "gateway-1", role: "gateway" });
  gateway.takenPorts.add(TAKEN);
  await until("both are welcomed", () => host.welcomes.length + gateway.welcomes.length === 2);
  return {
    client: control.client,
    ...{ host, gateway },
    async [Symbol.asyncDispose]() {
      for (const part of [host, gateway, control]) await part[Symbol.asyncDispose]();
      state[Symbol.dispose]();
    },
  };
}

const when = async (client: Client, service: string, stageOrReason: string): Promise<void> => {
  let last = "";
  const is = async (): Promise<boolean> => {
    const view = await client.rollout(service);
    last = `${view.stage} ${view.reason} ${view.message}`;
    return view.stage === stageOrReason || view.reason === stageOrReason;
  };
  await until(`${service} is ${stageOrReason}`, is, 10_000).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}; at last ${last}`);
  });
};
const abort = (client: Client, service: string) => client.call(Api.abort, { service, reason: "", actor: "ann" });
async function deleted(client: Client, name: string): Promise<void> {
  await client.call(Api.deleteService, { name });
  const names = async (): Promise<string[]> => (await client.call(Api.listServices, {})).services.map((s) => s.name);
  await until(`${name} is gone`, async () => !(await names()).includes(name), 10_000);
}

describe("a port that is taken at the gateway", () => {
  test("of a first rollout: abort ends it, nothing runs, delete takes it away; another service is not disturbed", async () => {
    await using all = await fleet();
    const { client, host } = all;
    await client.apply(shopDocument("v1"));
    await when(client, "shop", "Succeeded");
    await client.apply(shopDocument("v1", { name: "books", port: String(TAKEN) }));
    await when(client, "books", "Rejected");
    await client.apply(shopDocument("v2"));
    await when(client, "shop", "Succeeded");

    await abort(client, "books");
    await when(client, "books", "RolledBack");
    await until("nothing of it runs", () => host.instances.every(({ service }) => service !== "books"));
    await client.call(Api.undo, { service: "shop", toRevision: 0, actor: "ann" });
    await until("shop is back", async () => {
      const view = await client.rollout("shop");
      return view.toVersion === "v1" && view.stage === "Succeeded";
    });
    await deleted(client, "books");
  });

  test("of a newer version: abort goes back to the one that listens elsewhere, undo too once it is promoted", async () => {
    await using all = await fleet();
    const { client, gateway } = all;
    await client.apply(shopDocument("v1"));
    await when(client, "shop", "Succeeded");
    await client.apply(shopDocument("v2", { port: String(TAKEN) }));
    await when(client, "shop", "Succeeded");
    await until("the gateway has refused it", async () => (await client.host("gateway-1"))?.sync === "REJECTED");
    expect(gateway.service("shop")?.listeners[0]?.port).toBe(8080);
    await client.call(Api.undo, { service: "shop", toRevision: 0, actor: "ann" });
    await until("shop is back", async () => {
      const view = await client.rollout("shop");
      return view.toVersion === "v1" && view.stage === "Succeeded";
    });
    expect((await client.host("gateway-1"))?.sync).toBe("SYNCED");
    await deleted(client, "shop");
  });

  test("resume asks the gateway again, and the rollout goes on once it can listen", async () => {
    await using all = await fleet();
    const { client, gateway } = all;
    await client.apply(shopDocument("v1", { port: String(TAKEN) }));
    await when(client, "shop", "Rejected");
    gateway.takenPorts.clear();
    const asked = gateway.assignments.length;
    await client.call(Api.resume, { service: "shop", reason: "", actor: "ann" });
    await until("it is asked again", () => gateway.assignments.length > asked);
    await when(client, "shop", "Succeeded");
  });
});
