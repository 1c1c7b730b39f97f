/**
 * One stream to the controller, from Hello to its end, whatever ends it. session.ts makes the next.
 *
 * Bounds  one message is LIMITS.messageBytes at most. When the stream takes no more for now, reports are skipped: each
 *         says everything, so the one after it is as good; answers to assignments are few and are queued by the stream.
 * Errors  none thrown; `ended` is told once, with the reason in one clause.
 */
import { Metadata, credentials } from "@grpc/grpc-js";
import type { ClientDuplexStream, ServiceError } from "@grpc/grpc-js";
import type { Assignment, Rejected } from "../../../proto/contract/assignment.ts";
import { formatHostPort } from "../../../proto/contract/address.ts";
import { LIMITS } from "../../../proto/contract/limits.ts";
import type { AgentMessage, Hello, Reconnect, Welcome } from "../../../proto/contract/session.ts";
import { decodeControllerMessage, encodeAgentMessage } from "../../../proto/contract/wire.ts";
import { AgentSessionClient } from "../../../proto/gen/baton/v1/session.ts";
import type { AgentMessage as WireUp, ControllerMessage as WireDown } from "../../../proto/gen/baton/v1/session.ts";

export interface ConnectionEvents {
  welcome(welcome: Welcome): void;
  assignment(assignment: Assignment): void;
  /** An assignment that breaks the contract: answered, so that the controller need not wait for it. */
  invalid(rejected: Rejected): void;
  reconnect(reconnect: Reconnect): void;
  ended(why: string): void;
}

const CHANNEL = {
  // A peer that is gone without a word is found out within 15 s, also while nothing is said.
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 5_000,
  "grpc.keepalive_permit_without_calls": 1,
  // Reconnecting is session.ts's: a call that the library repeats by itself would say Hello twice.
  "grpc.enable_retries": 0,
  // The library takes what is written off our hands up to this many bytes (1 MiB if not told), and only then says that
  // the stream is full: a pile of reports that are out of date.
  "grpc.per_rpc_retry_buffer_size": 64 << 10,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 5_000,
  "grpc.max_receive_message_length": LIMITS.messageBytes,
  "grpc.max_send_message_length": LIMITS.messageBytes,
  // Channels of one process share connections otherwise, and with them a connection that is stuck.
  "grpc.use_local_subchannel_pool": 1,
} as const;

export class Connection {
  readonly #client: AgentSessionClient;
  readonly #stream: ClientDuplexStream<WireUp, WireDown>;
  readonly #events: ConnectionEvents;
  #writable = true;
  #skipped = false;
  #ended = false;

  constructor(
    controller: { readonly host: string; readonly port: number },
    token: string | null,
    hello: Hello,
    events: ConnectionEvents,
    resume: () => void,
  ) {
    this.#events = events;
    this.#client = new AgentSessionClient(
      formatHostPort(controller.host, controller.port),
      credentials.createInsecure(),
      CHANNEL,
    );
    const metadata = new Metadata();
    if (token !== null) metadata.set("authorization", `Bearer ${token}`);
    this.#stream = this.#client.connect(metadata);
    this.#stream.on("data", (message: WireDown) => this.#received(message));
    this.#stream.on("error", (error: ServiceError) => this.#end(error.details === "" ? error.message : error.details));
    this.#stream.on("end", () => this.#end("the controller closed the stream"));
    this.#stream.on("drain", () => {
      this.#writable = true;
      if (this.#skipped) resume();
    });
    this.send({ kind: "hello", hello });
  }

  send(message: AgentMessage): void {
    if (this.#ended) return;
    this.#writable = this.#stream.write(encodeAgentMessage(message));
  }

  /** False, and not made at all, while the stream takes no more; `resume` is called when it does again. */
  sendReport(make: () => AgentMessage): boolean {
    this.#skipped = !this.#writable;
    if (this.#skipped || this.#ended) return false;
    this.send(make());
    return true;
  }

  /** Lets what was written go out; the process is about to end. */
  finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stream.end();
  }

  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stream.end();
    this.#stream.cancel();
    this.#client.close();
  }

  #received(message: WireDown): void {
    if (this.#ended) return;
    const decoded = decodeControllerMessage(message);
    if (decoded.kind === "invalid") {
      this.#refuse(message, decoded.why);
      return;
    }
    switch (decoded.value.kind) {
      case "welcome": {
        this.#events.welcome(decoded.value.welcome);
        return;
      }
      case "assignment": {
        this.#events.assignment(decoded.value.assignment);
        return;
      }
      case "reconnect": {
        this.#events.reconnect(decoded.value.reconnect);
        return;
      }
    }
  }

  #refuse({ message }: WireDown, why: string): void {
    if (message?.$case !== "assignment") {
      this.#end(`a message that breaks the protocol: ${why}`);
      return;
    }
    const { epoch, generation, hash } = message.value;
    this.#events.invalid({ epoch: Number(epoch), generation: Number(generation), hash, why });
  }

  #end(why: string): void {
    if (this.#ended) return;
    this.close();
    this.#events.ended(why);
  }
}
