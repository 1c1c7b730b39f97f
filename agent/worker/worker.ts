/**
 * One worker's life: told `start`, it takes a table, listens, says `serving`; told `drain`, or left alone by its keeper,
 * it finishes what it has and leaves. It listens only once it has a table: until then what connects waits in the
 * kernel's queue, and is not answered 503.
 *
 * Errors  a socket that can't be listened on ends the process with 1: the keeper starts another, with backoff.
 */
import type { Clock, Millis } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";
import type { CoreToWorker, KeeperToWorker, WorkerToCore, WorkerToKeeper } from "../keeper/protocol.ts";
import type { TableConfig } from "../proxy/config.ts";
import type { ApplyResult, ConnectionInfo, ListenAt } from "../proxy/proxy.ts";

/** What a worker needs of the data path; `Proxy` is it. */
export interface DataPath {
  apply(config: TableConfig): ApplyResult;
  listen(key: string, at: ListenAt): Promise<unknown>;
  /** Its listeners are closed when this returns. */
  drain(hurry: boolean): Promise<void>;
  close(): Promise<void>;
  connections(limit: number): readonly ConnectionInfo[];
}

export type WorkerStart = Extract<KeeperToWorker, { type: "start" }>;

export interface WorkerPort {
  readonly clock: Clock;
  open(start: WorkerStart, tell: (message: WorkerToCore) => void): Promise<DataPath>;
  /** The worker's own once it is opened; before that there is one too, or a failure to open would be silent. */
  log(): Log;
  send(message: WorkerToKeeper): void;
  /** Ends the process. */
  exit(code: number): void;
}

/** With the keeper gone nobody waits for this worker, and a next agent may want its apps' places. */
const ORPHAN_MS: Millis = 30_000;

export class Worker {
  readonly #port: WorkerPort;
  #path: DataPath | null = null;
  #listeners: WorkerStart["listeners"] = [];
  /** waiting: for a table. */
  #phase: "new" | "waiting" | "listening" | "leaving" = "new";
  /** Messages are taken one after another, though opening takes a moment. */
  #turn: Promise<void> = Promise.resolve();

  constructor(port: WorkerPort) {
    this.#port = port;
  }

  receive(message: KeeperToWorker): void {
    this.#turn = this.#turn.then(() => this.#take(message)).catch((error: unknown) => this.#failed(error));
  }

  /** The keeper is gone. */
  orphaned(): void {
    this.#port.log().warn({ deadlineMs: ORPHAN_MS }, "the keeper is gone: finishing, then leaving");
    this.#port.clock.after(ORPHAN_MS, () => {
      const left = this.#path?.close() ?? Promise.resolve();
      void left.finally(() => this.#port.exit(1));
    });
    this.receive({ type: "drain", hurry: true });
  }

  async #take(message: KeeperToWorker): Promise<void> {
    switch (message.type) {
      case "start":
        await this.#start(message);
        break;
      case "table":
        await this.#table(message.table as TableConfig, message.number);
        break;
      case "drain":
        this.#leave(message.hurry);
        break;
      case "relayed":
        this.#asked(message.body as CoreToWorker);
        break;
    }
  }

  async #start(start: WorkerStart): Promise<void> {
    this.#path = await this.#port.open(start, (message) => this.#tell(message));
    this.#listeners = start.listeners;
    this.#phase = "waiting";
    if (start.table !== null) await this.#table(start.table as TableConfig, start.number);
  }

  async #table(table: TableConfig, number: number): Promise<void> {
    const path = this.#path;
    if (path === null) return;
    const result = path.apply(table);
    const ok = result.kind === "ok";
    this.#port.send({ type: "tabled", number, ok });
    if (!ok) {
      this.#port.log().error({ sequence: table.sequence, why: result.why }, "table rejected");
      this.#tell({ kind: "rejected", sequence: table.sequence, why: result.why });
      return;
    }
    if (this.#phase === "waiting") await this.#listen(path);
    this.#tell({ kind: "applied", sequence: table.sequence });
  }

  async #listen(path: DataPath): Promise<void> {
    await Promise.all(this.#listeners.map(({ key, fd }) => path.listen(key, { fd })));
    this.#phase = "listening";
    this.#port.send({ type: "serving" });
    this.#port.log().info({ listeners: this.#listeners.length }, "serving");
  }

  #leave(hurry: boolean): void {
    if (this.#phase === "leaving") {
      if (hurry) void this.#path?.drain(true);
      return;
    }
    const draining = this.#phase === "listening" ? this.#path?.drain(hurry) : undefined;
    this.#phase = "leaving";
    if (draining !== undefined) this.#port.send({ type: "released" });
    void (draining ?? Promise.resolve()).then(
      () => this.#port.exit(0),
      (error: unknown) => this.#failed(error),
    );
  }

  #asked(body: CoreToWorker): void {
    const list = this.#path?.connections(body.limit) ?? [];
    this.#tell({ kind: "connections", request: body.request, list });
  }

  #tell(message: WorkerToCore): void {
    this.#port.send({ type: "relay", body: message });
  }

  #failed(error: unknown): void {
    this.#port.log().error({ err: error }, "worker can't go on");
    this.#port.exit(1);
  }
}
