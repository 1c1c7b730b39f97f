/** Several services on the same hosts roll at once: each goes its own way, and none of them is disturbed by another. */
import { expect, test } from "vitest";
import { serviceHash } from "../../../proto/contract/canonical.ts";
import type { RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import { Folder, inProcess, shopDocument } from "../../support/control.ts";
import type { Client } from "../../support/control.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { until } from "../../support/processes.ts";

const ended = async (client: Client, service: string, version: string): Promise<RolloutView> => {
  let view = await client.rollout(service);
  await until(`${service} ${version} has ended`, async () => {
    view = await client.rollout(service);
    return view.ended && view.toVersion === version;
  });
  return view;
};

test("one rolls back, one becomes stable, one is not asked anything: all on the same hosts at the same time", async () => {
  using state = new Folder();
  await using control = await inProcess(state.path);
  const { client } = control;
  const controller = control.controller.grpc;
  await using a = new FakeAgent({ controller, host: "host-1" });
  await using b = new FakeAgent({ controller, host: "host-2" });
  await using gateway = new FakeAgent({ controller, host: "gateway-1", role: "gateway" });
  const agents = [a, b, gateway];
  await until("all are welcomed", () => agents.every((agent) => agent.welcomes.length > 0));

  const document = (name: string, port: string, version: string): string => shopDocument(version, { name, port });
  for (const [name, port] of [
    ["cart", "8081"],
    ["shop", "8082"],
    ["mail", "8083"],
  ] as const) {
    await client.apply(document(name, port, "v1"));
    await ended(client, name, "v1");
  }
  const still = (): string[] =>
    agents.flatMap(({ assignments }) =>
      assignments.flatMap(({ services }) => services.filter(({ name }) => name === "mail").map(serviceHash)),
    );
  const sentBefore = agents.map((agent) => agent.assignments.length);
  await until("nothing more is asked", () => agents.every((agent) => agent.applied?.services["mail"] !== undefined));
  const mailBefore = agents.map((agent) => agent.applied?.services["mail"]);

  for (const agent of agents) agent.neverReady.add("bad");
  await client.apply(document("cart", "8081", "bad").replace("healthyDeadline: 2s", "healthyDeadline: 700ms"));
  await client.apply(document("shop", "8082", "v2"));
  const active = await Promise.all(["cart", "shop"].map((name) => client.rollout(name)));
  expect(active.map((view) => view.ended)).toEqual([false, false]);

  const [cart, shop] = await Promise.all([ended(client, "cart", "bad"), ended(client, "shop", "v2")]);
  expect(cart).toMatchObject({ stage: "RolledBack", exitCode: 1 });
  expect(shop).toMatchObject({ stage: "Succeeded", exitCode: 0 });
  expect(shop.transitions.some(({ message }) => message.includes("cart"))).toBe(false);

  // The others' assignments went out many times; what they said of `mail` was the same every time.
  expect(agents.every((agent, at) => agent.assignments.length > (sentBefore[at] ?? 0))).toBe(true);
  expect(agents.map((agent) => agent.applied?.services["mail"])).toEqual(mailBefore);
  const hosts = agents.slice(0, 2).flatMap((agent) => agent.instances.filter(({ service }) => service === "mail"));
  expect(hosts.map(({ state: at, restarts }) => [at, restarts])).toEqual([
    ["serving", 0],
    ["serving", 0],
  ]);
  expect(still().length).toBeGreaterThan(0);
});
