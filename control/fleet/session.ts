/**
 * The controller's end of one agent's stream: wire messages in and out, checked at the edge, and nothing else. The
 * agent speaks first, within `HELLO_MS`; what it may not say ends the stream with one sentence in its log.
 *
 * Out  outbox.ts
 * In   messages are taken in order, one after the other, because hello may wait for the store.
 */
import { status } from "@grpc/grpc-js";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import { PROTOCOL_VERSION } from "../../proto/contract/limits.ts";
import { sessionId } from "../../proto/contract/ids.ts";
import type { AgentMessage, ControllerMessage, Hello } from "../../proto/contract/session.ts";
import { decodeAgentMessage, encodeControllerMessage } from "../../proto/contract/wire.ts";
import type * as wire from "../../proto/gen/baton/v1/session.ts";
import type { Clock, Timer } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";
import type { Random } from "../../proto/kernel/random.ts";
import type { Agent, SessionPort } from "./agent.ts";
import type { Fleet } from "./fleet.ts";
import { Outbox } from "./outbox.ts";

const HELLO_MS = 10_000;
/** Counted up by one a start, an epoch never comes near; above it there would soon be none left. */
export const HIGHEST_EPOCH = 2 ** 48;

export interface SessionOptions {
  readonly fleet: Fleet;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** The epoch to be told to an agent that says this hello: above any that another controller has told it. */
  epochFor(hello: Hello): Promise<number>;
  event(kind: string, host: string, message: string): void;
}

export type SessionStream = ServerDuplexStream<wire.AgentMessage, wire.ControllerMessage>;

export function serveSession(call: SessionStream, options: SessionOptions): void {
  new Session(call, options).start();
}

class Session implements SessionPort {
  readonly id: string;
  readonly peer: string;
  readonly #call: SessionStream;
  readonly #options: SessionOptions;
  #agent: Agent | null = null;
  readonly #out: Outbox;
  #ended = false;
  #taken: Promise<void> = Promise.resolve();
  #helloTimer: Timer | null = null;

  constructor(call: SessionStream, options: SessionOptions) {
    this.id = sessionId(options.random);
    this.#call = call;
    this.#out = new Outbox((message) => this.#ended || call.write(encodeControllerMessage(message)));
    this.peer = call.getPeer();
    this.#options = options;
  }

  start(): void {
    const call = this.#call;
    this.#helloTimer = this.#options.clock.after(HELLO_MS, () => {
      this.#fail(status.DEADLINE_EXCEEDED, `no hello within ${HELLO_MS} ms`);
    });
    call.on("data", (message: wire.AgentMessage) => {
      this.#taken = this.#taken.then(() => this.#take(message)).catch((error: unknown) => this.#broken(error));
    });
    call.on("drain", () => this.#out.drained());
    call.on("end", () => this.#gone(true));
    call.on("cancelled", () => this.#gone(false));
    call.on("error", () => this.#gone(false));
    call.on("close", () => this.#gone(false));
  }

  send(message: ControllerMessage): void {
    if (!this.#ended) this.#out.send(message);
  }

  end(why: string): void {
    if (this.#ended) return;
    this.#options.log.info({ session: this.id, host: this.#agent?.name }, `session ended: ${why}`);
    this.#out.drained();
    this.#gone(true);
  }

  async #take(message: wire.AgentMessage): Promise<void> {
    if (this.#ended) return;
    const decoded = decodeAgentMessage(message);
    if (decoded.kind === "invalid") {
      this.#fail(status.INVALID_ARGUMENT, `a message breaks the protocol: ${decoded.why}`);
      return;
    }
    const { value } = decoded;
    if (value.kind === "hello") await this.#hello(value.hello);
    else if (this.#agent === null) this.#fail(status.INVALID_ARGUMENT, "the first message must be hello");
    else this.#said(this.#agent, value);
  }

  #said(agent: Agent, message: Exclude<AgentMessage, { readonly kind: "hello" }>): void {
    this.#options.fleet.receive(agent, this, message);
  }

  async #hello(hello: Hello): Promise<void> {
    const { fleet } = this.#options;
    if (this.#agent !== null) {
      this.#fail(status.INVALID_ARGUMENT, "hello was said already");
      return;
    }
    this.#helloTimer?.cancel();
    if (hello.protocolVersion !== PROTOCOL_VERSION) {
      const why = `agent ${hello.host} speaks protocol ${hello.protocolVersion}, this controller ${PROTOCOL_VERSION}`;
      this.#options.event("host_refused", hello.host, why);
      this.#fail(status.FAILED_PRECONDITION, why);
      return;
    }
    if (hello.highestEpoch > HIGHEST_EPOCH) {
      this.#fail(status.INVALID_ARGUMENT, `epoch ${hello.highestEpoch} can't be real; no controller could follow it`);
      return;
    }
    const epoch = await this.#options.epochFor(hello);
    if (this.#isEnded()) return;
    const connected = fleet.connect(hello, this);
    switch (connected.kind) {
      case "stopping": {
        this.#fail(status.UNAVAILABLE, "the controller is stopping");
        return;
      }
      case "taken": {
        this.#fail(status.ALREADY_EXISTS, connected.why);
        return;
      }
      case "open":
        this.#agent = connected.agent;
        this.#agent.toldEpoch = epoch;
        this.send({ kind: "welcome", welcome: { epoch, session: this.id, ...fleet.pace } });
    }
  }

  /** Asked anew after a wait: it may have ended meanwhile. */
  #isEnded(): boolean {
    return this.#ended;
  }

  #fail(code: status, why: string): void {
    if (this.#ended) return;
    this.#options.log.warn({ session: this.id, host: this.#agent?.name }, `session refused: ${why}`);
    this.#call.emit("error", { code, details: why });
  }

  #broken(error: unknown): void {
    this.#options.log.error({ session: this.id, host: this.#agent?.name, err: error }, "session failed");
    this.#fail(status.INTERNAL, "the controller could not take a message");
  }

  #gone(answer: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#helloTimer?.cancel();
    if (answer) this.#call.end();
    if (this.#agent !== null) this.#options.fleet.disconnected(this.#agent, this);
  }
}
