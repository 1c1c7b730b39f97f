/** The session against a real gRPC server; the core behind it is a scripted `SourcePort`. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Session } from "../../../agent/core/session/session.ts";
import type { SourcePort } from "../../../agent/core/source.ts";
import type { AgentOptions } from "../../../agent/keeper/protocol.ts";
import type { Applied, Assignment } from "../../../proto/contract/assignment.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { seededRandom } from "../../../proto/kernel/random.ts";
import { systemClock } from "../../../proto/runtime/system-clock.ts";
import { assignment, revision, service } from "../../support/core/assignments.ts";
import { ScriptedController } from "../../support/core/scripted-controller.ts";
import { until } from "../../support/processes.ts";

class Agent implements Disposable {
  readonly offered: Assignment[] = [];
  readonly restored: Assignment[] = [];
  readonly session: Session;
  applied: Applied | null = null;
  highest = 0;
  reports = 0;

  constructor(
    port: number | readonly number[],
    options: { agent?: Partial<AgentOptions>; host?: string; lastGood?: Assignment } = {},
  ) {
    const sourcePort: SourcePort = {
      boot: "boot-1",
      lastGood: options.lastGood ?? null,
      highestEpoch: () => this.highest,
      sawEpoch: (epoch) => (this.highest = Math.max(this.highest, epoch)),
      applied: () => this.applied,
      restore: (held) => this.restored.push(held),
      offer: (offered) => this.offered.push(offered),
      report: () => {
        this.reports += 1;
        return {
          boot: "boot-1",
          seq: this.reports,
          applied: this.applied,
          instances: [],
          endpoints: [],
          traffic: [],
          incidents: [],
        };
      },
      instances: () => [],
      fail: () => undefined,
    };
    const ports = typeof port === "number" ? [port] : port;
    const controllers = ports.map((one) => ({ host: options.host ?? "127.0.0.1", port: one }));
    const agent: AgentOptions = {
      name: "host-1",
      stateDir: "/nowhere",
      source: { kind: "controller", controllers },
      role: "host",
      labels: { zone: "a" },
      address: "127.0.0.1",
      inboundPorts: "assigned",
      admin: { host: "127.0.0.1", port: 0 },
      workers: 1,
      logLevel: "silent",
      accessLog: null,
      tokenFile: null,
      trustNetwork: false,
      stopTimeoutMs: 1_000,
      ...options.agent,
    };
    const ambient = { clock: systemClock, random: seededRandom(1), log: silentLog };
    this.session = new Session({ ...ambient, agent, controllers, software: "0.0.1" }, sourcePort);
    this.session.start();
  }

  apply(held: Assignment): Applied {
    const { epoch, generation, hash } = held;
    this.applied = { epoch, generation, hash, services: { shop: "a".repeat(64) } };
    this.session.applied(this.applied);
    return this.applied;
  }

  [Symbol.dispose](): void {
    this.session.stop();
  }
}

const first = assignment(1, [service([revision(1)])]);

test("hello, welcome, assignment, applied, and a report at the interval that Welcome names", async () => {
  await using controller = await new ScriptedController().listen();
  using agent = new Agent(controller.port);
  const session = await controller.session();
  expect(session.hello).toEqual({
    protocolVersion: 1,
    host: "host-1",
    role: "host",
    labels: { zone: "a" },
    boot: "boot-1",
    software: "0.0.1",
    address: "127.0.0.1",
    highestEpoch: 0,
    applied: null,
    inboundPorts: "assigned",
  });
  controller.assign(session, first);
  await until("it is offered to the core", () => agent.offered.length === 1);
  expect(agent.offered[0]).toEqual(first);
  const applied = agent.apply(first);
  expect((await controller.heard(session, "applied")).applied).toEqual(applied);
  await controller.heard(session, "report", ({ report }) => report.seq >= 3);
});

test("an assignment that breaks the contract is answered with rejected, and the session goes on", async () => {
  await using controller = await new ScriptedController().listen();
  using agent = new Agent(controller.port);
  const session = await controller.session();
  const bad = service([revision(1, "serving", { weight: 20_000 })]);
  controller.assign(session, assignment(2, [bad]));
  const { rejected } = await controller.heard(session, "rejected");
  expect(rejected).toMatchObject({ epoch: 1, generation: 2 });
  expect(rejected.why).toContain("weight");
  expect(agent.offered).toEqual([]);
  controller.assign(session, first);
  await until("the next one is taken", () => agent.offered.length === 1);
});

test("C1: a controller that goes away and comes back is found again; the agent says what it has", async () => {
  const controller = await new ScriptedController().listen();
  using agent = new Agent(controller.port, { lastGood: first });
  expect(agent.restored).toEqual([first]);
  await controller.session();
  const applied = agent.apply(first);
  const { port } = controller;
  await until("it is welcomed", () => agent.session.troubles().length === 0);
  controller.kill();
  await until("it is noticed", () => agent.session.troubles().length === 1);
  expect(agent.session.troubles()[0]).toContain(`controller 127.0.0.1:${port}`);
  await using second = await new ScriptedController().listen(port);
  second.epoch = 2;
  const session = await second.session();
  expect(session.hello).toMatchObject({ highestEpoch: 1, applied });
  await until("no trouble is left", () => agent.session.troubles().length === 0);
});

test("I4: a controller of an epoch that is over is left alone", async () => {
  await using controller = await new ScriptedController().listen();
  using agent = new Agent(controller.port);
  agent.highest = 5;
  const session = await controller.session();
  controller.assign(session, first);
  await until("it is left", () => session.ended);
  expect(agent.offered).toEqual([]);
  expect(agent.session.troubles()[0]).toContain("epoch 1 is over: 5 has been seen");
});

test("reconnect is done within the time given, on a new stream, with no backoff", async () => {
  await using controller = await new ScriptedController().listen();
  using _agent = new Agent(controller.port);
  const session = await controller.session();
  await controller.heard(session, "report");
  controller.send(session, { kind: "reconnect", reconnect: { withinMs: 200, reason: "moving" } });
  await controller.session(1);
  await until("the first one is closed", () => session.ended);
});

test("a controller that ends every session right after its welcome is not asked ten times a second", async () => {
  await using controller = await new ScriptedController().listen();
  using agent = new Agent(controller.port);
  const ends = performance.now() + 2_000;
  for (let index = 0; performance.now() < ends; index++) {
    const session = await controller.session(index);
    await controller.heard(session, "report");
    session.stream.end();
    await until("it is noticed", () => agent.session.troubles().length === 1);
  }
  // 100, 200, 400, 800, 1600 ms at most, at least half of each; a backoff begun anew each time makes twenty and more.
  expect(controller.sessions.length).toBeLessThanOrEqual(8);
});

test("a controller that accepts and says nothing does not hold the agent for ever", async () => {
  await using controller = await new ScriptedController().listen();
  controller.welcomes = false;
  using agent = new Agent(controller.port);
  await controller.session();
  controller.welcomes = true;
  const session = await controller.session(1);
  await controller.heard(session, "report");
  expect(agent.session.troubles()).toEqual([]);
});

test("changes close together are one report, sent at once", async () => {
  await using controller = await new ScriptedController().listen();
  controller.reportEveryMs = 60_000;
  using agent = new Agent(controller.port);
  const session = await controller.session();
  await controller.heard(session, "report");
  for (let n = 0; n < 10; n++) agent.session.changed();
  await controller.heard(session, "report", ({ report }) => report.seq === 2);
  expect(session.messages.filter(({ kind }) => kind === "report")).toHaveLength(2);
});

test("a fleet that grows is told another interval in mid-session: it holds from then on", async () => {
  await using controller = await new ScriptedController().listen();
  controller.reportEveryMs = 60_000;
  using agent = new Agent(controller.port);
  const session = await controller.session();
  await controller.heard(session, "report");
  const welcome = { epoch: 1, session: "s0", leaseMs: 5_000 };
  controller.send(session, { kind: "welcome", welcome: { ...welcome, reportEveryMs: 20 } });
  await controller.heard(session, "report", ({ report }) => report.seq >= 5);
  controller.send(session, { kind: "welcome", welcome: { ...welcome, reportEveryMs: 60_000 } });
  await until("it reports no more", async () => {
    const before = agent.reports;
    await new Promise((resolve) => setTimeout(resolve, 200));
    return agent.reports === before;
  });
  agent.session.changed();
  const reports = agent.reports;
  await until("a change is told at once all the same", () => agent.reports > reports);
});

test("C1: of several controllers the next one is tried at once when one is not there, or says that it can't", async () => {
  await using dead = await new ScriptedController().listen();
  const gone = dead.port;
  dead.kill();
  await using stopping = await new ScriptedController().listen();
  stopping.refuses = "the controller is stopping";
  await using alive = await new ScriptedController().listen();
  for (const ports of [
    [gone, stopping.port, alive.port],
    [alive.port, gone, stopping.port],
    [stopping.port, alive.port, gone],
  ]) {
    using agent = new Agent(ports);
    await until("it is welcomed", () => agent.session.troubles().length === 0);
  }
  expect(alive.sessions).toHaveLength(3);
});

test("C1: a controller that goes away is left for another, which is told what the agent has", async () => {
  const one = await new ScriptedController().listen();
  await using second = await new ScriptedController().listen();
  second.epoch = 2;
  second.refuses = "not the leader";
  using agent = new Agent([one.port, second.port]);
  await until("the first has it", () => one.sessions.length === 1 && agent.session.troubles().length === 0);
  const applied = agent.apply(first);
  second.refuses = "";
  one.kill();
  const session = await second.session();
  expect(session.hello).toMatchObject({ highestEpoch: 1, applied });
  await until("all is well", () => agent.session.troubles().length === 0);
});

test("controllers that are all away are asked in rounds that grow further apart, each told of by its name", async () => {
  const controllers = await Promise.all([1, 2, 3].map(() => new ScriptedController().listen()));
  for (const controller of controllers) controller.refuses = "not now";
  const ports = controllers.map(({ port }) => port);
  using agent = new Agent(ports);
  const told = new Set<string>();
  const asked = (): number => controllers.reduce((sum, { refused }) => sum + refused, 0);
  const ends = performance.now() + 3_000;
  await until("time has passed", () => {
    for (const trouble of agent.session.troubles()) told.add(trouble);
    return performance.now() > ends;
  });
  for (const port of ports) expect([...told].some((one) => one.includes(`${port}: not now`))).toBe(true);
  // Rounds of three, 0..250 ms between two of one, 50 ms to 1.6 s between rounds; without a backoff some thirty.
  expect(asked()).toBeLessThanOrEqual(24);
  for (const controller of controllers) await controller[Symbol.asyncDispose]();
});

test("another controller leads behind the same stream: its Welcome is taken, and reported to at once", async () => {
  await using controller = await new ScriptedController().listen();
  controller.reportEveryMs = 60_000;
  using agent = new Agent(controller.port);
  const session = await controller.session();
  await controller.heard(session, "report");
  const welcome = { session: "s1", reportEveryMs: 60_000, leaseMs: 5_000 };
  controller.send(session, { kind: "welcome", welcome: { ...welcome, epoch: 3 } });
  await controller.heard(session, "report", ({ report }) => report.seq === 2);
  expect(agent.highest).toBe(3);
  // I4: and one of an epoch that is over by then is left.
  controller.send(session, { kind: "welcome", welcome: { ...welcome, epoch: 2 } });
  await until("it is left", () => session.ended);
  expect(agent.session.troubles()[0]).toContain("epoch 2 is over: 3 has been seen");
});

test("the token is shown on loopback, and to no other machine over plain text", async () => {
  const folder = mkdtempSync(join(tmpdir(), "baton-token-"));
  const tokenFile = join(folder, "token");
  writeFileSync(tokenFile, "secret\n");
  try {
    await using controller = await new ScriptedController().listen();
    using _agent = new Agent(controller.port, { agent: { tokenFile } });
    expect((await controller.session()).authorization).toBe("Bearer secret");
    using far = new Agent(controller.port, { agent: { tokenFile }, host: "192.0.2.1" });
    expect(far.session.troubles()[0]).toContain("not shown in plain text");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a peer that reads no more gets no pile of reports: they are skipped, and the newest is sent when it reads again", async () => {
  await using controller = await new ScriptedController().listen();
  controller.reportEveryMs = 10;
  using relay = await Relay.to(controller.port);
  using agent = new Agent(relay.port);
  const session = await controller.session();
  await controller.heard(session, "report");
  relay.stall(true);
  // Fills the stream's window and buffers; each is small enough to be a legal message.
  const rejected = { epoch: 1, generation: 1, hash: first.hash, why: "x".repeat(1_000) };
  for (let n = 0; n < 400; n++) agent.session.rejected(rejected);
  const before = agent.reports;
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(agent.reports - before).toBeLessThan(5);
  relay.stall(false);
  const { report } = await controller.heard(session, "report", (one) => one.report.seq > before + 5);
  expect(report.seq).toBeLessThan(before + 60);
});

/** A way to the controller that can stop carrying. */
class Relay implements Disposable {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;

  constructor(server: Server, sockets: Set<Socket>) {
    this.#server = server;
    this.#sockets = sockets;
    this.port = (server.address() as AddressInfo).port;
  }

  static async to(port: number): Promise<Relay> {
    const sockets = new Set<Socket>();
    const server = createServer((client) => {
      const peer = connect(port, "127.0.0.1");
      sockets.add(client);
      client.on("data", (bytes) => peer.write(bytes));
      peer.on("data", (bytes) => client.write(bytes));
      for (const [one, other] of [
        [client, peer],
        [peer, client],
      ] as const) {
        one.on("error", () => other.destroy());
        one.on("close", () => other.destroy());
      }
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return new Relay(server, sockets);
  }

  stall(stalled: boolean): void {
    for (const socket of this.#sockets)
      if (stalled) socket.pause();
      else socket.resume();
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
