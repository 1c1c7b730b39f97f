/** gRPC streams of agents, carried over a real nats-server to the controller that leads. */
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Bridges } from "../../../control/fleet/nats/bridges.ts";
import { Puts } from "../../../control/fleet/nats/puts.ts";
import type { AssignedService } from "../../../proto/contract/assignment.ts";
import { assignmentHash } from "../../../proto/contract/canonical.ts";
import type { NatsLink } from "../../../proto/contract/nats-link.ts";
import { natsNames } from "../../../proto/contract/nats.ts";
import { decodeAgentEnvelope, encodeControllerEnvelope } from "../../../proto/contract/wire.ts";
import type { AgentEnvelope } from "../../../proto/contract/wire.ts";
import { AgentSessionService } from "../../../proto/gen/baton/v1/session.ts";
import type { AgentSessionServer } from "../../../proto/gen/baton/v1/session.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { systemClock, systemRandom } from "../../../proto/runtime/system-clock.ts";
import { revision, service } from "../../support/core/assignments.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { NatsController } from "../../support/nats-controller.ts";
import { startNats } from "../../support/nats.ts";
import type { NatsServers } from "../../support/nats.ts";
import { until } from "../../support/processes.ts";

let nats: NatsServers;
let link: NatsLink;
beforeAll(async () => {
  nats = await startNats();
  link = await nats.link();
});
afterAll(() => nats[Symbol.asyncDispose]());

const ambient = { clock: systemClock, random: systemRandom, log: silentLog };
const shop = (number: number): AssignedService => service([revision(number)]);

/** A controller's gRPC port, as far as agents are concerned. */
class Door implements AsyncDisposable {
  readonly bridges: Bridges;
  readonly address: string;
  readonly #server: Server;

  private constructor(bridges: Bridges, server: Server, port: number) {
    this.bridges = bridges;
    this.#server = server;
    this.address = `127.0.0.1:${port}`;
  }

  static async open(over: NatsLink, cluster: string): Promise<Door> {
    const bridges = new Bridges({ ...ambient, link: over, names: natsNames(cluster) });
    const server = new Server();
    const implementation: AgentSessionServer = { connect: (stream) => bridges.serve(stream) };
    server.addService(AgentSessionService, implementation);
    const port = await new Promise<number>((done, fail) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) done(bound);
        else fail(error);
      });
    });
    return new Door(bridges, server, port);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.bridges.stop("the test is over");
    this.#server.forceShutdown();
    return Promise.resolve();
  }
}

let fleets = 0;
const newFleet = (): string => `bridged-${(fleets += 1)}`;

function hear(cluster: string): AgentEnvelope[] {
  const ups: AgentEnvelope[] = [];
  link.connection.subscribe(natsNames(cluster).everyUp, {
    callback: (_, { data }) => {
      const read = decodeAgentEnvelope(data);
      if (read.kind === "ok") ups.push(read.value);
    },
  });
  return ups;
}

test.concurrent(
  "an agent's stream reaches the leader and every follower; assignments come back, answers too",
  async () => {
    const cluster = newFleet();
    await using door = await Door.open(link, cluster);
    await using leader = new NatsController({ link, cluster });
    await using follower = new NatsController({ link, cluster, leading: false });
    await using agent = new FakeAgent({ controller: door.address, host: "host-1" });
    await until("it reports", () => leader.live("host-1") && follower.live("host-1"));
    leader.want("host-1", [shop(1)]);
    await until("it is confirmed", () => leader.synced("host-1"));
    expect(agent.assignments).toHaveLength(1);
    agent.decide = () => "no room";
    leader.want("host-1", [shop(2)]);
    await until("it is refused", () => leader.fleet.agent("host-1")?.sync(0).reason === "no room");
    expect(agent.ends).toEqual([]);
    await agent[Symbol.asyncDispose]();
    await until("its end is seen", () =>
      [leader, follower].every(({ fleet }) => fleet.agent("host-1")?.session === null),
    );
    expect(door.bridges.size).toBe(0);
  },
);

test.concurrent(
  "another controller leads: the agent is told in the same stream, and is asked from then on by that one",
  async () => {
    const cluster = newFleet();
    const ups = hear(cluster);
    await using door = await Door.open(link, cluster);
    await using agent = new FakeAgent({ controller: door.address, host: "host-1" });
    {
      await using first = new NatsController({ link, cluster, epoch: 1 });
      await until("it reports", () => first.live("host-1"));
      first.want("host-1", [shop(1)]);
      await until("it is confirmed", () => first.synced("host-1"));
      first.fleet.shutdown("it stands down");
    }
    await using second = new NatsController({ link, cluster, epoch: 2 });
    await until("it reports to the second", () => second.live("host-1"));
    expect(agent.welcomes.map(({ epoch }) => epoch)).toEqual([1, 2]);
    expect(agent.ends).toEqual([]);
    const hello = ups.findLast(({ what }) => what.kind === "hello")?.what;
    expect(hello).toMatchObject({ hello: { highestEpoch: 1, applied: { generation: 1 } } });
    // I4: one that was replaced answers the hello too, and late.
    const { session } = ups.findLast(({ what }) => what.kind === "hello")!;
    const welcome = { epoch: 1, session, reportEveryMs: 1_000, leaseMs: 5_000 };
    link.connection.publish(
      natsNames(cluster).down("host-1"),
      encodeControllerEnvelope({ session, what: { kind: "welcome", welcome } }),
    );
    second.want("host-1", [shop(2)]);
    await until("it is confirmed", () => second.synced("host-1"));
    expect(agent.assignments.map(({ epoch }) => epoch)).toEqual([1, 2]);
    expect(agent.welcomes).toHaveLength(2);
  },
);

test.concurrent("C2, C7: a rejection that a leader missed reaches it with the next report", async () => {
  const cluster = newFleet();
  const ups = hear(cluster);
  await using door = await Door.open(link, cluster);
  await using leader = new NatsController({ link, cluster });
  await using agent = new FakeAgent({ controller: door.address, host: "host-1" });
  agent.decide = () => "no room";
  await until("it reports", () => leader.live("host-1"));
  leader.want("host-1", [shop(1)]);
  await until("it is said again", () => ups.filter(({ what }) => what.kind === "rejected").length > 3);
  expect(agent.assignments).toHaveLength(1);
  agent.decide = () => null;
  leader.want("host-1", [shop(2)]);
  await until("it is confirmed", () => leader.synced("host-1"));
});

test.concurrent("with nobody to lead the agent has what was put last, and is told why it is not welcomed", async () => {
  const cluster = newFleet();
  await using door = await Door.open(link, cluster);
  const puts = new Puts({ ...ambient, link, names: natsNames(cluster), refused: () => undefined });
  const services = [shop(1)];
  puts.put("host-1", { epoch: 3, generation: 4, services, hash: assignmentHash(services) });
  await using agent = new FakeAgent({ controller: door.address, host: "host-1" });
  await until("it has it", () => agent.applied?.generation === 4);
  await until("it is told", () => agent.ends.includes("no controller leads at the moment"));
  await puts.close();
  expect(agent.welcomes).toEqual([]);
  await using leader = new NatsController({ link, cluster, epoch: 4 });
  await until("it reports", () => leader.live("host-1"));
});

test.concurrent("an agent of a name that another one has is given nothing of what that one is asked", async () => {
  const cluster = newFleet();
  await using door = await Door.open(link, cluster);
  await using leader = new NatsController({ link, cluster });
  await using first = new FakeAgent({ controller: door.address, host: "host-1" });
  await until("it reports", () => leader.live("host-1"));
  leader.want("host-1", [shop(1)]);
  await until("it is confirmed", () => leader.synced("host-1"));
  await using second = new FakeAgent({ controller: door.address, host: "host-1" });
  await until("it is told, and again", () => second.ends.length > 2);
  expect(second.ends[0]).toContain("names must be unique");
  expect(second.assignments).toEqual([]);
  expect(first.ends).toEqual([]);
});

test.concurrent("what breaks the protocol ends the stream with the field's name", async () => {
  const cluster = newFleet();
  await using door = await Door.open(link, cluster);
  await using leader = new NatsController({ link, cluster });
  await using one = new FakeAgent({ controller: door.address, host: "host-1", hello: { host: "Host 1" } });
  await using two = new FakeAgent({ controller: door.address, host: "host-2", hello: { protocolVersion: 9 } });
  await until("both are told", () => one.ends.length > 0 && two.ends.length > 0);
  expect(one.ends[0]).toContain('host: "Host 1"');
  expect(two.ends[0]).toContain("speaks protocol 9");
  expect(leader.sessions.sessions).toBe(0);
});

test.concurrent("a controller that stops tells its agents to come back elsewhere, and takes no more", async () => {
  const cluster = newFleet();
  const door = await Door.open(link, cluster);
  await using other = await Door.open(link, cluster);
  await using leader = new NatsController({ link, cluster });
  await using agent = new FakeAgent({ controller: door.address, host: "host-1" });
  await until("it reports", () => leader.live("host-1"));
  door.bridges.stop("moving house");
  await until("it is told", () => agent.reconnects.includes("moving house"));
  await until("no other is taken", () => agent.ends.includes("moving house"));
  agent.moveTo(other.address);
  await until("it is back", () => leader.live("host-1") && other.bridges.size === 1);
  await door[Symbol.asyncDispose]();
});

test.concurrent(
  "a controller without NATS lets its agents go, with the reason, and is of use again when NATS is back",
  async () => {
    await using own = await startNats();
    const cluster = "baton";
    await using door = await Door.open(await own.link(), cluster);
    await using leader = new NatsController({ link: await own.link() });
    await using agent = new FakeAgent({ controller: door.address, host: "host-1" });
    await until("it reports", () => leader.live("host-1"));
    await own.servers[0]!.kill();
    await until("it is let go", () => agent.reconnects.some((one) => one.includes("no connection to NATS")));
    await until("it is refused", () => agent.ends.some((one) => one.includes("no connection to NATS")));
    await own.servers[0]!.restart();
    await until("it reports again", () => leader.live("host-1"));
  },
);
