/**
 * One agent's gRPC stream, carried over NATS. To the agent it is a controller's end of the session (session.ts); to the
 * controllers it is the agent: its hello under a session id, its messages up, its key of the assignments bucket.
 *
 * Leader   another one calls with a higher epoch: the hello is said again under a new session, with what the agent has
 *          applied by now, and the agent is told by a second Welcome. Its stream stays.
 * Loss     core NATS may lose what a stream would not: the hello is said until it is welcomed, a rejection with each
 *          report until something else is asked; reports say what is applied.
 * Out      ../outbox.ts
 */
import { status } from "@grpc/grpc-js";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import type { Applied, Assignment, Fence, Rejected } from "../../../proto/contract/assignment.ts";
import { sessionId } from "../../../proto/contract/ids.ts";
import { PROTOCOL_VERSION } from "../../../proto/contract/limits.ts";
import { AssignmentKey } from "../../../proto/contract/nats-assignments.ts";
import type { NatsLink } from "../../../proto/contract/nats-link.ts";
import type { NatsNames } from "../../../proto/contract/nats.ts";
import type { AgentMessage, ControllerMessage, Hello } from "../../../proto/contract/session.ts";
import {
  decodeAgentMessage,
  decodeControllerEnvelope,
  encodeAgentEnvelope,
  encodeControllerMessage,
} from "../../../proto/contract/wire.ts";
import type { Call, Farewell } from "../../../proto/contract/wire.ts";
import { AgentEnvelope } from "../../../proto/gen/baton/v1/nats.ts";
import type * as wire from "../../../proto/gen/baton/v1/session.ts";
import type { Clock, Millis, Timer } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import type { Random } from "../../../proto/kernel/random.ts";
import { Outbox } from "../outbox.ts";

export interface BridgeOptions {
  readonly link: NatsLink;
  readonly names: NatsNames;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export type AgentStream = ServerDuplexStream<wire.AgentMessage, wire.ControllerMessage>;

const HELLO_MS = 10_000;
/** The agent gives up after 5 s; told why, it tries the next controller sooner. */
const WELCOME_MS = 4_000;
const HELLO_AGAIN_MS = 1_500;

export class Bridge {
  readonly #stream: AgentStream;
  readonly #options: BridgeOptions;
  readonly #closed: (bridge: Bridge) => void;
  #hello: Hello | null = null;
  #session = "";
  /** Of the newest Welcome; 0 before the first. */
  #epoch = 0;
  /** The present session is welcomed. */
  #welcomed = false;
  #applied: Applied | null = null;
  #rejected: Rejected | null = null;
  #tooLarge = false;
  #key: AssignmentKey | null = null;
  /** Until the agent is let in, which another one of its name is not; or nobody is there to say so. */
  #waiting: Assignment | null = null;
  #hearNoMore: () => void = () => undefined;
  /** Until hello, then until the first Welcome. */
  #deadline: Timer | null;
  #again: Timer | null = null;
  #greet: Timer | null = null;
  readonly #out: Outbox;
  #ended = false;

  constructor(stream: AgentStream, options: BridgeOptions, closed: (bridge: Bridge) => void) {
    this.#stream = stream;
    this.#options = options;
    this.#closed = closed;
    this.#out = new Outbox((message) => this.#ended || stream.write(encodeControllerMessage(message)));
    this.#deadline = options.clock.after(HELLO_MS, () => {
      this.#fail(status.DEADLINE_EXCEEDED, `no hello within ${HELLO_MS} ms`);
    });
    stream.on("data", (message: wire.AgentMessage) => this.#take(message));
    stream.on("drain", () => this.#out.drained());
    stream.on("end", () => this.#gone(true));
    for (const event of ["cancelled", "error", "close"]) stream.on(event, () => this.#gone(false));
  }

  called({ epoch, spreadMs, again }: Call): void {
    if (this.#hello === null || this.#ended) return;
    if (again) this.#greetWithin(spreadMs, () => this.#sayHello());
    else if (this.#welcomed && epoch !== this.#epoch) this.#greetWithin(spreadMs, () => this.#begin());
  }

  /** The link is there again. */
  linked(): void {
    if (this.#hello !== null && !this.#welcomed) this.#sayHello();
  }

  leave(reason: string, withinMs: Millis): void {
    if (this.#ended) return;
    this.#out.drained();
    this.#send({ kind: "reconnect", reconnect: { withinMs, reason } });
    this.#gone(true);
  }

  #take(message: wire.AgentMessage): void {
    if (this.#ended) return;
    const read = decodeAgentMessage(message);
    if (read.kind === "invalid") {
      this.#fail(status.INVALID_ARGUMENT, `a message breaks the protocol: ${read.why}`);
      return;
    }
    const { value } = read;
    if (value.kind === "hello") this.#greeted(value.hello);
    else if (this.#hello === null) this.#fail(status.INVALID_ARGUMENT, "the first message must be hello");
    else this.#said(value, message);
  }

  #greeted(hello: Hello): void {
    if (this.#hello !== null) {
      this.#fail(status.INVALID_ARGUMENT, "hello was said already");
      return;
    }
    if (hello.protocolVersion !== PROTOCOL_VERSION) {
      const why = `agent ${hello.host} speaks protocol ${hello.protocolVersion}, this controller ${PROTOCOL_VERSION}`;
      this.#fail(status.FAILED_PRECONDITION, why);
      return;
    }
    this.#hello = hello;
    this.#applied = hello.applied;
    const { link, names, clock } = this.#options;
    this.#deadline?.cancel();
    this.#deadline = clock.after(WELCOME_MS, () => {
      this.#handOver();
      this.#fail(status.UNAVAILABLE, "no controller leads at the moment");
    });
    this.#hearNoMore = link.listen(names.down(hello.host), ({ data }) => this.#told(data));
    const floor = (): number => Math.max(hello.highestEpoch, this.#epoch);
    this.#key = new AssignmentKey(
      { ...this.#options, host: hello.host, newest: hello.applied, floor },
      {
        assignment: (assignment) => this.#assigned(assignment),
        again: (asked) => this.#answerAgain(asked),
        invalid: (rejected) => this.#rejects(rejected),
      },
    );
    this.#begin();
  }

  #said(message: Exclude<AgentMessage, { readonly kind: "hello" }>, raw: wire.AgentMessage): void {
    // As it came: it was read to be checked, and need not be made again.
    const what = { $case: "message", value: raw } as const;
    this.#publish(message.kind, AgentEnvelope.encode({ session: this.#session, what }).finish());
    switch (message.kind) {
      case "applied":
        this.#applied = message.applied;
        this.#rejected = null;
        return;
      case "rejected":
        this.#rejected = message.rejected;
        return;
      case "report":
        this.#applied = message.report.applied ?? this.#applied;
        if (this.#rejected !== null) this.#say({ kind: "rejected", rejected: this.#rejected });
    }
  }

  #assigned(assignment: Assignment): void {
    this.#rejected = null;
    this.#waiting = assignment;
    if (this.#epoch > 0) this.#handOver();
  }

  #handOver(): void {
    if (this.#waiting !== null) this.#send({ kind: "assignment", assignment: this.#waiting });
    this.#waiting = null;
  }

  #answerAgain({ epoch, generation }: Fence): void {
    const same = (one: Fence | null): boolean => one?.epoch === epoch && one.generation === generation;
    if (this.#rejected !== null && same(this.#rejected)) this.#say({ kind: "rejected", rejected: this.#rejected });
    else if (this.#applied !== null && same(this.#applied)) this.#say({ kind: "applied", applied: this.#applied });
  }

  #rejects(rejected: Rejected): void {
    this.#rejected = rejected;
    this.#say({ kind: "rejected", rejected });
  }

  #told(data: Uint8Array): void {
    const read = decodeControllerEnvelope(data);
    if (read.kind === "invalid" || read.value.session !== this.#session || this.#ended) return;
    const { what } = read.value;
    if (what.kind === "welcome") {
      // I4: a controller that was replaced hears the hello too.
      if (what.welcome.epoch < Math.max(this.#epoch, this.#hello?.highestEpoch ?? 0)) return;
      this.#deadline?.cancel();
      this.#again?.cancel();
      // First, for it may be of the epoch before.
      this.#handOver();
      this.#welcomed = true;
      this.#epoch = what.welcome.epoch;
      this.#send(what);
    } else if (what.kind === "farewell") {
      // The leader may not know it any more; said again while it greets, it is refused.
      if (this.#welcomed) this.#begin();
      else this.#fail(status.UNAVAILABLE, what.reason);
    }
  }

  #greetWithin(spreadMs: Millis, greet: () => void): void {
    const { clock, random } = this.#options;
    this.#greet ??= clock.after(random.next() * spreadMs, () => {
      this.#greet = null;
      greet();
    });
  }

  /** A session that begins anew, as far as the controllers are concerned. */
  #begin(): void {
    const { clock, random } = this.#options;
    this.#session = sessionId(random);
    this.#welcomed = false;
    this.#again?.cancel();
    this.#again = clock.every(HELLO_AGAIN_MS * (1 + random.next()), () => this.#sayHello());
    this.#sayHello();
  }

  #sayHello(): void {
    const hello = this.#hello;
    if (hello === null) return;
    const highestEpoch = Math.max(hello.highestEpoch, this.#epoch);
    this.#say({ kind: "hello", hello: { ...hello, highestEpoch, applied: this.#applied } });
  }

  #say(what: AgentMessage | Farewell): void {
    this.#publish(what.kind, encodeAgentEnvelope({ session: this.#session, what }));
  }

  #publish(kind: string, bytes: Uint8Array): void {
    const { link, names, log } = this.#options;
    const host = this.#hello?.host;
    if (host === undefined || !link.connected || link.connection.isClosed()) return;
    const most = link.connection.info?.max_payload ?? bytes.length;
    if (bytes.length <= most) {
      link.connection.publish(names.up(host), bytes);
      return;
    }
    const why = `a ${kind} of ${bytes.length} bytes is more than the NATS servers take (${most}): raise max_payload`;
    if (!this.#tooLarge) log.error({ host }, why);
    this.#tooLarge = true;
  }

  #send(message: ControllerMessage): void {
    if (!this.#ended) this.#out.send(message);
  }

  #fail(code: status, details: string): void {
    if (this.#ended) return;
    this.#options.log.warn({ host: this.#hello?.host }, `session refused: ${details}`);
    this.#stream.emit("error", { code, details });
  }

  #gone(answer: boolean): void {
    if (this.#ended) return;
    // The end of a stream is seen, as a silent agent's is not.
    this.#say({ kind: "farewell", reason: "its stream has ended" });
    this.#ended = true;
    for (const timer of [this.#deadline, this.#again, this.#greet]) timer?.cancel();
    this.#key?.close();
    this.#hearNoMore();
    if (answer) this.#stream.end();
    this.#closed(this);
  }
}
