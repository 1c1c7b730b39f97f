/**
 * A real agent (agent/main.ts) whose core is the test itself: keeper, workers and apps are real processes.
 *
 *   await using agent = await startAgent();
 *   const core = await agent.core();
 *   core.send({ type: "launch", process });
 *   await core.next("process", (message) => message.process.exit !== null);
 *
 * Ending   disposal stops the keeper as an operator would, kills what does not go, and removes the state folder.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { procStat } from "../../../agent/keeper/proc.ts";
import type { BoundListener, CoreToKeeper, KeeperToCore } from "../../../agent/keeper/protocol.ts";
import { startNode, until } from "../processes.ts";
import type { RunningProcess } from "../processes.ts";

type Message<T extends KeeperToCore["type"]> = Extract<KeeperToCore, { type: T }>;
const WAIT_MS = 15_000;

/** One incarnation of the core. */
export class CoreSession {
  readonly messages: KeeperToCore[] = [];
  pid = 0;
  ended = false;
  readonly #socket: Socket;
  readonly #ready: Promise<undefined>;
  #taken = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#ready = promise;
    socket.on("error", () => undefined);
    socket.on("close", () => (this.ended = true));
    const lines = createInterface({ input: socket });
    lines.on("error", () => undefined); // readline passes the socket's on
    lines.on("line", (line) => {
      const message = JSON.parse(line) as KeeperToCore | { type: "hello"; pid: number };
      if (message.type === "hello") this.pid = message.pid;
      else this.messages.push(message);
      if (message.type === "state") resolve(undefined);
    });
  }

  async ready(): Promise<void> {
    await this.#ready;
  }

  get state(): Message<"state"> {
    const [first] = this.messages;
    if (first?.type !== "state") throw new Error(`the keeper's first message is not state: ${JSON.stringify(first)}`);
    return first;
  }

  send(message: CoreToKeeper): void {
    this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  /** The next message of this kind that was not yet given out here. */
  async next<T extends KeeperToCore["type"]>(
    type: T,
    matches: (message: Message<T>) => boolean = () => true,
  ): Promise<Message<T>> {
    let found: Message<T> | undefined;
    const look = (): boolean => {
      const index = this.messages.findIndex(
        (message, at) => at >= this.#taken && message.type === type && matches(message as Message<T>),
      );
      if (index < 0) return false;
      found = this.messages[index] as Message<T>;
      this.#taken = index + 1;
      return true;
    };
    await until(`the keeper says ${type}; it said ${JSON.stringify(this.messages.slice(-5))}`, look, WAIT_MS);
    return found!;
  }

  async bind(name = "shop/0", port = 0): Promise<BoundListener> {
    this.send({ type: "bind", listeners: [{ name, address: "127.0.0.1", port }] });
    const { listener, error } = await this.next("bound", (message) => message.name === name);
    if (listener === null) throw new Error(error ?? "not bound");
    return listener;
  }

  async generation(workers = 1): Promise<Message<"generation">> {
    this.send({ type: "generation", workers });
    return this.next("generation");
  }
}

export class TestAgent implements AsyncDisposable {
  readonly state: string;
  readonly keeper: RunningProcess;
  /** Workers end at their start while this file exists. */
  readonly workerFault: string;
  readonly #server: Server;
  readonly #sessions: CoreSession[] = [];
  readonly #keepState: boolean;
  #given = 0;

  constructor(options: AgentStart, server: Server, socket: string) {
    this.state = options.state ?? mkdtempSync(join(tmpdir(), "baton-keeper-"));
    this.workerFault = join(this.state, "worker-fault");
    this.#keepState = options.state !== undefined;
    this.#server = server;
    server.on("connection", (connection) => this.#sessions.push(new CoreSession(connection)));
    const own = ["--static", "unused.yaml", "--name", "test", "--admin", "127.0.0.1:0", "--state", this.state];
    const core = options.realCore === true ? [] : ["--core", "test/support/keeper/scripted-core.ts"];
    const worker =
      options.realWorker === true || options.args?.includes("--worker")
        ? []
        : ["--worker", "test/support/keeper/plain-worker.ts"];
    this.keeper = startNode("agent/main.ts", {
      args: [...own, ...core, ...worker, ...(options.args ?? [])],
      env: { BATON_TEST_CORE: socket, BATON_TEST_WORKER_FAULT: this.workerFault },
      graceMs: 20_000,
    });
  }

  /** The next core that the keeper started, once it has been told the state. */
  async core(): Promise<CoreSession> {
    const index = this.#given++;
    await until("the keeper starts a core", () => this.#sessions[index] !== undefined, WAIT_MS);
    const session = this.#sessions[index]!;
    await session.ready();
    return session;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A scripted core does not answer `stopping`; what is asked for here is the end, not the manner.
    const core = this.#sessions.at(-1);
    if (core !== undefined && !core.ended) core.send({ type: "shutdown", code: 0 });
    await this.keeper.stop();
    this.#server.close();
    if (!this.#keepState) rmSync(this.state, { recursive: true, force: true });
  }
}

export interface AgentStart {
  readonly args?: readonly string[];
  /** A folder of the test's own, which it removes itself. */
  readonly state?: string;
  readonly realWorker?: boolean;
  readonly realCore?: boolean;
}

let sockets = 0;

export async function startAgent(options: AgentStart = {}): Promise<TestAgent> {
  const socket = join(tmpdir(), `baton-core-${String(process.pid)}-${String(sockets++)}.sock`);
  rmSync(socket, { force: true });
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return new TestAgent(options, server, socket);
}

/** Alive, and no zombie: what a killed agent leaves may be reaped by nobody here. */
export function alive(pid: number): boolean {
  const stat = procStat(pid);
  return stat !== null && stat.state !== "Z";
}

export const gone = (pid: number): Promise<void> => until(`process ${String(pid)} is gone`, () => !alive(pid));
