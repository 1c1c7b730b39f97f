/**
 * The controller's end of agent sessions for tests: a real gRPC server of the generated service, on loopback. It welcomes
 * whoever says Hello, unless told otherwise, and keeps what agents said.
 */
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import type { Assignment } from "../../../proto/contract/assignment.ts";
import type { AgentMessage, ControllerMessage, Hello } from "../../../proto/contract/session.ts";
import { decodeAgentMessage, encodeControllerMessage } from "../../../proto/contract/wire.ts";
import { AgentSessionService } from "../../../proto/gen/baton/v1/session.ts";
import type {
  AgentMessage as WireUp,
  AgentSessionServer,
  ControllerMessage as WireDown,
} from "../../../proto/gen/baton/v1/session.ts";
import { until } from "../processes.ts";

export interface AgentSession {
  readonly hello: Hello;
  readonly authorization: string;
  readonly messages: AgentMessage[];
  readonly stream: ServerDuplexStream<WireUp, WireDown>;
  ended: boolean;
}

export class ScriptedController implements AsyncDisposable {
  readonly sessions: AgentSession[] = [];
  port = 0;
  epoch = 1;
  reportEveryMs = 50;
  /** false: Hello is heard and never answered. */
  welcomes = true;
  /** Every stream is ended with UNAVAILABLE and this; "" takes them. */
  refuses = "";
  refused = 0;
  #server: Server | undefined;

  async listen(port = 0): Promise<this> {
    const server = new Server();
    const implementation: AgentSessionServer = { connect: (stream) => this.#serve(stream) };
    server.addService(AgentSessionService, implementation);
    this.port = await new Promise<number>((done, fail) => {
      server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) done(bound);
        else fail(error);
      });
    });
    this.#server = server;
    return this;
  }

  /** Gone, all sessions with it. */
  kill(): void {
    this.#server?.forceShutdown();
    this.#server = undefined;
  }

  send(session: AgentSession, message: ControllerMessage): void {
    session.stream.write(encodeControllerMessage(message));
  }

  assign(session: AgentSession, assignment: Assignment): void {
    this.send(session, { kind: "assignment", assignment });
  }

  async session(index = 0): Promise<AgentSession> {
    await until(`session ${index} is open`, () => this.sessions[index] !== undefined);
    return this.sessions[index]!;
  }

  async heard<K extends AgentMessage["kind"]>(
    session: AgentSession,
    kind: K,
    matches: (message: Extract<AgentMessage, { kind: K }>) => boolean = () => true,
  ): Promise<Extract<AgentMessage, { kind: K }>> {
    let found: Extract<AgentMessage, { kind: K }> | undefined;
    await until(`the agent says ${kind}`, () => {
      found = session.messages.find(
        (message): message is Extract<AgentMessage, { kind: K }> =>
          message.kind === kind && matches(message as Extract<AgentMessage, { kind: K }>),
      );
      return found !== undefined;
    });
    return found!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await Promise.resolve();
  }

  #serve(stream: ServerDuplexStream<WireUp, WireDown>): void {
    if (this.refuses !== "") {
      this.refused += 1;
      stream.emit("error", { code: status.UNAVAILABLE, details: this.refuses });
      return;
    }
    let session: AgentSession | undefined;
    stream.on("data", (wire: WireUp) => {
      const decoded = decodeAgentMessage(wire);
      if (decoded.kind === "invalid") throw new Error(`the agent broke the protocol: ${decoded.why}`);
      const message = decoded.value;
      if (message.kind !== "hello") {
        session?.messages.push(message);
        return;
      }
      const authorization = String(stream.metadata.get("authorization")[0] ?? "");
      session = { hello: message.hello, authorization, messages: [], stream, ended: false };
      if (this.welcomes) {
        const { epoch, reportEveryMs } = this;
        const welcome = { epoch, session: `s${this.sessions.length}`, reportEveryMs, leaseMs: 5_000 };
        this.send(session, { kind: "welcome", welcome });
      }
      this.sessions.push(session);
    });
    const end = (): void => {
      if (session !== undefined) session.ended = true;
    };
    stream.on("end", () => {
      end();
      stream.end();
    });
    stream.on("cancelled", end);
    stream.on("error", end);
  }
}
