/**
 * The core's picture of what its keeper holds: listeners, workers and which table each of them has, processes, dead
 * workers' statistics. It is a mirror, told by messages only; nothing is assumed from what was asked.
 *
 * Errors  none thrown. A `bind` resolves with one answer a name, an error among them where there is one.
 */
import type {
  AgentOptions,
  BoundListener,
  CoreToKeeper,
  CoreToWorker,
  DeadWorker,
  KeeperToCore,
  ProcessSpec,
  ProcessState,
  WorkerState,
  WorkerToCore,
} from "../keeper/protocol.ts";
import type { TableConfig } from "../proxy/config.ts";
import type { Channel } from "./ports.ts";

export interface BindRequest {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}
export type BindAnswer =
  { readonly kind: "ok"; readonly listener: BoundListener } | { readonly kind: "error"; readonly error: string };

export interface KnownWorker extends WorkerState {
  /** Sequence of the newest table that it says it routes by; -1 before its first word. */
  readonly applied: number;
}

/** What the keeper told that the core acts on. The mirror is up to date when one is called. */
export interface KeeperEvents {
  process(process: ProcessState): void;
  workers(): void;
  workerExited(worker: DeadWorker): void;
  tableRefused(sequence: number, why: string): void;
  endpointFailed(endpoint: string, error: string): void;
  generation(generation: number, error: string | null): void;
  hup(): void;
  stopping(signal: string): void;
}

export type KeeperStart = Extract<KeeperToCore, { type: "state" }>;

export class KeeperLink {
  readonly options: AgentOptions;
  readonly boot: string;
  readonly listeners = new Map<string, BoundListener>();
  readonly workers = new Map<number, KnownWorker>();
  readonly processes = new Map<string, ProcessState>();
  readonly deadWorkers = new Map<number, DeadWorker>();
  /** Workers of a keeper that was killed still route what they carry, by a table that is not this core's. */
  leftovers: boolean;
  /** As this core started, the core of a keeper that was killed was still there. */
  readonly coreLeft: boolean;
  readonly #channel: Channel;
  /** Apart from `workers`: a worker's word may come before the keeper's about it. */
  readonly #applied = new Map<number, number>();
  readonly #binding = new Map<string, ((answer: BindAnswer) => void)[]>();
  readonly #listing = new Map<number, (list: readonly unknown[]) => void>();
  #request = 0;
  #events: KeeperEvents | undefined;

  constructor(channel: Channel, start: KeeperStart) {
    this.#channel = channel;
    this.options = start.options;
    this.boot = start.boot;
    this.leftovers = start.leftovers;
    this.coreLeft = start.coreLeft;
    for (const listener of start.listeners) this.listeners.set(listener.name, listener);
    for (const worker of start.workers) this.workers.set(worker.id, { ...worker, applied: -1 });
    for (const process of start.processes) this.processes.set(process.spec.id, process);
    for (const worker of start.deadWorkers) this.deadWorkers.set(worker.id, worker);
  }

  /** From here on `events` is told; messages are taken one by one, in order. */
  attach(events: KeeperEvents): (message: KeeperToCore) => void {
    this.#events = events;
    return (message) => this.#receive(message);
  }

  async bind(requests: readonly BindRequest[]): Promise<Map<string, BindAnswer>> {
    const answers = new Map<string, BindAnswer>();
    const all = requests.map(({ name }) => this.#answerFor(name).then((answer) => void answers.set(name, answer)));
    this.#send({ type: "bind", listeners: requests });
    await Promise.all(all);
    return answers;
  }

  unbind(names: readonly string[]): void {
    for (const name of names) this.listeners.delete(name);
    if (names.length > 0) this.#send({ type: "unbind", names });
  }

  generation(workers: number): void {
    this.#send({ type: "generation", workers });
  }

  table(table: TableConfig): void {
    this.#send({ type: "table", table });
  }

  launch(process: ProcessSpec): void {
    this.#send({ type: "launch", process });
  }

  kill(id: string, signal: "SIGTERM" | "SIGKILL"): void {
    this.#send({ type: "kill", id, signal });
  }

  forget(id: string): void {
    this.processes.delete(id);
    this.#send({ type: "forget", id });
  }

  taken(worker: number): void {
    this.deadWorkers.delete(worker);
    this.#send({ type: "taken", worker });
  }

  stopping(): void {
    this.#send({ type: "stopping" });
  }

  /** `code`: the agent's exit code. */
  shutdown(code = 0): void {
    this.#send({ type: "shutdown", code });
  }

  /** Asks one worker for its connections; `stop` gives up waiting. */
  connections(worker: number, limit: number): { readonly list: Promise<readonly unknown[]>; stop(): void } {
    this.#request += 1;
    const request = this.#request;
    const list = new Promise<readonly unknown[]>((resolve) => this.#listing.set(request, resolve));
    const body: CoreToWorker = { kind: "list-connections", request, limit };
    this.#send({ type: "relay", worker, body });
    return { list, stop: () => this.#listed(request, []) };
  }

  #send(message: CoreToKeeper): void {
    this.#channel.send(message);
  }

  #answerFor(name: string): Promise<BindAnswer> {
    return new Promise((resolve) => {
      const waiting = this.#binding.get(name) ?? [];
      waiting.push(resolve);
      this.#binding.set(name, waiting);
    });
  }

  #receive(message: KeeperToCore): void {
    switch (message.type) {
      case "state":
        return; // once, and taken by the constructor
      case "bound": {
        this.#bound(message.name, message.listener, message.error);
        return;
      }
      case "generation":
        return this.#events?.generation(message.generation, message.error);
      case "process":
        this.processes.set(message.process.spec.id, message.process);
        return this.#events?.process(message.process);
      case "worker": {
        const { worker } = message;
        this.workers.set(worker.id, { ...worker, applied: this.#applied.get(worker.id) ?? -1 });
        return this.#events?.workers();
      }
      case "worker-exited":
        this.workers.delete(message.worker.id);
        this.#applied.delete(message.worker.id);
        this.deadWorkers.set(message.worker.id, message.worker);
        return this.#events?.workerExited(message.worker);
      case "relayed": {
        this.#relayed(message.worker, message.body as WorkerToCore);
        return;
      }
      case "leftovers-gone":
        this.leftovers = false;
        return this.#events?.workers();
      case "hup":
        return this.#events?.hup();
      case "stopping":
        return this.#events?.stopping(message.signal);
    }
  }

  #bound(name: string, listener: BoundListener | null, error: string | null): void {
    if (listener !== null) this.listeners.set(name, listener);
    const answer: BindAnswer =
      listener !== null ? { kind: "ok", listener } : { kind: "error", error: error ?? "it could not be bound" };
    for (const resolve of this.#binding.get(name) ?? []) resolve(answer);
    this.#binding.delete(name);
  }

  #relayed(id: number, body: WorkerToCore): void {
    switch (body.kind) {
      case "applied": {
        const applied = Math.max(this.#applied.get(id) ?? -1, body.sequence);
        this.#applied.set(id, applied);
        const worker = this.workers.get(id);
        if (worker !== undefined) this.workers.set(id, { ...worker, applied });
        return this.#events?.workers();
      }
      case "rejected":
        return this.#events?.tableRefused(body.sequence, body.why);
      case "connections": {
        this.#listed(body.request, body.list);
        return;
      }
      case "endpoint-failed":
        return this.#events?.endpointFailed(body.endpoint, body.error);
    }
  }

  #listed(request: number, list: readonly unknown[]): void {
    this.#listing.get(request)?.(list);
    this.#listing.delete(request);
  }
}
