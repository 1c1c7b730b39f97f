import { status } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { NOT_DONE } from "../../../proto/contract/nats.ts";
import type { Event, RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import { Api, shopDocument } from "../../support/control.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { startNats } from "../../support/nats.ts";
import { until } from "../../support/processes.ts";
import { Several } from "../../support/several.ts";

const patient = { healthyDeadline: "60s", progressDeadline: "120s" };
const LONG = 60_000;

/** Every assignment that an agent was sent has a fence above the one before, and none is of an epoch that was over. */
function fencesGrow({ assignments, welcomes }: FakeAgent): void {
  const fences = assignments.map(({ epoch, generation }) => epoch * 1e6 + generation);
  expect(fences).toEqual([...fences].sort((a, b) => a - b));
  const epochs = welcomes.map(({ epoch }) => epoch);
  expect(epochs).toEqual([...epochs].sort((a, b) => a - b));
}

test(
  "a follower passes writes to the leader, shows what they did, and tells events as they come",
  async () => {
    await using nats = await startNats();
    await using several = await Several.start(nats, 2);
    const { leader, followers } = await several.settled();
    const follower = followers[0]!;
    await using one = new FakeAgent({ controller: leader.grpc, host: "host-1" });
    await using two = new FakeAgent({ controller: follower.grpc, host: "host-2" });
    const events: Event[] = [];
    const live = follower.client.stream(Api.events, { follow: true, service: "", limit: 0, afterSeq: 0n });
    live.on("data", (event: Event) => void events.push(event));
    live.on("error", () => undefined);
    for (const agent of [one, two]) await until("welcomed", () => agent.welcomes.length > 0, LONG);
    await until("both hosts are known to the follower", async () => {
      const { hosts } = await follower.client.call(Api.listHosts, {});
      return hosts.filter(({ live }) => live).length === 2;
    });

    const { results } = await follower.client.apply(shopDocument("v1", patient));
    // It was stored by the other one, and is shown here at once.
    const at = await follower.client.call(Api.getRollout, { service: "", rollout: results[0]?.rollout ?? "" });
    expect(at).toMatchObject({ toVersion: "v1", service: "shop" });
    const watched: RolloutView[] = [];
    const watch = follower.client.stream(Api.watchRollout, { service: "shop", rollout: "" });
    watch.on("data", (view: RolloutView) => void watched.push(view));
    await new Promise((resolve, reject) => watch.on("end", resolve).on("error", reject));
    expect(watched.at(-1)).toMatchObject({ ended: true, stage: "Succeeded" });
    expect(watched.length).toBeGreaterThan(1);

    const same = await Promise.all([leader, follower].map(({ client }) => client.rollout()));
    expect(same[0]?.transitions).toEqual(same[1]?.transitions);
    for (const { client } of [leader, follower]) {
      const { hosts } = await client.call(Api.listHosts, {});
      await until("in sync as seen here", async () => {
        return (await client.call(Api.listHosts, {})).hosts.every(({ sync }) => sync === "SYNCED");
      });
      expect(hosts.map(({ name, live }) => [name, live])).toEqual([
        ["host-1", true],
        ["host-2", true],
      ]);
    }
    // What is refused is refused in the leader's words.
    const refused = follower.client.call(Api.deploy, { service: "shpo", version: "", revision: 1, actor: "" });
    await expect(refused).rejects.toThrow(/no service shpo; did you mean shop\?/);
    await until("the end is told", () => events.some(({ message }) => message.startsWith("Succeeded")));
    expect(events.map(({ seq }) => Number(seq))).toEqual(events.map((_, i) => Number(events[0]?.seq) + i));
    live.cancel();
    [one, two].forEach(fencesGrow);
  },
  LONG,
);

test("the leader is killed in mid-rollout: the follower takes over under a higher epoch, and the rollout goes on", async () => {
  await using nats = await startNats();
  await using several = await Several.start(nats, 2);
  const { leader, followers } = await several.settled();
  const follower = followers[0]!;
  // Both at the one that stays: what is tried is the take-over, not the way back of a stream.
  await using one = new FakeAgent({ controller: follower.grpc, host: "host-1" });
  await using two = new FakeAgent({ controller: follower.grpc, host: "host-2" });
  for (const agent of [one, two]) await until("welcomed", () => agent.welcomes.length > 0, LONG);
  await follower.client.apply(shopDocument("v1", patient));
  await follower.client.rolloutWhen("v1 is out", (v) => v.ended, LONG);
  const before = (await leader.info()).epoch;

  for (const agent of [one, two]) agent.neverReady.add("v2");
  await follower.client.apply(shopDocument("v2", patient));
  await until("v2 starts", () => [one, two].some((a) => a.instances.some(({ version }) => version === "v2")), LONG);
  leader.process.signal("SIGKILL");
  await leader.process.exited;
  // A write that comes while nobody leads waits for who does.
  const paused = await follower.client.call(Api.pause, { service: "shop", reason: "to look", actor: "ann" });
  expect(paused).toMatchObject({ phase: "Paused" });
  const after = await follower.info();
  expect(after).toMatchObject({ role: "leader", id: follower.id, leader: follower.id });
  expect(after.epoch).toBeGreaterThan(before);

  for (const agent of [one, two]) agent.getReady("v2");
  await follower.client.call(Api.resume, { service: "shop", reason: "", actor: "ann" });
  const done = await follower.client.rolloutWhen("v2 is out", (v) => v.toVersion === "v2" && v.ended, LONG);
  expect(done.stage).toBe("Succeeded");
  [one, two].forEach(fencesGrow);

  // Who comes new follows, with all that was.
  const late = await several.add("c3");
  await several.settled();
  expect(await late.client.rollout()).toMatchObject({ id: done.id, stage: "Succeeded" });
}, 120_000);

test("a leader that was stopped past its lease finds another one leading, and sends nothing any more", async () => {
  await using nats = await startNats();
  await using several = await Several.start(nats, 2);
  const { leader, followers } = await several.settled();
  const follower = followers[0]!;
  await using agent = new FakeAgent({ controller: follower.grpc, host: "host-1" });
  await until("welcomed", () => agent.welcomes.length > 0, LONG);
  await follower.client.apply(shopDocument("v1", patient));
  await follower.client.rolloutWhen("v1 is out", (v) => v.ended, LONG);
  leader.process.signal("SIGSTOP");
  try {
    await until("the other leads", async () => (await follower.info()).role === "leader", LONG);
    await follower.client.apply(shopDocument("v2", patient));
    await follower.client.rolloutWhen("v2 is out", (v) => v.toVersion === "v2" && v.ended, LONG);
  } finally {
    leader.process.signal("SIGCONT");
  }
  await until("it follows", async () => (await leader.info()).role === "follower", LONG);
  expect(await leader.client.rollout()).toMatchObject({ toVersion: "v2", stage: "Succeeded" });
  await until("it says who leads", async () => (await leader.info()).leader === follower.id);
  fencesGrow(agent);
}, 120_000);

test(
  "a leader that ends gives the lease back: the next one leads without waiting for it to run out",
  async () => {
    await using nats = await startNats();
    await using several = await Several.start(nats, 2);
    const { leader, followers } = await several.settled();
    const follower = followers[0]!;
    leader.process.signal("SIGTERM");
    expect(await leader.process.exited).toMatchObject({ code: 0 });
    await until("the other leads", async () => (await follower.info()).role === "leader");
    const said: Event[] = [];
    const events = follower.client.stream(Api.events, { follow: true, service: "", limit: 0, afterSeq: 0n });
    events.on("data", (event: Event) => void said.push(event)).on("error", () => undefined);
    await until("the new one has told of its start", () => said.length === 4);
    events.cancel();
    expect(said.map(({ kind }) => kind)).toEqual([
      "store_empty",
      "controller_started",
      "controller_stopping",
      "controller_started",
    ]);
    expect(said.at(-1)?.message).toContain(`${follower.id} leads`);
  },
  LONG,
);

test("without NATS nobody leads and all say why; when it is back, one does, and the rollout goes on", async () => {
  await using nats = await startNats();
  await using several = await Several.start(nats, 2);
  const { leader, followers } = await several.settled();
  await using agent = new FakeAgent({ controller: leader.grpc, host: "host-1" });
  await until("welcomed", () => agent.welcomes.length > 0, LONG);
  await leader.client.apply(shopDocument("v1", patient));
  await leader.client.rolloutWhen("v1 is out", (v) => v.ended, LONG);
  agent.neverReady.add("v2");
  await leader.client.apply(shopDocument("v2", patient));
  await until("v2 starts", () => agent.instances.some(({ version }) => version === "v2"), LONG);

  await nats.servers[0]?.kill();
  const sent = agent.assignments.length;
  await until(
    "nobody leads",
    async () => {
      const infos = await Promise.all([leader, ...followers].map((member) => member.info()));
      return infos.every(({ role, troubles }) => role !== "leader" && troubles.some((why) => why.includes("NATS")));
    },
    LONG,
  );
  // Nothing was asked of anybody: whoever hears it may ask another controller.
  const declined = await leader.client.call(Api.pause, { service: "shop", reason: "", actor: "ann" }).then(
    () => null,
    (error: unknown) => error as ServiceError,
  );
  expect(declined?.code).toBe(status.UNAVAILABLE);
  expect(declined?.metadata.get(NOT_DONE)).toEqual(["1"]);
  const ready = await fetch(`http://${leader.http}/readyz`);
  expect(ready.status).toBe(503);
  expect(await ready.text()).toContain("NATS at nats://127.0.0.1");
  expect((await fetch(`http://${leader.http}/healthz`)).status).toBe(200);
  expect(agent.assignments.length).toBe(sent);

  await nats.servers[0]?.restart();
  const now = await several.settled();
  agent.getReady("v2");
  const done = await now.leader.client.rolloutWhen("v2 is out", (v) => v.toVersion === "v2" && v.ended, LONG);
  expect(done.stage).toBe("Succeeded");
  fencesGrow(agent);
}, 120_000);
