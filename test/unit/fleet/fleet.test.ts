import { describe, expect, test } from "vitest";
import type { Agent, SessionPort } from "../../../control/fleet/agent.ts";
import { Fleet } from "../../../control/fleet/fleet.ts";
import { holdReason } from "../../../control/fleet/hold.ts";
import type { Known } from "../../../control/fleet/hold.ts";
import type { AssignedService, Assignment } from "../../../proto/contract/assignment.ts";
import { serviceHash } from "../../../proto/contract/canonical.ts";
import type { ControllerMessage, Hello } from "../../../proto/contract/session.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { instance, report, spec } from "../../support/samples.ts";

const service = (name: string, changes: Partial<AssignedService> = {}): AssignedService => {
  const { rules, drain, listen } = spec();
  return {
    ...{ name, rollout: "", listeners: listen, hostnames: [], rules, drain },
    ...{ accepting: true, revisions: [], endpoints: [], sticky: null, routes: [], mirrors: [], ...changes },
  };
};

const hello = (host: string, changes: Partial<Hello> = {}): Hello => ({
  ...{ protocolVersion: 1, host, role: "host", labels: {}, boot: "b1", software: "t", address: "127.0.0.1" },
  ...{ highestEpoch: 0, applied: null, inboundPorts: "assigned", ...changes },
});

class Session implements SessionPort {
  readonly id = "s";
  readonly peer = "127.0.0.1:4242";
  readonly sent: ControllerMessage[] = [];
  ended = "";
  send(message: ControllerMessage): void {
    this.sent.push(message);
  }
  end(why: string): void {
    this.ended = why;
  }
  get assignments(): Assignment[] {
    return this.sent.flatMap((m) => (m.kind === "assignment" ? [m.assignment] : []));
  }
}

function setup(known: readonly string[] = []) {
  const clock = new FakeClock();
  const events: string[] = [];
  const lost: string[] = [];
  const fleet = new Fleet(
    {
      ...{ clock, log: silentLog, leaseMs: 5_000 },
      news: {
        changed: () => undefined,
        event: (kind, host) => events.push(`${kind} ${host}`),
        report: () => undefined,
        lost: (agent) => lost.push(agent.name),
      },
    },
    known,
  );
  const join = (host: string, changes: Partial<Hello> = {}): { agent: Agent; session: Session } => {
    const session = new Session();
    const connected = fleet.connect(hello(host, changes), session);
    if (connected.kind !== "open") throw new Error(JSON.stringify(connected));
    return { agent: connected.agent, session };
  };
  const say = (agent: Agent, session: Session, seq: number): void => {
    fleet.receive(agent, session, { kind: "report", report: report({ seq }) });
  };
  return { clock, events, lost, fleet, join, say };
}

describe("leases", () => {
  test("a host is unknown until it reports, live while it is heard, lost after the lease, and back by a report", async () => {
    const { clock, events, lost, fleet, join, say } = setup();
    const { agent, session } = join("host-1");
    expect(fleet.leaseOf(agent)).toBe("unknown");
    say(agent, session, 1);
    expect(fleet.leaseOf(agent)).toBe("live");
    for (let n = 0; n < 20; n++) {
      await clock.advance(250);
      fleet.sweep();
    }
    expect(fleet.leaseOf(agent)).toBe("lost");
    expect(lost).toEqual(["host-1"]);
    say(agent, session, 2);
    fleet.sweep();
    expect(events).toEqual(["host_lost host-1", "host_back host-1"]);
  });

  test("after a start of the controller, a stored host has the time to find its way back", async () => {
    const { clock, fleet } = setup(["host-1"]);
    const agent = fleet.agent("host-1")!;
    await clock.advance(9_900);
    expect(fleet.leaseOf(agent)).toBe("unknown");
    await clock.advance(100);
    expect(fleet.leaseOf(agent)).toBe("lost");
  });

  test("a controller that was stopped for a minute does not take its own sleep for silence", async () => {
    const { clock, events, fleet, join, say } = setup();
    const { agent, session } = join("host-1");
    say(agent, session, 1);
    fleet.sweep();
    await clock.advance(60_000);
    fleet.sweep();
    expect(fleet.leaseOf(agent)).toBe("live");
    expect(events).toEqual([]);
  });

  test("a host whose way is cut is silent though its stream is open, until its lease is over or it is heard again", async () => {
    const { clock, fleet, join, say } = setup();
    const { agent, session } = join("host-1");
    say(agent, session, 1);
    await clock.advance(1_000);
    fleet.sweep();
    expect(fleet.silent("host-1")).toBe(false);
    await clock.advance(1);
    expect(fleet.silent("host-1")).toBe(true);
    say(agent, session, 2);
    expect(fleet.silent("host-1")).toBe(false);
    fleet.disconnected(agent, session);
    expect(fleet.silent("host-1")).toBe(true);
    for (let ms = 0; ms < 5_000; ms += 1_000) {
      fleet.sweep();
      await clock.advance(1_000);
    }
    // What went away with it is not judged before it is told that it did.
    expect(fleet.silent("host-1")).toBe(true);
    fleet.sweep();
    expect(fleet.silent("host-1")).toBe(false);
  });

  test("a host that is back is silent until it has said what runs there", () => {
    const { fleet, join, say } = setup();
    const { agent, session } = join("host-1");
    expect(fleet.silent("host-1")).toBe(true);
    say(agent, session, 1);
    expect(fleet.silent("host-1")).toBe(false);
  });

  test("a step of the wall clock moves no lease", async () => {
    const { clock, fleet, join, say } = setup();
    const { agent, session } = join("host-1");
    say(agent, session, 1);
    clock.stepWall(3_600_000);
    await clock.advance(1);
    expect(fleet.leaseOf(agent)).toBe("live");
  });
});

describe("pace", () => {
  const welcomes = ({ sent }: Session): number[] =>
    sent.flatMap((m) => (m.kind === "welcome" ? [m.welcome.reportEveryMs] : []));

  test("a fleet that grows beyond a controller's means is told to report less often, once for each doubling", () => {
    const { fleet, join } = setup();
    const { agent, session } = join("host-0");
    agent.toldEpoch = 7;
    for (let n = 1; n < 250; n++) join(`host-${n}`);
    expect(fleet.pace).toEqual({ reportEveryMs: 250, leaseMs: 5_000 });
    expect(welcomes(session)).toEqual([]);
    for (let n = 250; n < 1_000; n++) join(`host-${n}`);
    expect(fleet.pace).toEqual({ reportEveryMs: 1_000, leaseMs: 5_000 });
    for (let n = 1_000; n < 1_100; n++) join(`host-${n}`);
    expect(fleet.pace).toEqual({ reportEveryMs: 2_000, leaseMs: 6_000 });
    expect(welcomes(session)).toEqual([500, 1_000, 2_000]);
    expect(session.sent[0]).toMatchObject({ welcome: { epoch: 7 } });
  });

  test("a great fleet that comes back to a controller is known by its size at once", () => {
    const { fleet } = setup(Array.from({ length: 10_000 }, (_, n) => `host-${n}`));
    expect(fleet.pace).toEqual({ reportEveryMs: 16_000, leaseMs: 48_000 });
  });

  test("in a great fleet a silent host is lost late, one whose stream ended as soon as in a small one", async () => {
    const { clock, fleet, join, say } = setup(Array.from({ length: 10_000 }, (_, n) => `host-${n}`));
    const [one, two] = [join("host-1"), join("host-2")];
    for (const { agent, session } of [one, two]) say(agent, session, 1);
    await clock.advance(15_000);
    expect(fleet.leaseOf(one.agent)).toBe("live");
    fleet.disconnected(one.agent, one.session);
    await clock.advance(4_999);
    expect(fleet.leaseOf(one.agent)).toBe("live");
    await clock.advance(1);
    expect([fleet.leaseOf(one.agent), fleet.leaseOf(two.agent)]).toEqual(["lost", "live"]);
    await clock.advance(28_000);
    expect(fleet.leaseOf(two.agent)).toBe("lost");
  });
});

describe("assignments", () => {
  test("nothing is sent before the session's first report, then the newest, one at a time", () => {
    const { fleet, join, say } = setup();
    const { agent, session } = join("host-1");
    fleet.want("host-1", [service("a")], "");
    fleet.flush(1);
    expect(session.assignments).toEqual([]);
    say(agent, session, 1);
    fleet.flush(1);
    fleet.want("host-1", [service("b")], "");
    fleet.flush(1);
    fleet.want("host-1", [service("c")], "");
    fleet.flush(1);
    expect(session.assignments).toHaveLength(1);
    const { epoch, generation, hash } = session.assignments[0]!;
    fleet.receive(agent, session, { kind: "applied", applied: { epoch, generation, hash, services: {} } });
    fleet.flush(1);
    expect(session.assignments.map((a) => a.services[0]?.name)).toEqual(["a", "c"]);
    expect(session.assignments[1]!.generation).toBeGreaterThan(generation);
  });

  test("an ack with another hash than was sent is no confirmation, and is not asked for again and again", () => {
    const { events, fleet, join, say } = setup();
    const { agent, session } = join("host-1");
    say(agent, session, 1);
    fleet.want("host-1", [service("a")], "");
    fleet.flush(1);
    const { epoch, generation } = session.assignments[0]!;
    fleet.receive(agent, session, {
      kind: "applied",
      applied: { epoch, generation, hash: "0".repeat(64), services: {} },
    });
    fleet.flush(1);
    expect(session.assignments).toHaveLength(1);
    expect(agent.sync(0)).toMatchObject({ sync: "REJECTED" });
    expect(events).toEqual(["assignment_rejected host-1"]);
  });

  test("an agent that does without a service says why, is asked once more when it comes back, and may have all later", () => {
    const { fleet, join, say } = setup();
    const { agent, session } = join("host-1");
    say(agent, session, 1);
    fleet.want("host-1", [service("a"), service("b")], "");
    fleet.flush(1);
    const { epoch, generation, hash } = session.assignments[0]!;
    const hashes = agent.wanted!.hashes;
    const some = { epoch, generation, hash: "0".repeat(64), services: { a: hashes["a"]! } };
    fleet.receive(agent, session, { kind: "report", report: report({ seq: 2, applied: some }) });
    const rejected = { epoch, generation, hash, why: "127.0.0.1:80: the port is in use" };
    fleet.receive(agent, session, { kind: "rejected", rejected });
    expect(agent.sync(0)).toEqual({ sync: "REJECTED", reason: rejected.why });
    expect(agent.applied).toEqual(some);
    expect(agent.live()).toEqual([service("a")]);
    fleet.flush(1);
    expect(session.assignments).toHaveLength(1);

    const again = join("host-1", { applied: some });
    say(again.agent, again.session, 3);
    fleet.flush(1);
    const [second] = again.session.assignments;
    expect(second?.hash).toBe(hash);
    const refused = { ...rejected, generation: second!.generation };
    fleet.receive(agent, again.session, { kind: "rejected", rejected: refused });
    const all = { epoch, generation: second!.generation, hash, services: hashes };
    fleet.receive(agent, again.session, { kind: "report", report: report({ seq: 4, applied: all }) });
    expect(agent.sync(0)).toEqual({ sync: "SYNCED", reason: "" });
  });

  test("an agent that lost its state is asked again, whatever it had confirmed before", () => {
    const { fleet, join, say } = setup();
    const { agent, session } = join("host-1");
    say(agent, session, 1);
    fleet.want("host-1", [service("a")], "");
    fleet.flush(1);
    const { epoch, generation, hash } = session.assignments[0]!;
    fleet.receive(agent, session, { kind: "applied", applied: { epoch, generation, hash, services: {} } });
    fleet.disconnected(agent, session);
    const again = join("host-1", { boot: "b2" });
    say(again.agent, again.session, 1);
    fleet.flush(1);
    expect(again.session.assignments).toHaveLength(1);
  });

  test("an agent that comes back with what is wanted is asked for nothing", () => {
    const { fleet, join, say } = setup();
    const { agent, session } = join("host-1");
    say(agent, session, 1);
    fleet.want("host-1", [service("a")], "");
    const { hash } = agent.wanted!;
    const again = join("host-1", { applied: { epoch: 1, generation: 4, hash, services: {} } });
    say(again.agent, again.session, 1);
    fleet.flush(2);
    expect(again.session.assignments).toEqual([]);
    expect(again.agent.sync(0)).toMatchObject({ sync: "SYNCED" });
  });
});

describe("what counts as confirmed", () => {
  /** A host that was sent "a" and has said that it does it. */
  function serving() {
    const world = setup();
    const { fleet, join, say } = world;
    const { agent, session } = join("host-1");
    agent.toldEpoch = 1;
    say(agent, session, 1);
    let seq = 1;
    const ask = (accepting: boolean): Assignment | undefined => {
      fleet.want("host-1", [service("shop", { accepting })], "");
      fleet.flush(agent.toldEpoch);
      return agent.session === session ? session.assignments.at(-1) : undefined;
    };
    const appliedOf = ({ epoch, generation, hash, services }: Assignment) => ({
      ...{ epoch, generation, hash },
      services: Object.fromEntries(services.map((one) => [one.name, serviceHash(one)])),
    });
    const ack = (asked: Assignment): void =>
      fleet.receive(agent, session, { kind: "applied", applied: appliedOf(asked) });
    const reports = (asked: Assignment, over: Session = session): void =>
      fleet.receive(agent, over, { kind: "report", report: report({ seq: ++seq, applied: appliedOf(asked) }) });
    const first = ask(true)!;
    ack(first);
    reports(first);
    const hash = agent.wanted!.hashes["shop"]!;
    expect(agent.liveHash("shop")).toBe(hash);
    return { ...world, agent, session, first, hash, ask, ack, reports, appliedOf };
  }

  test("asked A, B and A again, the old word for A is none for the new one while B is on its way", () => {
    const { agent, first, hash, ask, ack, reports, fleet, session } = serving();
    const second = ask(false)!;
    ask(true);
    reports(first);
    expect(agent.liveHash("shop")).toBe("");
    ack(second);
    fleet.flush(1);
    const third = session.assignments.at(-1)!;
    expect(third.generation).toBeGreaterThan(second.generation);
    // A is in flight again, and the newest report says A: but it was made before B was live.
    expect(agent.liveHash("shop")).toBe("");
    reports(second);
    expect(agent.liveHash("shop")).toBe("");
    ack(third);
    reports(third);
    expect(agent.liveHash("shop")).toBe(hash);
  });

  test("what is in flight about another service does not take this one's word away", () => {
    const { agent, hash, fleet } = serving();
    fleet.want("host-1", [service("shop"), service("mail")], "");
    fleet.flush(1);
    expect(agent.inFlight).not.toBeNull();
    expect(agent.liveHash("shop")).toBe(hash);
    expect(agent.liveHash("mail")).toBe("");
  });

  test("a refusal may be of a part: what was reported before it proves nothing any more", () => {
    const { agent, first, hash, reports, fleet, session } = serving();
    fleet.want("host-1", [service("shop"), service("mail")], "");
    fleet.flush(1);
    const { epoch, generation, hash: refused } = session.assignments.at(-1)!;
    fleet.receive(agent, session, { kind: "rejected", rejected: { epoch, generation, hash: refused, why: "no" } });
    expect(agent.liveHash("shop")).toBe("");
    reports(first);
    expect(agent.liveHash("shop")).toBe(hash);
  });

  test("what was refused may be taken later, by itself: asked for what it has, an agent is asked with a newer generation", () => {
    const { agent, first, hash, ask, reports, fleet, session } = serving();
    const { epoch, generation, hash: refused } = ask(false)!;
    fleet.receive(agent, session, { kind: "rejected", rejected: { epoch, generation, hash: refused, why: "port" } });
    reports(first);
    const again = ask(true)!;
    expect(agent.liveHash("shop")).toBe("");
    expect(again).toMatchObject({ hash: first.hash });
    expect(again.generation).toBeGreaterThan(generation);
    reports(again);
    expect(agent.liveHash("shop")).toBe(hash);
    fleet.flush(1);
    expect(session.assignments.at(-1)).toBe(again);
  });

  test("what was in flight when a session ended is settled by a newer generation, though nothing else is wanted", () => {
    const { agent, first, hash, ask, appliedOf, reports, fleet, session, join } = serving();
    ask(false);
    fleet.disconnected(agent, session);
    const again = join("host-1", { applied: appliedOf(first) });
    reports(first, again.session);
    fleet.want("host-1", [service("shop")], "");
    expect(agent.liveHash("shop")).toBe("");
    fleet.flush(1);
    const settling = again.session.assignments.at(-1)!;
    expect(settling.hash).toBe(first.hash);
    reports(settling, again.session);
    expect(agent.liveHash("shop")).toBe(hash);
    fleet.flush(1);
    expect(again.session.assignments).toHaveLength(1);
  });

  test("what an earlier controller had in flight is settled by the first assignment of this one", () => {
    const { fleet, join, reports, first, hash } = serving();
    const { agent, session } = join("host-1", { applied: { ...first, services: { shop: hash } } });
    agent.toldEpoch = 2;
    reports(first, session);
    fleet.want("host-1", [service("shop")], "");
    expect(agent.liveHash("shop")).toBe("");
    fleet.flush(2);
    const settling = session.assignments.at(-1)!;
    expect(settling).toMatchObject({ epoch: 2, hash: first.hash });
    reports(settling, session);
    expect(agent.liveHash("shop")).toBe(hash);
  });
});

describe("sessions", () => {
  test("a newer session takes the place of the older, whose words no longer count", () => {
    const { events, fleet, join, say } = setup();
    const first = join("host-1");
    say(first.agent, first.session, 5);
    const second = join("host-1");
    expect(first.session.ended).toContain("a newer session of host-1");
    expect(events).toEqual([]);
    say(first.agent, first.session, 6);
    expect(second.agent.report?.seq).toBe(5);
    fleet.disconnected(first.agent, first.session);
    expect(second.agent.session).toBe(second.session);
  });

  test("another agent of the same name is turned away while the first is heard of, and told of once a minute", async () => {
    const { clock, events, fleet, join, say } = setup();
    const { agent, session } = join("host-1");
    const rival = (): unknown => fleet.connect(hello("host-1", { boot: "b2" }), new Session());
    const why = "another agent named host-1 is connected from 127.0.0.1:4242; names must be unique";
    for (let ms = 0; ms < 60_000; ms += 500) {
      say(agent, session, ms + 1);
      await clock.advance(500);
      expect(rival()).toEqual({ kind: "taken", why });
    }
    expect(agent.session).toBe(session);
    expect(session.ended).toBe("");
    expect(events).toEqual(["host_refused host-1"]);
    say(agent, session, 70_000);
    await clock.advance(500);
    rival();
    expect(events).toEqual(["host_refused host-1", "host_refused host-1"]);
  });

  test("an agent that was restarted has its name back as soon as its old stream is gone", () => {
    const { events, fleet, join, say } = setup();
    const first = join("host-1");
    say(first.agent, first.session, 5);
    fleet.disconnected(first.agent, first.session);
    const second = join("host-1", { boot: "b2" });
    expect(second.agent.session).toBe(second.session);
    expect(events).toEqual([]);
  });

  test("a machine that is gone without a word does not keep its name", async () => {
    const { clock, events, join, say } = setup();
    const first = join("host-1");
    say(first.agent, first.session, 5);
    await clock.advance(1_001);
    const second = join("host-1", { boot: "b2" });
    expect(first.session.ended).toContain("a newer session of host-1");
    expect(second.agent.session).toBe(second.session);
    expect(events).toEqual(["host_replaced host-1"]);
  });

  test("at the end agents are told to come back at their own moment, and new ones are turned away", () => {
    const { fleet, join } = setup();
    const { session } = join("host-1");
    fleet.shutdown("bye");
    expect(session.sent.at(-1)).toMatchObject({ kind: "reconnect", reconnect: { reason: "bye" } });
    expect(session.ended).toBe("bye");
    expect(fleet.connect(hello("host-2"), new Session())).toEqual({ kind: "stopping" });
  });
});

describe("what is held", () => {
  const known = (changes: Partial<Known> = {}): Known => ({
    ...{ service: () => true, revision: () => true, retired: () => false, heardOf: () => true, ...changes },
  });
  const serving = { epoch: 1, generation: 1, hash: "h", services: { shop: "x" } };

  test("an agent that serves what is not known here", () => {
    const { join } = setup();
    const { agent } = join("host-1", { applied: serving });
    expect(holdReason(agent, [], known())).toBe("");
    expect(holdReason(agent, [], known({ service: () => false }))).toMatch(/^it serves shop, which this controller/);
    expect(holdReason(agent, [], known({ service: () => false, retired: () => true }))).toBe("");
  });

  test("a host that runs a revision not known here, unless it is on its way out", () => {
    const { join } = setup();
    const { agent } = join("host-1", { applied: serving });
    const unknown = known({ revision: () => false });
    agent.reported(report({ instances: [instance("a", { revision: 7, version: "v7" })] }), 0);
    expect(holdReason(agent, [], unknown)).toMatch(/^it runs shop v7 \(revision 7\)/);
    agent.reported(report({ seq: 2, instances: [instance("a", { state: "draining" })] }), 0);
    expect(holdReason(agent, [], unknown)).toBe("");
  });

  test("a gateway that would lose its last endpoint on the absence of news", () => {
    const { join } = setup();
    const { agent } = join("gateway-1", { role: "gateway", applied: serving });
    const unheard = known({ heardOf: () => false });
    expect(holdReason(agent, [service("shop")], unheard)).toMatch(/^no host of shop has reported/);
    expect(holdReason(agent, [service("shop")], known())).toBe("");
    const endpoint = { host: "host-1", address: "127.0.0.1", port: 1, mode: "serving" } as const;
    expect(holdReason(agent, [service("shop", { endpoints: [endpoint] })], unheard)).toBe("");
  });
});
