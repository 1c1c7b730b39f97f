/**
 * The gRPC server: operators, agents and health on one port.
 *
 * Stopping  health says NOT_SERVING, streams are ended by their owners, `tryShutdown` waits for calls under way, and
 *           `forceShutdown` comes after `GRACE_MS` whatever is left.
 */
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { formatHostPort } from "../../proto/contract/address.ts";
import type { HostPort } from "../../proto/contract/address.ts";
import { LIMITS } from "../../proto/contract/limits.ts";
import { OperatorService } from "../../proto/gen/baton/v1/operator.ts";
import type { OperatorServer } from "../../proto/gen/baton/v1/operator.ts";
import { AgentSessionService } from "../../proto/gen/baton/v1/session.ts";
import type * as wire from "../../proto/gen/baton/v1/session.ts";
import type { Clock } from "../../proto/kernel/clock.ts";
import { allows, authorizationOf } from "./auth.ts";
import type { Token } from "./auth.ts";
import { listenFailure } from "./listen.ts";

const GRACE_MS = 3_000;

/** Dead peers are found within 15 s; agents' own keepalive pings are let through. */
const SERVER_OPTIONS = {
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 5_000,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.max_receive_message_length": LIMITS.messageBytes,
  "grpc.max_send_message_length": LIMITS.answerBytes,
} as const;

export interface GrpcOptions {
  readonly listen: HostPort;
  readonly operators: OperatorServer;
  readonly agentToken: Token;
  readonly clock: Clock;
  session(call: ServerDuplexStream<wire.AgentMessage, wire.ControllerMessage>): void;
}

export interface GrpcServer {
  readonly address: string;
  close(): Promise<void>;
}

export async function serveGrpc(options: GrpcOptions): Promise<GrpcServer> {
  const { address, port } = options.listen;
  const server = new Server(SERVER_OPTIONS);
  server.addService(OperatorService, options.operators);
  server.addService(AgentSessionService, {
    connect: (call: ServerDuplexStream<wire.AgentMessage, wire.ControllerMessage>) => {
      if (allows(options.agentToken, authorizationOf(call.metadata))) options.session(call);
      else call.emit("error", { code: status.UNAUTHENTICATED, details: "this controller asks agents for a token" });
    },
  });
  const health = new HealthImplementation({ "": "SERVING", "baton.v1.Operator": "SERVING" });
  health.addToServer(server);
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(formatHostPort(address, port), ServerCredentials.createInsecure(), (error, got) => {
      if (error === null) resolve(got);
      else reject(listenFailure("--grpc", address, port, error.message));
    });
  });
  return {
    address: formatHostPort(address, bound),
    close: () =>
      new Promise((resolve) => {
        health.setStatus("", "NOT_SERVING");
        const force = options.clock.after(GRACE_MS, () => {
          server.forceShutdown();
          resolve();
        });
        server.tryShutdown(() => {
          force.cancel();
          resolve();
        });
      }),
  };
}
