/**
 * A gRPC stream to the controller that counts what goes over it: the session's own messages, their bytes as protobuf
 * (HTTP/2's frames add 14 a message). Many agents of one process may share one connection, each with a stream of its own.
 */
import { Client, credentials } from "@grpc/grpc-js";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import type { AgentMessage } from "../../proto/contract/session.ts";
import { encodeAgentMessage } from "../../proto/contract/wire.ts";
import { AgentSessionService } from "../../proto/gen/baton/v1/session.ts";
import type * as wire from "../../proto/gen/baton/v1/session.ts";

export type Stream = ClientDuplexStream<wire.AgentMessage, wire.ControllerMessage>;

/** Totals since the start, over all agents of the process. */
export interface Counts {
  reports: number;
  reportBytes: number;
  assignments: number;
  assignmentBytes: number;
}

export const nothing = (): Counts => ({ reports: 0, reportBytes: 0, assignments: 0, assignmentBytes: 0 });

/** One connection. */
export class Line implements Disposable {
  readonly #client: Client;
  readonly #counts: Counts;

  constructor(controller: string, counts: Counts) {
    this.#counts = counts;
    this.#client = new Client(controller, credentials.createInsecure(), {
      "grpc.enable_retries": 0,
      "grpc.use_local_subchannel_pool": 1,
      "grpc.initial_reconnect_backoff_ms": 50,
      "grpc.max_reconnect_backoff_ms": 200,
    });
  }

  open(): Stream {
    const { path, requestSerialize, responseDeserialize } = AgentSessionService.connect;
    return this.#client.makeBidiStreamRequest(
      path,
      (message: wire.AgentMessage) => {
        const bytes = requestSerialize(message);
        if (message.message?.$case === "report") {
          this.#counts.reports += 1;
          this.#counts.reportBytes += bytes.length;
        }
        return bytes;
      },
      (bytes: Buffer) => {
        const message = responseDeserialize(bytes);
        if (message.message?.$case === "assignment") {
          this.#counts.assignments += 1;
          this.#counts.assignmentBytes += bytes.length;
        }
        return message;
      },
    );
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

export const write = (stream: Stream, message: AgentMessage): boolean => stream.write(encodeAgentMessage(message));
