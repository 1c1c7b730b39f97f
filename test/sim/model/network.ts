/**
 * The wires between agents and the controller: late, out of order, twice, or not at all. A stream that loses an assignment
 * or an answer is broken, as TCP's is, and each end learns of it in its own time; a lost report is just lost. What was
 * sent before a stream broke may still arrive after the next one is open.
 */
import type { AgentMessage, ControllerMessage } from "../../../proto/contract/session.ts";
import { integer, type Random } from "../../../proto/kernel/random.ts";
import type { SessionPort } from "../../../control/fleet/agent.ts";
import type { SimAgent } from "./agent.ts";
import type { SimController } from "./controller.ts";
import type { Timeline } from "./timeline.ts";

export interface NetworkOptions {
  /** Largest delay of a message. */
  readonly latencyMs: number;
  /** Chance that a message is lost. */
  readonly lossy: number;
  /** Chance that a message comes twice. */
  readonly repeats: number;
  readonly reportEveryMs: number;
}

type Said = Exclude<AgentMessage, { readonly kind: "hello" }>;

interface Link {
  session: Session | null;
  /** Welcomed: reports are due. */
  open: boolean;
  /** Of the agent as the newest report that was sent told it. */
  toldVersion: number;
  reportPlanned: boolean;
}

class Session implements SessionPort {
  readonly id: string;
  readonly peer = "127.0.0.1:1";
  /** The agent's process that has the other end. */
  readonly life: number;
  readonly #send: (message: ControllerMessage) => void;

  constructor(id: string, life: number, send: (message: ControllerMessage) => void) {
    this.id = id;
    this.life = life;
    this.#send = send;
  }

  send(message: ControllerMessage): void {
    this.#send(message);
  }

  end(): void {
    // Both ends learn of it by their own means.
  }
}

/** What changes within this time goes into one report (agent/core/session). */
const COALESCE_MS = 20;
const BACKOFF_MS = 600;

export class Network {
  options: NetworkOptions;
  readonly #time: Timeline;
  readonly #random: Random;
  readonly #links = new Map<SimAgent, Link>();
  #sessions = 0;
  #controller: SimController | null = null;

  constructor(time: Timeline, random: Random, options: NetworkOptions) {
    this.#time = time;
    this.#random = random;
    this.options = options;
  }

  plug(controller: SimController): void {
    this.#controller = controller;
  }

  /** The agent looks for the controller, for ever. */
  join(agent: SimAgent): void {
    this.#links.set(agent, { session: null, open: false, toldVersion: -1, reportPlanned: false });
    this.#connectSoon(agent);
  }

  /** The agent's end of its stream is gone: it comes back by itself. */
  broken(agent: SimAgent): void {
    const link = this.#links.get(agent);
    if (link === undefined) return;
    const { session } = link;
    link.session = null;
    link.open = false;
    if (session !== null && this.#random.next() < 0.5) {
      // Else the controller learns of it by the next one, or by silence.
      this.#time.after(integer(this.#random, 3_000), () => this.#controller?.disconnected(agent.name, session));
    }
    this.#connectSoon(agent);
  }

  say(agent: SimAgent, message: Said): void {
    const link = this.#links.get(agent);
    const session = link?.session ?? null;
    if (link === undefined || session === null || !link.open) return;
    if (this.#lost()) {
      if (message.kind !== "report") this.broken(agent);
      return;
    }
    this.#carry(agent, () => this.#controller?.hear(agent.name, session, message));
  }

  /** Something is new on it, and soon told. */
  changed(agent: SimAgent): void {
    const link = this.#links.get(agent);
    if (link === undefined || link.reportPlanned || !link.open) return;
    link.reportPlanned = true;
    this.#time.after(COALESCE_MS, () => {
      link.reportPlanned = false;
      if (link.open && agent.version !== link.toldVersion) this.#report(agent, link);
    });
  }

  #connectSoon(agent: SimAgent): void {
    this.#time.after(20 + integer(this.#random, BACKOFF_MS), () => this.#connect(agent));
  }

  #connect(agent: SimAgent): void {
    const link = this.#links.get(agent);
    if (link === undefined || link.session !== null) return;
    if (!agent.reachable || this.#lost() || this.#controller?.alive !== true) {
      this.#connectSoon(agent);
      return;
    }
    const session = new Session(`s${++this.#sessions}`, agent.life, (message) => this.#down(agent, session, message));
    link.session = session;
    const hello = agent.hello();
    this.#time.after(integer(this.#random, this.options.latencyMs), () => {
      if (link.session !== session || !agent.reachable) return;
      if (this.#controller?.greeted(hello, session) !== true) this.broken(agent);
    });
    // A greeting that is never answered.
    this.#time.after(2_000 + 2 * this.options.latencyMs, () => {
      if (link.session === session && !link.open) this.broken(agent);
    });
  }

  #down(agent: SimAgent, session: Session, message: ControllerMessage): void {
    const link = this.#links.get(agent);
    if (link === undefined || message.kind === "reconnect" || session.life !== agent.life) return;
    if (message.kind === "welcome") {
      this.#time.after(integer(this.#random, this.options.latencyMs), () => {
        if (link.session !== session || !agent.reachable) return;
        agent.welcomed(message.welcome.epoch);
        link.open = true;
        this.#report(agent, link);
        this.#beat(agent, link, session);
      });
      return;
    }
    if (this.#lost()) {
      if (link.session === session) this.broken(agent);
      return;
    }
    this.#carry(agent, () => agent.receive(message.assignment));
  }

  #beat(agent: SimAgent, link: Link, session: Session): void {
    this.#time.after(this.options.reportEveryMs, () => {
      if (link.session !== session || !link.open) return;
      if (agent.reachable) this.#report(agent, link);
      this.#beat(agent, link, session);
    });
  }

  #report(agent: SimAgent, link: Link): void {
    link.toldVersion = agent.version;
    this.say(agent, { kind: "report", report: agent.report() });
  }

  #lost(): boolean {
    return this.options.lossy > 0 && this.#random.next() < this.options.lossy;
  }

  /** Once, or twice; only while the agent can be reached, both when it goes and when it comes. */
  #carry(agent: SimAgent, deliver: () => void): void {
    if (!agent.reachable) return;
    const { life } = agent;
    const times = this.options.repeats > 0 && this.#random.next() < this.options.repeats ? 2 : 1;
    for (let n = 0; n < times; n++) {
      this.#time.after(integer(this.#random, this.options.latencyMs + 1), () => {
        // No process hears what was sent to one before it.
        if (agent.reachable && agent.life === life) deliver();
      });
    }
  }
}
