/** Agents' sessions over a real nats-server: the agent's real session before a scripted core, the controller's real fleet. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openAssignments } from "../../../control/fleet/nats/bucket.ts";
import { Puts } from "../../../control/fleet/nats/puts.ts";
import type { AssignedService, Assignment } from "../../../proto/contract/assignment.ts";
import { assignmentHash } from "../../../proto/contract/canonical.ts";
import { keptAssignment } from "../../../proto/contract/nats-assignments.ts";
import type { NatsLink } from "../../../proto/contract/nats-link.ts";
import { LEAD, natsNames } from "../../../proto/contract/nats.ts";
import {
  decodeAgentEnvelope,
  decodeAssignmentValue,
  decodeControllerEnvelope,
  encodeAgentEnvelope,
  encodeAssignmentValue,
  encodeCall,
  encodeControllerEnvelope,
} from "../../../proto/contract/wire.ts";
import type { AgentEnvelope, ControllerEnvelope } from "../../../proto/contract/wire.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { systemClock, systemRandom } from "../../../proto/runtime/system-clock.ts";
import { endpoint, revision, service } from "../../support/core/assignments.ts";
import { FakeNatsAgent } from "../../support/fake-nats-agent.ts";
import { NatsController } from "../../support/nats-controller.ts";
import { startNats } from "../../support/nats.ts";
import type { NatsServers } from "../../support/nats.ts";
import { until } from "../../support/processes.ts";
import { Relay } from "../../support/relay.ts";
import { report, traffic } from "../../support/samples.ts";

let nats: NatsServers;
let link: NatsLink;
beforeAll(async () => {
  nats = await startNats();
  link = await nats.link();
});
afterAll(() => nats[Symbol.asyncDispose]());

const shop = (number: number): AssignedService => service([revision(number)]);
const asked = (epoch: number, generation: number, services: readonly AssignedService[]): Assignment => ({
  ...{ epoch, generation, services },
  hash: assignmentHash(services),
});

/** Each test has a fleet of its own on the one server. */
let fleets = 0;
function fleet() {
  const cluster = `fleet-${(fleets += 1)}`;
  const names = natsNames(cluster);
  const options = nats.options({ cluster });
  const ups: AgentEnvelope[] = [];
  const downs: ControllerEnvelope[] = [];
  link.connection.subscribe(names.everyUp, {
    callback: (_, { data }) => {
      const read = decodeAgentEnvelope(data);
      if (read.kind === "ok") ups.push(read.value);
    },
  });
  link.connection.subscribe(`baton.${cluster}.down.*`, {
    callback: (_, { data }) => {
      const read = decodeControllerEnvelope(data);
      if (read.kind === "ok") downs.push(read.value);
    },
  });
  return {
    ...{ cluster, names, options, ups, downs },
    controller: (changes: Partial<ConstructorParameters<typeof NatsController>[0]> = {}) =>
      new NatsController({ link, cluster, ...changes }),
    agent: (changes: Partial<ConstructorParameters<typeof FakeNatsAgent>[0]> = {}) =>
      new FakeNatsAgent({ nats: options, host: "host-1", ...changes }),
    puts: () =>
      new Puts({
        ...{ link, names, clock: systemClock, random: systemRandom, log: silentLog },
        refused: (_, __, why) => {
          throw new Error(why);
        },
      }),
    call: (epoch: number) => {
      link.connection.publish(names.call, encodeCall({ epoch, controller: "by hand", spreadMs: 0, again: false }));
    },
    hellos: () => ups.filter(({ what }) => what.kind === "hello").length,
    kept: async (host = "host-1") => {
      const kept = await keptAssignment(link.connection, names, host, "leader");
      const read = kept === null ? null : decodeAssignmentValue(kept.data);
      return read?.kind === "ok" ? read.value : null;
    },
  };
}

const applied = (agent: FakeNatsAgent, generation: number): Promise<void> =>
  until(`generation ${generation} is applied`, () => agent.applied?.generation === generation);

test.concurrent("hello, welcome, report; an assignment put into the agent's key is applied and confirmed", async () => {
  const here = fleet();
  await using controller = here.controller();
  using agent = here.agent();
  await until("it reports", () => controller.live("host-1"));
  controller.want("host-1", [shop(1)]);
  await until("it is confirmed", () => controller.synced("host-1"));
  expect(agent.offered).toHaveLength(1);
  expect(agent.session.troubles()).toEqual([]);
  expect(controller.sessions).toMatchObject({ malformed: 0, trouble: "" });
});

test.concurrent(
  "C1: a first boot with no controller anywhere has what was put last; silence is told, and changes nothing",
  async () => {
    const here = fleet();
    const puts = here.puts();
    puts.put("host-1", asked(3, 7, [shop(1)]));
    await until("it is put", () => puts.pending === 0);
    await puts.close();
    using agent = here.agent();
    await applied(agent, 7);
    await until("the silence is told", () => agent.session.troubles().some((one) => one.includes("has called for")));
    expect(agent.offered).toHaveLength(1);
    // And whoever leads next takes it on from there.
    await using controller = here.controller({ epoch: 4 });
    await until("it reports", () => controller.live("host-1"));
    expect(controller.fleet.agent("host-1")?.applied?.generation).toBe(7);
    await until("all is well", () => agent.session.troubles().length === 0);
  },
);

test.concurrent(
  "C1: with no NATS at all the last good assignment is restored at once; what is newer comes when NATS does",
  async () => {
    const here = fleet();
    const puts = here.puts();
    puts.put("host-1", asked(1, 2, [shop(2)]));
    await until("it is put", () => puts.pending === 0);
    await puts.close();
    await using relay = await relayTo(nats);
    relay.set({ kind: "cut" });
    const options = nats.options({ cluster: here.cluster, servers: [`nats://${relay.address}`] });
    using agent = here.agent({ nats: options, lastGood: asked(1, 1, [shop(1)]) });
    expect(agent.restored).toHaveLength(1);
    expect(agent.applied?.generation).toBe(1);
    await until("the trouble is told", () => agent.session.troubles()[0]?.includes(relay.address) === true);
    relay.set({ kind: "pass" });
    await applied(agent, 2);
  },
);

test.concurrent("the last good assignment and what is kept are the same: it is not offered again", async () => {
  const here = fleet();
  const puts = here.puts();
  puts.put("host-1", asked(1, 1, [shop(1)]));
  await until("it is put", () => puts.pending === 0);
  await using controller = here.controller({ epoch: 2 });
  using agent = here.agent({ lastGood: asked(1, 1, [shop(1)]) });
  await until("it reports", () => controller.live("host-1"));
  expect(agent.offered).toEqual([]);
  await puts.close();
});

test.concurrent(
  "another controller leads: agents say hello to it without a break, and leave a Call of the one before",
  async () => {
    const here = fleet();
    await using follower = here.controller({ leading: false, epoch: 1 });
    using agent = here.agent();
    {
      await using first = here.controller({ epoch: 1 });
      await until("it reports", () => first.live("host-1") && follower.live("host-1"));
      expect(agent.highestEpoch).toBe(1);
      first.fleet.shutdown("it stands down");
    }
    const reports = agent.reports;
    await until("it goes on reporting with no leader", () => agent.reports > reports + 5);
    expect(follower.live("host-1")).toBe(true);
    await using second = here.controller({ epoch: 2 });
    await until("it reports to the second", () => second.live("host-1") && agent.highestEpoch === 2);
    const hellos = here.hellos();
    here.call(1);
    await link.connection.flush();
    second.want("host-1", [shop(1)]);
    await until("it is confirmed", () => second.synced("host-1"));
    expect(here.hellos()).toBe(hellos);
    expect(agent.applied?.epoch).toBe(2);
  },
);

test.concurrent(
  "a store that was lost counts anew: agents tell whoever calls what they have seen, and it goes above that",
  async () => {
    const here = fleet();
    using agent = here.agent({ highestEpoch: 9, lastGood: asked(9, 4, [shop(1)]) });
    await using controller = here.controller({ epoch: 1 });
    await until("it goes above", () => controller.epoch === 10 && agent.highestEpoch === 10);
    controller.want("host-1", [shop(2)]);
    await until("it is confirmed", () => controller.synced("host-1"));
    expect(agent.applied?.epoch).toBe(10);
  },
);

test.concurrent(
  "I4: a leader that was replaced loses its put by compare-and-set, and the agent that hears it leaves it",
  async () => {
    const here = fleet();
    const [old, next] = [here.puts(), here.puts()];
    using agent = here.agent();
    old.put("host-1", asked(1, 5, [shop(1)]));
    await applied(agent, 5);
    next.put("host-1", asked(2, 1, [shop(2)]));
    await until("the new leader's is applied", () => agent.applied?.epoch === 2);
    old.put("host-1", asked(1, 6, [shop(3)]));
    await until("the old one gives up", () => old.pending === 0);
    expect(await here.kept()).toMatchObject({ epoch: 2, generation: 1 });
    expect(agent.offered.map(({ epoch }) => epoch)).toEqual([1, 2]);
    // The new one goes on where it was.
    next.put("host-1", asked(2, 2, [shop(4)]));
    await applied(agent, 2);
    await Promise.all([old.close(), next.close()]);
  },
);

test.concurrent(
  "only the newest is put behind the one in flight, and a leader that was away finds the key where others left it",
  async () => {
    const here = fleet();
    const puts = here.puts();
    const heard: number[] = [];
    link.connection.subscribe(here.names.assignmentSubject("host-1"), {
      callback: (_, { data }) => {
        const read = decodeAssignmentValue(data);
        if (read.kind === "ok") heard.push(read.value.generation);
      },
    });
    for (let generation = 1; generation <= 50; generation++) puts.put("host-1", asked(1, generation, [shop(1)]));
    await until("all is put", () => puts.pending === 0);
    expect(heard).toEqual([1, 50]);
    const other = here.puts();
    other.put("host-1", asked(1, 51, [shop(1)]));
    await until("it is put", () => other.pending === 0);
    puts.put("host-1", asked(1, 52, [shop(2)]));
    await until("it is put", () => puts.pending === 0);
    expect(await here.kept()).toMatchObject({ generation: 52 });
    await Promise.all([puts.close(), other.close()]);
  },
);

test.concurrent("an agent that was cut off has what was changed meanwhile, and its session goes on", async () => {
  const here = fleet();
  await using relay = await relayTo(nats);
  await using controller = here.controller();
  const options = nats.options({ cluster: here.cluster, servers: [`nats://${relay.address}`] });
  using agent = here.agent({ nats: options });
  await until("it reports", () => controller.live("host-1"));
  const hellos = here.hellos();
  relay.set({ kind: "cut" });
  await until("it notices", () => agent.session.troubles().length === 1);
  const reports = agent.reports;
  await until("the controller notices", () => !controller.live("host-1"));
  expect(agent.reports, "nothing is made that can't be said").toBe(reports);
  controller.want("host-1", [shop(1)]);
  expect(agent.applied).toBeNull();
  relay.set({ kind: "pass" });
  await until("it is confirmed", () => controller.synced("host-1") && controller.live("host-1"));
  expect(here.hellos()).toBe(hellos);
  expect(agent.session.troubles()).toEqual([]);
});

test.concurrent(
  "C1: what was put while an agent was cut off is read when it is connected again, though nobody says it once more",
  async () => {
    const here = fleet();
    await using relay = await relayTo(nats);
    const puts = here.puts();
    puts.put("host-1", asked(1, 1, [shop(1)]));
    using agent = here.agent({
      nats: nats.options({ cluster: here.cluster, servers: [`nats://${relay.address}`] }),
    });
    await applied(agent, 1);
    relay.set({ kind: "cut" });
    await until("it notices", () => agent.session.troubles()[0]?.includes("connection is lost") === true);
    puts.put("host-1", asked(1, 2, [shop(2)]));
    await until("it is put", () => puts.pending === 0);
    relay.set({ kind: "pass" });
    await applied(agent, 2);
    await puts.close();
  },
);

test.concurrent(
  "I4: calls of an epoch that is over are left, and answered by a hello only when no other has come for long",
  async () => {
    const here = fleet();
    // Its first hello is said once, as nobody calls: the server is to know by then who listens.
    await link.connection.flush();
    const has = asked(9, 1, [shop(1)]);
    using _agent = here.agent({ lastGood: has });
    await until("it says hello", () => here.hellos() === 1);
    for (let n = 1; n <= 20; n++) {
      here.call(3);
      // Heard after the call, and answered.
      link.connection.publish(here.names.assignmentSubject("host-1"), encodeAssignmentValue(has));
      await until("it has heard that", () => here.ups.filter(({ what }) => what.kind === "applied").length === n);
    }
    expect(here.hellos()).toBe(1);
    here.call(9);
    await until("it says hello to the one that leads", () => here.hellos() === 2);
    await until("it says hello to the only one there is", () => {
      here.call(3);
      return here.hellos() === 3;
    });
    expect(here.ups.at(-1)?.what).toMatchObject({ hello: { highestEpoch: 9 } });
  },
);

test.concurrent("C7: what is applied is known though the answer was lost: the reports say it", async () => {
  const here = fleet();
  await using controller = here.controller();
  using agent = here.agent();
  agent.decide = () => "silence";
  await until("it reports", () => controller.live("host-1"));
  controller.want("host-1", [shop(1)]);
  await until("it is offered", () => agent.offered.length === 1);
  expect(controller.synced("host-1")).toBe(false);
  const { services, ...of } = agent.offered[0]!;
  agent.services = services;
  agent.applied = { ...of, services: {} };
  await until("a report confirms it", () => controller.fleet.agent("host-1")?.inFlight === null);
});

test.concurrent(
  "a controller that follows knows what was refused too, until it is taken or something else is asked",
  async () => {
    const here = fleet();
    await using controller = here.controller();
    await using follower = here.controller({ leading: false });
    using agent = here.agent();
    agent.decide = () => "no room";
    await until("both hear it", () => controller.live("host-1") && follower.live("host-1"));
    const at = (): unknown => follower.fleet.agent("host-1")?.sync(0);
    follower.want("host-1", [shop(1)]);
    controller.want("host-1", [shop(1)]);
    await until("it is refused", () => controller.fleet.agent("host-1")?.sync(0).sync === "REJECTED");
    await until("the follower has heard", () => follower.fleet.agent("host-1")?.parked !== null);
    expect(at()).toEqual({ sync: "REJECTED", reason: "no room" });
    expect(follower.events).toEqual([]);
    agent.decide = () => null;
    for (const one of [follower, controller]) one.want("host-1", [shop(2)]);
    expect(at()).toMatchObject({ sync: "STALE" });
    await until("it is taken", () => controller.synced("host-1") && follower.synced("host-1"));
  },
);

test.concurrent("C2, C7: a rejection is said with each report until something else is asked", async () => {
  const here = fleet();
  await using controller = here.controller();
  using agent = here.agent();
  agent.decide = () => "no room";
  await until("it reports", () => controller.live("host-1"));
  controller.want("host-1", [shop(1)]);
  const said = (): number => here.ups.filter(({ what }) => what.kind === "rejected").length;
  await until("it is said again and again", () => said() >= 4);
  expect(controller.fleet.agent("host-1")?.sync(0)).toMatchObject({ sync: "REJECTED", reason: "no room" });
  expect(controller.events.filter((one) => one.includes("no room"))).toHaveLength(1);
  expect(agent.offered).toHaveLength(1);
  agent.decide = () => null;
  controller.want("host-1", [shop(2)]);
  await until("the next is confirmed", () => controller.synced("host-1"));
  const before = said();
  const reports = agent.reports;
  await until("it reports on", () => agent.reports > reports + 4);
  expect(said()).toBe(before);
});

test.concurrent("C7: what is not answered is put again, and what is heard again is answered again", async () => {
  const here = fleet();
  await using controller = here.controller();
  using agent = here.agent();
  agent.decide = () => "silence";
  await until("it reports", () => controller.live("host-1"));
  let puts = 0;
  link.connection.subscribe(here.names.assignmentSubject("host-1"), { callback: () => void (puts += 1) });
  controller.want("host-1", [shop(1)]);
  await until("it is put again", () => puts === 2);
  expect(agent.offered).toHaveLength(1);
  agent.apply(agent.offered[0]!);
  await until("it is confirmed", () => controller.synced("host-1"));
  const said = (): number => here.ups.filter(({ what }) => what.kind === "applied").length;
  const before = said();
  link.connection.publish(here.names.assignmentSubject("host-1"), encodeAssignmentValue(agent.offered[0]!));
  await until("it is answered", () => said() === before + 1);
});

test.concurrent("an assignment that breaks the contract is answered with rejected", async () => {
  const here = fleet();
  await using controller = here.controller();
  using agent = here.agent();
  await until("it reports", () => controller.live("host-1"));
  const bad = asked(1, 50, [service([revision(1, "serving", { weight: 20_000 })])]);
  link.connection.publish(here.names.assignmentSubject("host-1"), encodeAssignmentValue(bad));
  const rejection = () => here.ups.find(({ what }) => what.kind === "rejected")?.what;
  await until("it is rejected", () => rejection() !== undefined);
  expect(rejection()).toMatchObject({
    rejected: { epoch: 1, generation: 50, why: expect.stringContaining("weight") as string },
  });
  expect(agent.offered).toEqual([]);
});

test.concurrent("a follower that comes late knows every agent, says nothing to any, and hears them go", async () => {
  const here = fleet();
  await using leader = here.controller();
  const agents = Array.from({ length: 20 }, (_, i) => here.agent({ host: `host-${i}` }));
  try {
    const hosts = agents.map(({ host }) => host);
    await until("all report", () => hosts.every((host) => leader.live(host)));
    const before = here.downs.length;
    await using follower = here.controller({ leading: false });
    await until("the follower hears all", () => hosts.every((host) => follower.live(host)));
    expect(follower.fleet.agent("host-3")?.hello?.boot).toBe(agents[3]!.boot);
    leader.want("host-3", [shop(1)]);
    await until("it sees what is applied", () => follower.fleet.agent("host-3")?.applied?.generation === 1);
    expect(here.downs.length, "no session began anew for it").toBe(before);
    agents[3]![Symbol.dispose]();
    await until("both see it go", () =>
      [leader, follower].every(({ fleet }) => fleet.agent("host-3")?.session === null),
    );
  } finally {
    for (const agent of agents) agent[Symbol.dispose]();
  }
});

test.concurrent("a session that nobody knows is asked to begin anew", async () => {
  const here = fleet();
  await using controller = here.controller();
  const envelope = encodeAgentEnvelope({ session: "lost", what: { kind: "report", report: report() } });
  await until("it is told", () => {
    link.connection.publish(here.names.up("host-9"), envelope);
    return here.downs.some(({ session, what }) => session === "lost" && what.kind === "farewell");
  });
  expect(controller.fleet.agent("host-9")).toBeUndefined();
  using agent = here.agent();
  await until("it reports", () => controller.live("host-1"));
  const { session } = here.ups.findLast(({ what }) => what.kind === "hello")!;
  const reason = "this session is not known here: say hello";
  link.connection.publish(
    here.names.down("host-1"),
    encodeControllerEnvelope({ session, what: { kind: "farewell", reason } }),
  );
  await until("it begins another", () => {
    const hello = here.ups.findLast(({ what }) => what.kind === "hello");
    return hello?.session !== session && controller.fleet.agent("host-1")?.session?.id === hello?.session;
  });
  await until("it is welcomed", () => agent.session.troubles().length === 0);
});

test.concurrent(
  "two machines of one name: the second is refused with the reason and runs nothing, the first is left in peace",
  async () => {
    const here = fleet();
    await using controller = here.controller();
    using first = here.agent();
    await until("it reports", () => controller.live("host-1"));
    controller.want("host-1", [shop(1)]);
    await until("it is confirmed", () => controller.synced("host-1"));
    using second = here.agent();
    await until("the second is told", () => second.session.troubles()[0]?.includes("names must be unique") === true);
    controller.want("host-1", [shop(2)]);
    await until("the first has it", () => first.services[0]?.revisions[0]?.revision === 2);
    expect(controller.fleet.agent("host-1")?.hello?.boot).toBe(first.boot);
    expect(first.session.troubles()).toEqual([]);
    const since = performance.now();
    await until("a silence would be over", () => performance.now() - since > LEAD.takeOverMs + 2 * LEAD.callMs);
    expect(second.offered).toEqual([]);
    first[Symbol.dispose]();
    await until("the name is free", () => controller.fleet.agent("host-1")?.hello?.boot === second.boot);
    await until("what was asked of the name is applied", () => second.services[0]?.revisions[0]?.revision === 2);
  },
);

test.concurrent("an agent that was killed and started again is no second machine of its name", async () => {
  const here = fleet();
  await using controller = here.controller({ reportEveryMs: 1_000 });
  await using follower = here.controller({ leading: false, reportEveryMs: 1_000 });
  await using relay = await relayTo(nats);
  const options = nats.options({ cluster: here.cluster, servers: [`nats://${relay.address}`] });
  using _killed = here.agent({ nats: options });
  await until("it reports", () => controller.live("host-1") && follower.live("host-1"));
  relay.set({ kind: "cut" });
  using next = here.agent();
  await until("its successor is taken", () =>
    [controller, follower].every(({ fleet }) => fleet.agent("host-1")?.hello?.boot === next.boot),
  );
  await until("it reports", () => controller.live("host-1") && follower.live("host-1"));
  expect(controller.events.filter((one) => !one.startsWith("host_back"))).toEqual([]);
});

test.concurrent("bytes that mean nothing, wherever they come, end and stop nothing", async () => {
  const here = fleet();
  await using controller = here.controller();
  using agent = here.agent();
  await until("it reports", () => controller.live("host-1"));
  const junk = [Uint8Array.of(), Uint8Array.of(0xff, 0xff, 0xff), Buffer.from("hello"), Buffer.alloc(100_000, 7)];
  const { up, down, call, assignmentSubject } = here.names;
  for (const subject of [up("host-1"), down("host-1"), call, assignmentSubject("host-1")]) {
    for (const bytes of junk) link.connection.publish(subject, bytes);
  }
  const other = here.ups.find(({ what }) => what.kind === "hello")!;
  link.connection.publish(up("host-2"), encodeAgentEnvelope(other));
  await until("they are counted", () => controller.sessions.malformed === junk.length + 1);
  controller.want("host-1", [shop(1)]);
  await until("all goes on", () => controller.synced("host-1"));
  expect(controller.fleet.agent("host-2")).toBeUndefined();
  expect(agent.session.troubles()).toEqual([]);
});

test.concurrent("a gateway's assignment of a thousand endpoints is deflated, and arrives as it was", async () => {
  const here = fleet();
  await using controller = here.controller();
  using agent = here.agent({ host: "gateway-1", role: "gateway" });
  await until("it reports", () => controller.live("gateway-1"));
  const endpoints = Array.from({ length: 1_024 }, (_, i) => endpoint(`${"a-very-long-name-of-a-host-".repeat(2)}${i}`));
  const large = service([], { endpoints });
  controller.want("gateway-1", [large]);
  await until("it is confirmed", () => controller.synced("gateway-1"));
  expect(agent.services).toEqual([large]);
  const kept = await keptAssignment(link.connection, here.names, "gateway-1", "any");
  expect(kept?.data[0]).toBe(1);
});

test.concurrent("a bucket that was deleted by hand is made again, and filled with what every agent has", async () => {
  const here = fleet();
  await using controller = here.controller();
  using _one = here.agent({ host: "host-1" });
  using _two = here.agent({ host: "host-2" });
  for (const host of ["host-1", "host-2"]) {
    await until("it reports", () => controller.live(host));
    controller.want(host, [shop(1)]);
    await until("it is confirmed", () => controller.synced(host));
  }
  const jsm = await link.connection.jetstreamManager();
  await jsm.streams.delete(`KV_${here.names.assignmentsBucket}`);
  controller.want("host-1", [shop(2)]);
  await until("it is confirmed", () => controller.synced("host-1"));
  await until("both are kept again", async () => {
    const [one, two] = [await here.kept("host-1"), await here.kept("host-2")];
    return one?.services[0]?.revisions[0]?.revision === 2 && two?.services[0]?.revisions[0]?.revision === 1;
  });
  expect(controller.sessions.trouble).toBe("");
  expect((await openAssignments(link.connection, here.names)).isNew).toBe(false);
});

test.concurrent(
  "servers with little room: what is too large for them is refused, and told with the remedy",
  async () => {
    await using small = await startNats({ config: { max_payload: 16_384 } });
    await using controller = new NatsController({ link: await small.link() });
    using agent = new FakeNatsAgent({ nats: small.options(), host: "host-1" });
    await until("it reports", () => controller.live("host-1"));
    const endpoints = Array.from({ length: 1_000 }, (_, i) => endpoint(`host-${i}`));
    controller.want("host-1", [service([], { endpoints })]);
    await until("it is refused", () => controller.fleet.agent("host-1")?.sync(0).sync === "REJECTED");
    expect(controller.fleet.agent("host-1")?.sync(0).reason).toContain("raise max_payload");
    agent.traffic = Array.from({ length: 1_000 }, (_, i) => traffic(`endpoint-${i}`));
    await until("the agent tells", () => agent.session.troubles()[0]?.includes("raise max_payload") === true);
    agent.traffic = [];
    await until("it is heard again", () => controller.live("host-1") && agent.session.troubles().length === 0);
  },
);

test.concurrent("credentials that are wrong are told, and need no restart when they are mended", async () => {
  const folder = mkdtempSync(join(tmpdir(), "baton-creds-"));
  const credsFile = join(folder, "creds");
  writeFileSync(credsFile, "baton:wrong\n");
  try {
    await using guarded = await startNats({ auth: { user: "baton", password: "secret" } });
    await using controller = new NatsController({ link: await guarded.link() });
    using agent = new FakeNatsAgent({ nats: guarded.options({ credsFile }), host: "host-1" });
    await until("it is told", () => agent.session.troubles()[0]?.includes("refuses these credentials") === true);
    expect(agent.session.troubles()[0]).toContain(credsFile);
    writeFileSync(credsFile, "baton:secret\n");
    await until("it reports", () => controller.live("host-1"));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.concurrent(
  "servers that are restarted: controllers and agents find each other again, and what could not be put is",
  async () => {
    await using own = await startNats();
    await using controller = new NatsController({ link: await own.link() });
    await using follower = new NatsController({ link: await own.link(), leading: false });
    using agent = new FakeNatsAgent({ nats: own.options(), host: "host-1" });
    await until("it reports", () => controller.live("host-1") && follower.live("host-1"));
    controller.want("host-1", [shop(1)]);
    await until("it is confirmed", () => controller.synced("host-1"));
    await own.servers[0]!.kill();
    await until("it is lost", () => !controller.live("host-1") && !follower.live("host-1"));
    controller.want("host-1", [shop(2)]);
    await own.servers[0]!.restart();
    await until("it is confirmed", () => controller.synced("host-1") && controller.live("host-1"));
    await until("the follower hears it", () => follower.live("host-1"));
    expect(agent.services).toEqual([shop(2)]);
  },
);

async function relayTo(servers: NatsServers): Promise<Relay> {
  const { port } = new URL(servers.urls[0]!);
  return Relay.start({ host: "127.0.0.1", port: Number(port) }, 0);
}
