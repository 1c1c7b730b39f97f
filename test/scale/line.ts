/**
 * The ways from light agents to their controllers, counting what goes over them: the messages' own bytes (HTTP/2's frames
 * add 14 a message; NATS a line with the subject). Many agents of one process may share one connection.
 *
 *   Line      gRPC: a stream for each agent
 *   NatsWay   NATS: an agent's real session (agent/core/session), subjects of its own on a connection that is shared
 */
import { Client, credentials } from "@grpc/grpc-js";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import { NatsSession } from "../../agent/core/session/nats-session.ts";
import type { AgentOptions } from "../../agent/keeper/protocol.ts";
import type { Assignment, Applied } from "../../proto/contract/assignment.ts";
import type { NatsLink } from "../../proto/contract/nats-link.ts";
import { readNats } from "../../proto/contract/nats.ts";
import type { Report } from "../../proto/contract/report.ts";
import type { AgentMessage, Hello } from "../../proto/contract/session.ts";
import { decodeControllerMessage, encodeAgentMessage } from "../../proto/contract/wire.ts";
import { AgentSessionService } from "../../proto/gen/baton/v1/session.ts";
import type * as wire from "../../proto/gen/baton/v1/session.ts";
import { silentLog } from "../../proto/kernel/log.ts";
import { openNats } from "../../proto/runtime/nats.ts";
import { systemClock, systemRandom } from "../../proto/runtime/system-clock.ts";

type Stream = ClientDuplexStream<wire.AgentMessage, wire.ControllerMessage>;

/** Totals since the start, over all agents of the process. */
export interface Counts {
  reports: number;
  assignments: number;
  /** To the agents, and from them: all messages. */
  bytesDown: number;
  bytesUp: number;
}

export const nothing = (): Counts => ({ reports: 0, assignments: 0, bytesDown: 0, bytesUp: 0 });

/** What a way asks of an agent, and tells it. */
export interface AgentPort {
  hello(): Hello;
  report(): Report;
  assigned(assignment: Assignment): void;
  /** A controller of this epoch has welcomed it, or welcomed it anew. */
  welcomed(epoch: number): void;
  gone(): void;
}

/** One agent's session. */
export interface Talk extends Disposable {
  applied(applied: Applied): void;
  /** Worth a report at once. */
  changed(): void;
}

export interface Way {
  readonly counts: Counts;
  open(port: AgentPort): Talk;
}

/** As a real agent: what changes within this time goes into one report. */
const COALESCE_MS = 20;

/** One connection to each of the controllers; a stream that ended is opened at the next one. */
export class Line implements Way, Disposable {
  readonly counts: Counts;
  readonly #clients: readonly Client[];

  /** `controllers`: host:port,... */
  constructor(controllers: string, counts: Counts) {
    this.counts = counts;
    this.#clients = controllers.split(",").map(
      (controller) =>
        new Client(controller, credentials.createInsecure(), {
          "grpc.enable_retries": 0,
          "grpc.use_local_subchannel_pool": 1,
          "grpc.initial_reconnect_backoff_ms": 50,
          "grpc.max_reconnect_backoff_ms": 200,
        }),
    );
  }

  open(port: AgentPort): Talk {
    let tried = 0;
    return new StreamTalk(() => this.#stream(this.#clients[tried++ % this.#clients.length]!), port);
  }

  #stream(client: Client): Stream {
    const { path, requestSerialize, responseDeserialize } = AgentSessionService.connect;
    return client.makeBidiStreamRequest(
      path,
      (message: wire.AgentMessage) => {
        const bytes = requestSerialize(message);
        if (message.message?.$case === "report") this.counts.reports += 1;
        this.counts.bytesUp += bytes.length;
        return bytes;
      },
      (bytes: Buffer) => {
        const message = responseDeserialize(bytes);
        if (message.message?.$case === "assignment") this.counts.assignments += 1;
        this.counts.bytesDown += bytes.length;
        return message;
      },
    );
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client.close();
  }
}

class StreamTalk implements Talk {
  readonly #open: () => Stream;
  readonly #port: AgentPort;
  #stream: Stream | null = null;
  #welcomed = false;
  #every: NodeJS.Timeout | null = null;
  #soon: NodeJS.Timeout | null = null;
  #again: NodeJS.Timeout | null = null;
  #over = false;

  constructor(open: () => Stream, port: AgentPort) {
    this.#open = open;
    this.#port = port;
    this.#connect();
  }

  applied(applied: Applied): void {
    this.#say({ kind: "applied", applied });
    this.changed();
  }

  changed(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = null;
      this.#report();
    }, COALESCE_MS);
  }

  [Symbol.dispose](): void {
    this.#over = true;
    for (const timer of [this.#every, this.#soon, this.#again]) if (timer !== null) clearTimeout(timer);
    this.#stream?.cancel();
  }

  #connect(): void {
    const stream = this.#open();
    this.#stream = stream;
    this.#welcomed = false;
    let ended = false;
    const end = (): void => {
      if (ended || this.#over) return;
      ended = true;
      this.#stream = null;
      this.#port.gone();
      if (this.#every !== null) clearTimeout(this.#every);
      this.#again = setTimeout(() => this.#connect(), 200 + Math.random() * 300);
    };
    stream.on("data", (message: wire.ControllerMessage) => this.#take(message));
    stream.on("error", end);
    stream.on("end", end);
    this.#say({ kind: "hello", hello: this.#port.hello() });
  }

  #take(raw: wire.ControllerMessage): void {
    const decoded = decodeControllerMessage(raw);
    if (decoded.kind === "invalid") throw new Error(`the controller broke the protocol: ${decoded.why}`);
    const { value } = decoded;
    if (value.kind === "assignment") this.#port.assigned(value.assignment);
    if (value.kind !== "welcome") return;
    this.#port.welcomed(value.welcome.epoch);
    this.#pace(value.welcome.reportEveryMs);
    if (!this.#welcomed) {
      this.#welcomed = true;
      this.#report();
    }
  }

  /** At a moment of its own, so that agents that were welcomed together do not report together. */
  #pace(everyMs: number): void {
    if (this.#every !== null) clearTimeout(this.#every);
    this.#every = setTimeout(() => {
      this.#report();
      this.#every = setInterval(() => this.#report(), everyMs);
    }, Math.random() * everyMs);
  }

  #report(): void {
    if (this.#welcomed) this.#say({ kind: "report", report: this.#port.report() });
  }

  #say(message: AgentMessage): void {
    this.#stream?.write(encodeAgentMessage(message));
  }
}

/** One connection. */
export class NatsWay implements Way {
  readonly counts: Counts;
  readonly #link: NatsLink;
  readonly #nats;

  private constructor(urls: string, link: NatsLink, counts: Counts) {
    this.#nats = natsOf(urls);
    this.#link = link;
    this.counts = counts;
  }

  static async open(urls: string, counts: Counts): Promise<NatsWay> {
    const ambient = { clock: systemClock, random: systemRandom, log: silentLog };
    const link = await openNats({ ...ambient, nats: natsOf(urls), name: "light agents" });
    return new NatsWay(urls, link, counts);
  }

  /** The client counts by itself; to be called before `counts` is read. */
  static sum(ways: readonly NatsWay[], counts: Counts): void {
    const stats = ways.map((way) => way.#link.connection.stats());
    counts.bytesDown = stats.reduce((sum, { inBytes }) => sum + inBytes, 0);
    counts.bytesUp = stats.reduce((sum, { outBytes }) => sum + outBytes, 0);
  }

  open(port: AgentPort): Talk {
    const shared: NatsLink = {
      connection: this.#link.connection,
      connected: true,
      trouble: "",
      follow: (listener) => this.#link.follow(listener),
      listen: (subject, heard) => this.#link.listen(subject, heard),
      close: () => Promise.resolve(), // the others speak over it too
    };
    // What changes is read through.
    Object.defineProperties(shared, {
      connected: { get: () => this.#link.connected },
      trouble: { get: () => this.#link.trouble },
    });
    const hello = port.hello();
    const agent = { ...hello, name: hello.host } as unknown as AgentOptions;
    const session = new NatsSession(
      {
        ...{ agent, nats: this.#nats, software: hello.software, open: () => Promise.resolve(shared) },
        ...{ clock: systemClock, random: systemRandom, log: silentLog },
      },
      {
        boot: hello.boot,
        lastGood: null,
        highestEpoch: () => port.hello().highestEpoch,
        sawEpoch: (epoch) => port.welcomed(epoch),
        applied: () => port.hello().applied,
        restore: () => undefined,
        offer: (assignment) => {
          this.counts.assignments += 1;
          port.assigned(assignment);
        },
        report: () => {
          this.counts.reports += 1;
          return port.report();
        },
        instances: () => port.report().instances,
        fail: (sentences) => {
          throw new Error(sentences.join("; "));
        },
      },
    );
    session.start();
    return {
      applied: (applied) => session.applied(applied),
      changed: () => session.changed(),
      [Symbol.dispose]: () => session.stop(),
    };
  }
}

function natsOf(urls: string) {
  const read = readNats({ nats: urls }, false, (file) => file);
  if (read.kind !== "ok") throw new Error(`no way to NATS: ${urls}`);
  return read.nats;
}
