import { cpSync, rmSync } from "node:fs";
import { expect, test } from "vitest";
import { Api, shopDocument } from "../../support/control.ts";
import { FakeNatsAgent } from "../../support/fake-nats-agent.ts";
import { startNats } from "../../support/nats.ts";
import { until } from "../../support/processes.ts";
import { Several, startMember } from "../../support/several.ts";
import type { Member } from "../../support/several.ts";

/** Every host is in step; else the error says of each why not. */
async function inSync({ client, process }: Member): Promise<void> {
  let seen: readonly string[] = [];
  const look = async (): Promise<boolean> => {
    const { hosts } = await client.call(Api.listHosts, {});
    seen = hosts.map(({ name, live, sync, syncReason }) => `${name} live=${String(live)} ${sync} ${syncReason}`);
    return hosts.every(({ live, sync }) => live && sync === "SYNCED");
  };
  await until("all hosts are in sync", look, 30_000).catch((error: unknown) => {
    throw new Error([String(error), ...seen, process.describe()].join("\n"), { cause: error });
  });
}

test("a store that has lost the revision that serves takes nothing from those that run it, gateways either", async () => {
  await using nats = await startNats();
  using host = new FakeNatsAgent({ nats: nats.options(), host: "host-1" });
  using gateway = new FakeNatsAgent({ nats: nats.options(), host: "gateway-1", role: "gateway" });
  {
    await using member = await startMember(nats, "c1");
    await until("it leads", async () => (await member.info()).role === "leader", 30_000);
    await until(
      "heard",
      async () => (await member.client.call(Api.listHosts, {})).hosts.filter(({ live }) => live).length === 2,
    );
    await member.client.apply(shopDocument("v1"));
    await member.client.rolloutWhen("v1 is out", (v) => v.ended, 60_000);
  }
  const { connection } = await nats.link();
  const manager = await connection.jetstreamManager();
  await manager.streams.purge("KV_baton_baton_store", { filter: "$KV.baton_baton_store.revision/shop/1" });

  await using member = await startMember(nats, "c1");
  await until("it leads", async () => (await member.info()).role === "leader", 30_000);
  await until("both are left as they are", async () => {
    const { hosts } = await member.client.call(Api.listHosts, {});
    return hosts.length === 2 && hosts.every(({ syncReason }) => syncReason.includes("it is left as it is"));
  });
  for (const { services } of [host, gateway]) expect(services.map(({ name }) => name)).toEqual(["shop"]);
  await member.client.apply(shopDocument("v1"));
  await inSync(member);
  for (const { services } of [host, gateway]) expect(services.map(({ name }) => name)).toEqual(["shop"]);
}, 120_000);

test("a store that has lost the revision that serves has it again from the controller that followed, and goes on", async () => {
  await using nats = await startNats();
  using host = new FakeNatsAgent({ nats: nats.options(), host: "host-1" });
  await using several = await Several.start(nats, 2);
  const { leader, followers } = await several.settled();
  const follower = followers[0]!;
  const hosts = async () => (await follower.client.call(Api.listHosts, {})).hosts;
  await until("heard", async () => (await hosts()).some(({ live }) => live));
  await leader.client.apply(shopDocument("v1"));
  await leader.client.rolloutWhen("v1 is out", (v) => v.ended, 60_000);
  const { connection } = await nats.link();
  const manager = await connection.jetstreamManager();
  await manager.streams.purge("KV_baton_baton_store", { filter: "$KV.baton_baton_store.revision/shop/1" });
  await leader.process.stop();

  await until("the other one leads", async () => (await follower.info()).role === "leader", 30_000);
  await inSync(follower);
  expect(follower.process.describe()).toContain("this controller remembers them");
  await follower.client.apply(shopDocument("v2"));
  await follower.client.rolloutWhen("v2 is out", (v) => v.toVersion === "v2" && v.ended, 60_000);
  expect(host.services[0]?.revisions.map(({ version }) => version)).toEqual(["v2"]);
}, 120_000);

test("a backup that is older than what runs is restored: it is led on above all epochs that agents have seen, and takes nothing from them", async () => {
  await using nats = await startNats();
  const server = nats.servers[0]!;
  const led = async () => {
    const member = await startMember(nats, "c1");
    await until("it leads", async () => (await member.info()).role === "leader", 30_000);
    return member;
  };
  const backup = `${server.folder}-backup`;
  using agent = new FakeNatsAgent({ nats: nats.options(), host: "host-1" });
  const version = (): string | undefined => agent.services[0]?.revisions[0]?.version;
  {
    await using member = await led();
    await until("heard", async () => (await member.client.call(Api.listHosts, {})).hosts.some(({ live }) => live));
    await member.client.apply(shopDocument("v1"));
    await member.client.rolloutWhen("v1 is out", (v) => v.ended, 60_000);
  }
  await server.end();
  cpSync(server.folder, backup, { recursive: true });
  await server.restart();
  // Since then: two more terms, and another version.
  for (const next of ["v2", "v3"]) {
    await using member = await led();
    await member.client.apply(shopDocument(next));
    await member.client.rolloutWhen(`${next} is out`, (v) => v.toVersion === next && v.ended, 60_000);
  }
  expect(version()).toBe("v3");
  const seen = agent.highestEpoch;
  await server.end();
  rmSync(server.folder, { recursive: true });
  cpSync(backup, server.folder, { recursive: true });
  await server.restart();

  await using member = await led();
  const host = async () => (await member.client.call(Api.listHosts, {})).hosts[0];
  await until("what it serves is left as it is", async () => {
    return (await host())?.syncReason.includes("it is left as it is") === true;
  });
  await member.client.apply(shopDocument("v3"));
  await until("in sync again", async () => (await host())?.sync === "SYNCED", 30_000);
  expect(version()).toBe("v3");
  expect(agent.highestEpoch).toBeGreaterThan(seen);
  expect((await member.info()).epoch).toBe(BigInt(agent.highestEpoch));
  expect((await member.info()).troubles).toEqual([]);
}, 120_000);
