/**
 * The fleet: every agent's session and lease, what each is asked, and what each has said. It decides nothing about
 * rollouts; it tells the controller that there is news, and sends what it is given.
 *
 * Generations count up within an epoch over the whole fleet. One live session a name: an agent's newer one replaces its
 * older. Another agent that takes the name of one that is heard of is turned away, or the two would drive each other out
 * several times a second, each time with what the other applied; whoever is restarted has ended its stream before.
 *
 * A pause of this very process (a stopped container, a suspended machine) is not silence of the agents: leases are
 * given the time that was slept through (I5).
 */
import type { AssignedService, Assignment } from "../../proto/contract/assignment.ts";
import { SESSION } from "../../proto/contract/limits.ts";
import type { Report } from "../../proto/contract/report.ts";
import type { AgentMessage, Hello } from "../../proto/contract/session.ts";
import type { Clock, Millis } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";
import { Agent } from "./agent.ts";
import type { Lease, SessionPort } from "./agent.ts";
import { paceOf } from "./pace.ts";
import type { Pace } from "./pace.ts";

export interface FleetNews {
  /** Something changed that a decision may depend on. */
  changed(): void;
  /** For people: kept as an event. */
  event(kind: string, host: string, message: string): void;
  report(agent: Agent, report: Report): void;
  lost(agent: Agent): void;
}

export interface FleetOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly news: FleetNews;
  readonly leaseMs: Millis;
  /** False for a controller that follows: what agents answer was asked by another. */
  readonly asks?: boolean;
  /** Of a small fleet; a great one reports less often (pace.ts). */
  readonly reportEveryMs?: Millis;
}

export type Connected =
  | { readonly kind: "open"; readonly agent: Agent }
  | { readonly kind: "stopping" }
  | { readonly kind: "taken"; readonly why: string };

/** An agent that has a session and is silent for so many reports' time, or so long, is not well: it no longer keeps its name. */
const HEARD_REPORTS = 2;
const HEARD_MS = 1_000;
/** One that is turned away comes again and again; its event is one in so long. */
const RIVAL_EVENT_MS = 60_000;
/** A loop that comes round this late was asleep, not idle. */
const STALL_MS = 1_000;
/** Of all agents, the share that is looked at anew in each sweep though nothing was heard: all within ten seconds. */
const SWEEPS_A_LOOK = 40;

export class Fleet {
  readonly #options: FleetOptions;
  readonly #agents = new Map<string, Agent>();
  readonly #startedAt: Millis;
  #sweptAt: Millis;
  #generation = 0;
  #ending = false;
  #pace: Pace;
  #sweeps = 0;
  /** Whoever said to be one, in its present session or before. */
  readonly #gateways = new Set<Agent>();
  readonly #followers: Set<Agent>[] = [];
  readonly #counters: Set<Agent>[] = [];
  readonly #toSend = this.follow();
  readonly #touched = (agent: Agent): void => {
    for (const follower of this.#followers) follower.add(agent);
  };

  constructor(options: FleetOptions, known: readonly string[]) {
    this.#options = options;
    this.#startedAt = options.clock.monotonic();
    this.#sweptAt = this.#startedAt;
    for (const name of known) this.#agents.set(name, new Agent(name, this.#touched));
    this.#pace = this.#paceNow();
  }

  /**
   * The agents of which something changes from now on that a decision may stand on. The caller takes out whom it has
   * seen to. Every agent comes up again within some seconds even if nothing is heard of it, so that a defect in telling
   * changes costs time and no more (RACES C7).
   */
  follow(): Set<Agent> {
    const follower = new Set<Agent>(this.#agents.values());
    this.#followers.push(follower);
    return follower;
  }

  /** The same, of agents whose newest report moved counts alone. */
  followCounts(): Set<Agent> {
    const counter = new Set<Agent>();
    this.#counters.push(counter);
    return counter;
  }

  /** What an agent that connects now is told. */
  get pace(): Pace {
    return this.#pace;
  }

  agents(): IterableIterator<Agent> {
    return this.#agents.values();
  }

  agent(name: string): Agent | undefined {
    return this.#agents.get(name);
  }

  *gateways(): IterableIterator<Agent> {
    for (const agent of this.#gateways) if (agent.hello?.role === "gateway") yield agent;
  }

  /** All that are known, heard of or not. */
  get size(): number {
    return this.#agents.size;
  }

  get live(): number {
    return [...this.#agents.values()].filter((agent) => this.leaseOf(agent) === "live").length;
  }

  /** A session that has said a valid hello. */
  connect(hello: Hello, session: SessionPort): Connected {
    if (this.#ending) return { kind: "stopping" };
    const { clock, news } = this.#options;
    let agent = this.#agents.get(hello.host);
    if (agent === undefined) {
      agent = new Agent(hello.host, this.#touched);
      this.#agents.set(hello.host, agent);
      this.#grown();
    }
    const before = agent.session;
    const silent = clock.monotonic() - (agent.heardAt ?? 0);
    const rival = before !== null && agent.hello !== null && agent.hello.boot !== hello.boot;
    if (rival && silent <= this.#soonMs) return { kind: "taken", why: this.#turnedAway(agent, before, session) };
    agent.open(hello, session, clock.monotonic());
    agent.noteSync(clock.now());
    if (hello.role === "gateway") this.#gateways.add(agent);
    if (before !== null) before.end(`a newer session of ${hello.host} took its place`);
    if (rival) {
      const message =
        `a second agent calls itself ${hello.host}, and the first was silent for ${Math.round(silent)} ms though its ` +
        "session is open: its machine was lost or hangs, or two machines share one name";
      news.event("host_replaced", hello.host, message);
    }
    news.changed();
    return { kind: "open", agent };
  }

  /** Whoever is well has said something within so long. */
  get #soonMs(): Millis {
    return Math.max(HEARD_MS, HEARD_REPORTS * this.#pace.reportEveryMs);
  }

  #turnedAway(agent: Agent, first: SessionPort, second: SessionPort): string {
    const now = this.#options.clock.monotonic();
    const why = `another agent named ${agent.name} is connected from ${first.peer}; names must be unique`;
    if (agent.rivalToldAt === null || now - agent.rivalToldAt >= RIVAL_EVENT_MS) {
      agent.rivalToldAt = now;
      this.#options.news.event("host_refused", agent.name, `the agent at ${second.peer} is refused: ${why}`);
    }
    return why;
  }

  /** Everyone is told when the fleet has grown beyond its pace. */
  #grown(): void {
    const pace = this.#paceNow();
    if (pace.reportEveryMs === this.#pace.reportEveryMs) return;
    this.#pace = pace;
    for (const { session, toldEpoch } of this.#agents.values()) {
      if (session === null || toldEpoch === 0) continue;
      session.send({ kind: "welcome", welcome: { epoch: toldEpoch, session: session.id, ...pace } });
    }
  }

  #paceNow(): Pace {
    const { reportEveryMs = SESSION.reportEveryMs, leaseMs } = this.#options;
    return paceOf(this.#agents.size, { reportEveryMs, leaseMs });
  }

  receive(agent: Agent, session: SessionPort, message: Exclude<AgentMessage, { readonly kind: "hello" }>): void {
    if (agent.session !== session) return;
    const { clock, news } = this.#options;
    agent.heardAt = clock.monotonic();
    switch (message.kind) {
      case "applied": {
        const wrong = agent.acked(message.applied);
        if (wrong !== "") news.event("assignment_rejected", agent.name, `${agent.name}: ${wrong}`);
        break;
      }
      case "rejected":
        if (this.#options.asks === false) agent.overheard(message.rejected);
        else if (agent.refused(message.rejected)) {
          const { generation, why } = message.rejected;
          news.event("assignment_rejected", agent.name, `${agent.name} refused generation ${generation}: ${why}`);
        }
        break;
      case "report": {
        const added = agent.reported(message.report, clock.now());
        if (added === null) return;
        news.report(agent, message.report);
        // Counts are looked at with the next tick.
        if (added === "counts") for (const counter of this.#counters) counter.add(agent);
        if (added !== "news") return;
      }
    }
    agent.noteSync(clock.now());
    news.changed();
  }

  disconnected(agent: Agent, session: SessionPort): void {
    const { clock, news } = this.#options;
    if (!agent.closed(session, clock.monotonic())) return;
    agent.noteSync(clock.now());
    news.changed();
  }

  leaseOf(agent: Agent): Lease {
    const now = this.#options.clock.monotonic();
    // After a start of the controller, agents first have to find their way back.
    const since = agent.heardAt ?? this.#startedAt + SESSION.reconnectMaxMs;
    if (now - since >= this.#pace.leaseMs) return "lost";
    // Whoever is there comes back soon, however seldom it reports.
    if (agent.endedAt !== null && now - agent.endedAt >= this.#options.leaseMs) return "lost";
    // What was reported in the session before may be long out of date: a new one first has to say what runs (I5).
    const news = agent.report !== null && (agent.session === null || agent.reportedInSession);
    return news ? "live" : "unknown";
  }

  /**
   * Whether nothing is heard of a host at the moment, though its lease still runs: a way may be cut with its stream open,
   * and whoever has just come back has yet to say what happened. And a lease that has run out is told at the next sweep:
   * until then it explains nothing.
   */
  silent(name: string): boolean {
    const agent = this.#agents.get(name);
    if (agent === undefined || (agent.lease === "lost" && this.leaseOf(agent) === "lost")) return false;
    const since = this.#options.clock.monotonic() - (agent.heardAt ?? this.#startedAt);
    return agent.session === null || !agent.reportedInSession || since > this.#soonMs;
  }

  /** Looks at the leases; to be called a few times a second. */
  sweep(): void {
    const now = this.#options.clock.monotonic();
    const slept = now - this.#sweptAt;
    this.#sweptAt = now;
    this.#sweeps += 1;
    let n = this.#sweeps % SWEEPS_A_LOOK;
    for (const agent of this.#agents.values()) {
      if (slept > STALL_MS) {
        if (agent.heardAt !== null) agent.heardAt += slept;
        if (agent.endedAt !== null) agent.endedAt += slept;
      }
      this.#lookAtLease(agent);
      if (n++ % SWEEPS_A_LOOK === 0) this.#touched(agent);
    }
  }

  want(name: string, services: readonly AssignedService[], held: string): void {
    const agent = this.#agents.get(name);
    if (agent === undefined) return;
    const before = agent.held;
    agent.want(services, held);
    agent.noteSync(this.#options.clock.now());
    if (held !== "" && held !== before) this.#options.news.event("host_held", name, `${name}: ${held}`);
  }

  /** What was refused of this service is asked for once more. */
  askAgain(service: string): void {
    for (const agent of this.#agents.values()) if (agent.refusal(service) !== "") agent.askAgain();
  }

  /** Sends each agent what it is to have and does not, one at a time. */
  flush(epoch: number): void {
    const concerned = [...this.#toSend];
    this.#toSend.clear();
    for (const agent of concerned) {
      const due = agent.due();
      if (due === null || agent.session === null) continue;
      this.#generation += 1;
      const { services, hash, hashes } = due;
      const assignment: Assignment = { epoch, generation: this.#generation, hash, services };
      agent.sent({ assignment, hashes, sentAt: this.#options.clock.monotonic() });
      agent.noteSync(this.#options.clock.now());
      agent.session.send({ kind: "assignment", assignment });
      this.#options.log.debug({ host: agent.name, generation: this.#generation, hash }, "assignment sent");
    }
  }

  /** Tells every agent to come back at its own moment within the spread; new ones are turned away. */
  shutdown(reason: string): void {
    this.#ending = true;
    const sessions = [...this.#agents.values()].filter((agent) => agent.session !== null);
    // Half a second for the successor to listen, and no more than a hundred agents a second.
    const withinMs = Math.min(SESSION.reconnectMaxMs, 500 + sessions.length * 10);
    for (const { session } of sessions) {
      session?.send({ kind: "reconnect", reconnect: { withinMs, reason } });
      session?.end(reason);
    }
  }

  #lookAtLease(agent: Agent): void {
    const { news } = this.#options;
    const lease = this.leaseOf(agent);
    const before = agent.lease;
    if (lease === before) return;
    agent.lease = lease;
    this.#touched(agent);
    if (lease === "lost") {
      const now = this.#options.clock.monotonic();
      const silent = Math.round(now - (agent.heardAt ?? this.#startedAt));
      news.event("host_lost", agent.name, `nothing was heard of ${agent.name} for ${silent} ms`);
      news.lost(agent);
    } else if (before === "lost") {
      news.event("host_back", agent.name, `${agent.name} is heard of again`);
    }
    news.changed();
  }
}
