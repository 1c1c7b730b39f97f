/**
 * The agents' sessions over NATS, for the controller that leads and for those that follow: what agents say on their
 * subjects goes into the fleet, what the fleet says goes to the agents. Followers hear the same and say nothing, so that
 * their fleet is as the leader's.
 *
 * There is no stream that could end, and a message may be lost (PROTOCOL.md, N1 to N6): sessions are known by their id,
 * reports by their number; an unknown session is asked to begin anew; what is not answered is put again.
 *
 * Errors  none thrown: what can't be read is counted and dropped; what can't be stored is puts.ts's.
 * Cost    a report: as over gRPC, and one envelope. Calls and the look at what is unanswered once a second.
 */
import { PROTOCOL_VERSION, SESSION } from "../../../proto/contract/limits.ts";
import type { NatsLink } from "../../../proto/contract/nats-link.ts";
import { LEAD } from "../../../proto/contract/nats.ts";
import type { NatsNames } from "../../../proto/contract/nats.ts";
import type { ControllerMessage, Hello } from "../../../proto/contract/session.ts";
import { decodeAgentEnvelope, encodeCall, encodeControllerEnvelope } from "../../../proto/contract/wire.ts";
import type { AgentEnvelope, Farewell } from "../../../proto/contract/wire.ts";
import { sleep } from "../../../proto/kernel/clock.ts";
import type { Millis, Timer } from "../../../proto/kernel/clock.ts";
import type { SessionOptions } from "../session.ts";
import { HIGHEST_EPOCH } from "../session.ts";
import { NatsPort } from "./port.ts";
import type { PortVoice } from "./port.ts";
import { Puts } from "./puts.ts";

export interface NatsSessionsOptions extends SessionOptions {
  readonly link: NatsLink;
  readonly names: NatsNames;
  /** Its name, for people. */
  readonly controller: string;
  readonly leading: boolean;
  readonly epoch: () => number;
}

export interface NatsSessions {
  readonly sessions: number;
  /** Messages that could not be read. */
  readonly malformed: number;
  /** Why assignments can't be stored now; "" while they can. */
  readonly trouble: string;
  /** Idempotent. Agents are told nothing: they go on, and the next leader calls. */
  stop(reason: string): Promise<void>;
}

/** The share of the spread that is one agent's: a hundred hellos a second. */
const SPREAD_MS = 10;
/** An agent that is there answers a welcome within this. */
const SIGN_MS = 1_000;
/** Sessions that are told to begin anew, a second. */
const STRANGERS_A_SECOND = 200;
/** A follower asks the whole fleet, so not often. */
const ASK_AGAIN_MS = 10_000;

export const serveNatsSessions = (options: NatsSessionsOptions): NatsSessions => new Sessions(options);

class Sessions implements NatsSessions {
  malformed = 0;
  readonly #options: NatsSessionsOptions;
  readonly #live = new Map<string, NatsPort>();
  /** By host, the session whose hello waits for its epoch. */
  readonly #greeting = new Map<string, string>();
  readonly #puts: Puts | null;
  readonly #voice: PortVoice;
  readonly #hearNoMore: () => void;
  readonly #unfollow: () => void;
  readonly #ticks: Timer;
  /** Until then whoever is not known yet is about to say hello by itself. */
  #patientUntil: Millis = 0;
  #strangers = 0;
  #askedAt: Millis | null = null;
  #stopped: Promise<void> | undefined;

  constructor(options: NatsSessionsOptions) {
    const { link, names, clock, leading } = options;
    this.#options = options;
    this.#puts = leading
      ? new Puts({ ...options, refused: (host, assignment, why) => this.#refused(host, assignment, why) })
      : null;
    this.#voice = {
      now: () => clock.monotonic(),
      say: (host, session, what) => this.#say(host, session, what),
      put: (host, assignment) => this.#puts?.put(host, assignment),
      ended: (port) => this.#ended(port),
    };
    this.#hearNoMore = link.listen(names.everyUp, ({ subject, data }) => {
      if (this.#stopped === undefined) this.#heard(subject, data);
    });
    this.#unfollow = link.follow((connected) => {
      // Hellos were missed meanwhile.
      if (connected) this.#callAll();
    });
    this.#ticks = clock.every(LEAD.callMs, () => this.#tick());
    this.#callAll();
    if (leading) this.#call(false);
  }

  get sessions(): number {
    return this.#live.size;
  }

  get trouble(): string {
    return this.#puts?.trouble ?? "";
  }

  stop(reason: string): Promise<void> {
    return (this.#stopped ??= this.#stop(reason));
  }

  async #stop(reason: string): Promise<void> {
    const { log, fleet } = this.#options;
    log.debug({ reason, sessions: this.#live.size }, "sessions over NATS are left");
    this.#ticks.cancel();
    this.#unfollow();
    this.#hearNoMore();
    for (const port of this.#live.values()) if (port.agent !== null) fleet.disconnected(port.agent, port);
    this.#live.clear();
    await this.#puts?.close();
  }

  #tick(): void {
    const { leading, clock } = this.#options;
    this.#strangers = 0;
    if (!leading) return;
    this.#call(false);
    const now = clock.monotonic();
    for (const port of this.#live.values()) if (port.unanswered(now)) this.#puts?.again(port.host);
  }

  #callAll(): void {
    const { clock } = this.#options;
    this.#askedAt = clock.monotonic();
    this.#patientUntil = clock.monotonic() + this.#spreadMs() + 2 * LEAD.callMs;
    this.#call(true);
  }

  #call(again: boolean): void {
    const { link, names, controller, epoch } = this.#options;
    if (!link.connected) return;
    const call = encodeCall({ epoch: epoch(), controller, spreadMs: this.#spreadMs(), again });
    link.connection.publish(names.call, call);
  }

  #spreadMs(): Millis {
    return Math.min(SESSION.reconnectMaxMs, SPREAD_MS * this.#options.fleet.size);
  }

  #heard(subject: string, data: Uint8Array): void {
    const host = subject.slice(subject.lastIndexOf(".") + 1);
    const read = decodeAgentEnvelope(data);
    const { fleet, log } = this.#options;
    if (read.kind === "invalid") {
      this.#drop(host, read.why);
      return;
    }
    const { session, what } = read.value;
    const port = this.#live.get(host);
    const known = port?.id === session && port.agent !== null ? { port, agent: port.agent } : null;
    switch (what.kind) {
      case "hello":
        if (what.hello.host !== host) this.#drop(host, `hello.host: ${what.hello.host} speaks on another's subject`);
        else
          this.#hello(session, what.hello).catch((error: unknown) => {
            this.#greeting.delete(host);
            log.error({ host, err: error }, "a hello could not be taken; it is said again");
          });
        return;
      case "farewell":
        if (known === null) return;
        log.debug({ host, reason: what.reason }, "session ended by its agent");
        known.port.left = true;
        this.#ended(known.port);
        return;
      case "applied":
      case "rejected":
      case "report":
        if (known !== null) fleet.receive(known.agent, known.port, what);
        else this.#stranger(host, read.value);
    }
  }

  async #hello(session: string, hello: Hello): Promise<void> {
    const { leading, fleet, log } = this.#options;
    const { host } = hello;
    const before = this.#live.get(host);
    if (before?.id === session) {
      // Announced again for a follower's sake; or its welcome was lost.
      if (before.agent !== null && !before.agent.reportedInSession) this.#welcome(before);
      return;
    }
    if (this.#greeting.get(host) === session) return;
    const wrong = wrongWith(hello);
    if (wrong !== "") {
      if (leading) this.#options.event("host_refused", host, wrong);
      this.#say(host, session, { kind: "farewell", reason: wrong });
      return;
    }
    this.#greeting.set(host, session);
    const epoch = leading ? await this.#options.epochFor(hello) : 0;
    await this.#lookAtRival(hello);
    // Another has begun meanwhile, or it is over.
    if (this.#stopped !== undefined || this.#greeting.get(host) !== session) return;
    this.#greeting.delete(host);
    const port = new NatsPort(session, hello, this.#voice);
    // Of one agent, it is the agent that has left the one before.
    const last = this.#live.get(host);
    if (last?.boot === hello.boot) last.left = true;
    const connected = fleet.connect(hello, port);
    switch (connected.kind) {
      case "stopping":
        return;
      case "taken":
        log.warn({ host, session }, `session refused: ${connected.why}`);
        this.#say(host, session, { kind: "farewell", reason: connected.why });
        return;
      case "open":
        port.agent = connected.agent;
        if (leading) connected.agent.toldEpoch = epoch;
        this.#live.set(host, port);
        this.#welcome(port);
    }
  }

  /**
   * An agent that was killed ends no stream: its successor would seem to be a second machine of that name until the first
   * had been silent for long. So the first is asked for a sign, which a welcome is answered by.
   */
  async #lookAtRival({ host, boot }: Hello): Promise<void> {
    const first = this.#live.get(host);
    if (first === undefined || first.boot === boot || first.agent === null) return;
    const { heardAt } = first.agent;
    this.#welcome(first);
    await sleep(this.#options.clock, SIGN_MS);
    if (this.#stopped === undefined && first.agent.heardAt === heardAt && this.#live.get(host) === first) {
      first.left = true;
      this.#ended(first);
    }
  }

  #welcome(port: NatsPort): void {
    if (port.agent === null) return;
    port.send({
      kind: "welcome",
      welcome: { epoch: port.agent.toldEpoch, session: port.id, ...this.#options.fleet.pace },
    });
  }

  /** A session that began while this controller did not listen. */
  #stranger(host: string, { session }: AgentEnvelope): void {
    const { leading, clock } = this.#options;
    const now = clock.monotonic();
    if (this.#greeting.get(host) === session || now < this.#patientUntil) return;
    if (leading) {
      this.#strangers += 1;
      if (this.#strangers > STRANGERS_A_SECOND) return;
      this.#say(host, session, { kind: "farewell", reason: "this session is not known here: say hello" });
    } else if (this.#askedAt === null || now - this.#askedAt >= ASK_AGAIN_MS) {
      this.#callAll();
    }
  }

  #ended(port: NatsPort): void {
    if (this.#live.get(port.host) === port) this.#live.delete(port.host);
    if (port.agent !== null) this.#options.fleet.disconnected(port.agent, port);
  }

  #refused(host: string, { epoch, generation, hash }: Parameters<PortVoice["put"]>[1], why: string): void {
    const port = this.#live.get(host);
    if (port === undefined || port.agent === null) return;
    // As if the agent had refused it: the rollout pauses with the reason, and it is not sent again in a loop (C2).
    const rejected = { epoch, generation, hash, why };
    this.#options.fleet.receive(port.agent, port, { kind: "rejected", rejected });
  }

  #say(host: string, session: string, what: ControllerMessage | Farewell): void {
    const { link, names, leading } = this.#options;
    if (!leading || !link.connected || link.connection.isClosed()) return;
    link.connection.publish(names.down(host), encodeControllerEnvelope({ session, what }));
  }

  #drop(host: string, why: string): void {
    this.malformed += 1;
    this.#options.log.debug({ host, why, malformed: this.malformed }, "a message that breaks the protocol is dropped");
  }
}

function wrongWith({ host, protocolVersion, highestEpoch }: Hello): string {
  if (protocolVersion !== PROTOCOL_VERSION) {
    return `agent ${host} speaks protocol ${protocolVersion}, this controller ${PROTOCOL_VERSION}`;
  }
  if (highestEpoch > HIGHEST_EPOCH) return `epoch ${highestEpoch} can't be real; no controller could follow it`;
  return "";
}
