import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { natsNames } from "../../../proto/contract/nats.ts";
import type { Event } from "../../../proto/gen/baton/v1/operator.ts";
import { Api, shopDocument } from "../../support/control.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { startNats } from "../../support/nats.ts";
import { until } from "../../support/processes.ts";
import { Several, startMember } from "../../support/several.ts";
import type { Member } from "../../support/several.ts";

const LONG = 60_000;
const names = natsNames("baton");

/** Resolves with what it says is wrong. */
async function troubleOf(member: Member, like: RegExp): Promise<string> {
  let said: readonly string[] = [];
  await until(
    `trouble like ${String(like)}`,
    async () => (said = (await member.info()).troubles).some((why) => like.test(why)),
    LONG,
  ).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}; it says: ${said.join(" | ")}`);
  });
  const ready = await fetch(`http://${member.http}/readyz`);
  expect(ready.status).toBe(503);
  return said.find((why) => like.test(why)) ?? "";
}

const leads = (member: Member) =>
  until(
    "it leads",
    async () => {
      const { role, troubles } = await member.info();
      return role === "leader" && troubles.length === 0;
    },
    LONG,
  );

test(
  "NATS is not there at the start: the controller waits for it, says so, and leads when it has come",
  async () => {
    await using nats = await startNats();
    await nats.servers[0]?.kill();
    await using member = await startMember(nats, "c1");
    expect(await troubleOf(member, /connection refused/)).toContain("is nats-server running there?");
    expect((await member.info()).role).toBe("candidate");
    expect((await fetch(`http://${member.http}/healthz`)).status).toBe(200);
    const metrics = await (await fetch(`http://${member.http}/metrics`)).text();
    expect(metrics).toContain("baton_control_leads 0");
    await nats.servers[0]?.restart();
    await leads(member);
    expect(await (await fetch(`http://${member.http}/metrics`)).text()).toContain("baton_control_leads 1");
  },
  LONG,
);

test(
  "wrong credentials are told with the file to look at, and mended without a restart",
  async () => {
    await using nats = await startNats({ auth: { user: "baton", password: "right" } });
    const file = nats.options().credsFile ?? "";
    await using member = await startMember(nats, "c1", "--nats-creds", `${file}-2`);
    expect(await troubleOf(member, /-2 is not there/)).toContain(`${file}-2`);
    writeFileSync(`${file}-2`, "baton:wrong\n");
    expect(await troubleOf(member, /refuses these credentials/)).toContain(`look at ${file}-2`);
    writeFileSync(`${file}-2`, "baton:right\n");
    await leads(member);
  },
  LONG,
);

test(
  "JetStream is off: told with what to start the server with, and all is well once it is on",
  async () => {
    await using nats = await startNats({ jetstream: false });
    await using member = await startMember(nats, "c1");
    expect(await troubleOf(member, /JetStream/)).toMatch(/-js|jetstream/);
    await nats.servers[0]?.restart({ jetstream: true });
    await leads(member);
  },
  LONG,
);

test("no room in JetStream: the change is refused with the reason, what runs goes on, and room brings it back", async () => {
  await using nats = await startNats({ maxStore: 8 << 20 });
  await using member = await startMember(nats, "c1");
  await leads(member);
  await using agent = new FakeAgent({ controller: member.grpc, host: "host-1" });
  await until("welcomed", () => agent.welcomes.length > 0, LONG);
  await member.client.apply(shopDocument("v1"));
  await member.client.rolloutWhen("v1 is out", (v) => v.ended, LONG);

  // Somebody else fills the disk that JetStream was given.
  const link = await nats.link();
  const jsm = await link.connection.jetstreamManager();
  await jsm.streams.add({ name: "FILLER", subjects: ["filler"] });
  const block = Buffer.alloc(256 << 10, 1);
  const publish = async (): Promise<boolean> => {
    const sent = link.connection.jetstream().publish("filler", block);
    return sent.then(
      () => true,
      () => false,
    );
  };
  while (await publish());
  const refused = await member.client.apply(shopDocument("v2")).then(
    () => "it was taken",
    (error: unknown) => (error as Error).message,
  );
  expect(refused).toMatch(/no room|space|store/);
  expect(agent.service("shop")?.revisions.map(({ version }) => version)).toEqual(["v1"]);
  await jsm.streams.delete("FILLER");
  await until(
    "it is taken again",
    async () => {
      return member.client.apply(shopDocument("v2")).then(
        () => true,
        () => false,
      );
    },
    LONG,
  );
  const done = await member.client.rolloutWhen("v2 is out", (v) => v.toVersion === "v2" && v.ended, LONG);
  expect(done.stage).toBe("Succeeded");
}, 120_000);

test.each([
  ["the records are", [names.storeBucket]],
  ["the whole store is", [names.headBucket, names.storeBucket]],
])(
  "%s deleted by hand: it is said, agents are left as they are, and applying again goes on from there",
  async (_, gone) => {
    await using nats = await startNats();
    await using several = await Several.start(nats, 2);
    const { leader, followers } = await several.settled();
    await using one = new FakeAgent({ controller: leader.grpc, host: "host-1" });
    await using two = new FakeAgent({ controller: followers[0]!.grpc, host: "host-2" });
    for (const agent of [one, two]) await until("welcomed", () => agent.welcomes.length > 0, LONG);
    await leader.client.apply(shopDocument("v1"));
    await leader.client.rolloutWhen("v1 is out", (v) => v.ended, LONG);
    const sent = Math.min(...[one, two].map(({ assignments }) => assignments.length));

    const link = await nats.link();
    const manager = await link.connection.jetstreamManager();
    for (const bucket of gone) await manager.streams.delete(`KV_${bucket}`);
    // It comes to light with the next change; where there is traffic, counts are stored every two seconds.
    let changes = 0;
    await until("a change is refused", () => {
      const change = changes++ % 2 === 0 ? Api.drain : Api.undrain;
      return leader.client.call(change, { host: "host-1", actor: "ann" }).then(
        () => false,
        (error: unknown) => (error as Error).message.includes("is gone from NATS"),
      );
    });
    let now = leader;
    await until(
      "a controller leads on an empty store",
      async () => {
        for (const member of [leader, ...followers]) {
          if ((await member.info()).role !== "leader") continue;
          now = member;
          const { services } = await member.client.call(Api.listServices, {});
          return services.length === 0;
        }
        return false;
      },
      LONG,
    );
    await until(
      "the agents are held",
      async () => {
        const { hosts } = await now.client.call(Api.listHosts, {});
        return hosts.length === 2 && hosts.every(({ syncReason }) => syncReason.includes("it is left as it is"));
      },
      LONG,
    );
    for (const { assignments } of [one, two]) {
      // A change that was under way may still have gone out; nothing that takes the service away.
      const whole = assignments.slice(sent).every(({ services }) => services[0]?.revisions.length === 1);
      expect(whole).toBe(true);
    }
    expect(one.instances.map(({ version, state }) => [version, state])).toEqual([["v1", "serving"]]);
    const said: Event[] = [];
    const events = now.client.stream(Api.events, { follow: true, service: "", limit: 0, afterSeq: 0n });
    events.on("data", (event: Event) => void said.push(event)).on("error", () => undefined);
    await until("it is told", () => said.some(({ kind }) => kind === "store_empty"));
    events.cancel();

    // What serves already is taken on as it is.
    await now.client.apply(shopDocument("v1"));
    await until(
      "in sync again",
      async () => {
        const { hosts } = await now.client.call(Api.listHosts, {});
        return hosts.length === 2 && hosts.every(({ sync }) => sync === "SYNCED");
      },
      LONG,
    );
    expect(one.instances.map(({ version, state }) => [version, state])).toEqual([["v1", "serving"]]);
  },
  120_000,
);
