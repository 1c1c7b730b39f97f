/**
 * A keeper for tests of the core: it speaks the IPC protocol through the core's `Channel`, in this process, and holds
 * what a keeper holds. What it does by itself is what a keeper does when all goes well; tests take that away
 * (`autoApply`, `refusePorts`) or act in its place (`exitProcess`, `killWorker`).
 *
 * The core's death is `restart()`: what the keeper holds stays, and the next core is told all of it.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Core } from "../../../agent/core/core.ts";
import type { Driver, DriverEvents } from "../../../agent/core/drivers/driver.ts";
import { OutputFiles } from "../../../agent/core/drivers/output.ts";
import type { CheckRequest, CheckResult } from "../../../agent/core/probes/check.ts";
import type { FileRead, StateFiles } from "../../../agent/core/ports.ts";
import type { AssignmentSource, SourcePort } from "../../../agent/core/source.ts";
import type {
  AgentOptions,
  BoundListener,
  CoreToKeeper,
  DeadWorker,
  KeeperToCore,
  ProcessState,
  WorkerState,
} from "../../../agent/keeper/protocol.ts";
import type { TableConfig } from "../../../agent/proxy/config.ts";
import {
  COUNTERS,
  HEADER,
  HEADER_FLOATS,
  LAYOUT_VERSION,
  MAGIC,
  fileBytes,
  countersAt,
  COUNTER,
} from "../../../agent/proxy/stats-layout.ts";
import type { Applied, Assignment, Rejected } from "../../../proto/contract/assignment.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { seededRandom } from "../../../proto/kernel/random.ts";
import { FakeClock } from "../fake-clock.ts";

export const SLOTS = 64;

export class MemoryFiles implements StateFiles {
  readonly content = new Map<string, string>();
  readonly aside: string[] = [];
  full = false;

  read(path: string): FileRead {
    const content = this.content.get(path);
    if (content === undefined) return { kind: "absent" };
    if (content !== "damaged") return { kind: "ok", content };
    return { kind: "damaged", setAside: this.setAside(path), why: "its checksum does not match its content" };
  }

  write(path: string, content: string): void {
    if (this.full) throw new Error("ENOSPC: no space left on device");
    this.content.set(path, content);
  }

  setAside(path: string): string {
    this.content.delete(path);
    this.aside.push(path);
    return `${path}.damaged-1`;
  }
}

/** What the core told its source. */
export class ScriptedSource implements AssignmentSource {
  readonly appliedList: Applied[] = [];
  readonly rejectedList: Rejected[] = [];
  changes = 0;
  readonly port: SourcePort;

  constructor(port: SourcePort) {
    this.port = port;
  }
  start(): void {
    if (this.port.lastGood !== null) this.port.restore(this.port.lastGood);
  }
  applied(applied: Applied): void {
    this.appliedList.push(applied);
  }
  rejected(rejected: Rejected): void {
    this.rejectedList.push(rejected);
  }
  changed(): void {
    this.changes += 1;
  }
  hup(): void {
    this.changes += 1;
  }
  troubles(): readonly string[] {
    return [];
  }
  stop(): void {
    this.changes += 1;
  }
}

export interface Setup {
  readonly options?: Partial<AgentOptions>;
  readonly docker?: (events: DriverEvents, boot: string) => Driver;
}

export class ScriptedKeeper implements Disposable {
  readonly clock = new FakeClock();
  readonly files = new MemoryFiles();
  readonly folder = mkdtempSync(join(tmpdir(), "baton-core-"));
  readonly said: CoreToKeeper[] = [];
  /** Told of each message as the core sends it. */
  onSaid: (message: CoreToKeeper) => void = () => undefined;
  readonly listeners = new Map<string, BoundListener>();
  readonly workers = new Map<number, WorkerState>();
  readonly dead = new Map<number, DeadWorker>();
  readonly processes = new Map<string, ProcessState>();
  /** Sequence of the table that each worker has taken. */
  readonly applied = new Map<number, number>();
  table: TableConfig | null = null;
  boot = "boot-1";
  /** It comes after one that was killed, whose workers still carry something. */
  leftovers = false;
  /** Workers take a table as soon as it is sent. */
  autoApply = true;
  /** Generations come up as soon as they are asked for. */
  autoServe = true;
  /** `address:port` that are somebody else's. */
  readonly refusePorts = new Set<string>();
  /** Ports on which probes find nobody well. */
  readonly sick = new Map<number, string>();
  readonly checks: CheckRequest[] = [];
  core!: Core;
  source!: ScriptedSource;
  readonly failures: string[] = [];
  readonly #options: AgentOptions;
  readonly #docker: Setup["docker"];
  #receive: ((message: KeeperToCore) => void) | undefined;
  #port = 40_000;
  #appPort = 30_000;
  #pid = 100;
  #worker = 0;
  #generation = 0;

  constructor(setup: Setup = {}) {
    this.#docker = setup.docker;
    this.#options = {
      name: "host-1",
      stateDir: this.folder,
      source: { kind: "controller", controllers: [{ host: "127.0.0.1", port: 1 }] },
      role: "host",
      labels: {},
      address: "127.0.0.1",
      inboundPorts: "declared",
      admin: { host: "127.0.0.1", port: 0 },
      workers: 1,
      logLevel: "silent",
      accessLog: null,
      tokenFile: null,
      trustNetwork: false,
      stopTimeoutMs: 60_000,
      ...setup.options,
    };
    mkdirSync(join(this.folder, "stats"));
    this.start();
  }

  /** A new core, told what this keeper holds. */
  start(): void {
    this.core = new Core({
      clock: this.clock,
      random: seededRandom(1),
      log: silentLog,
      files: this.files,
      channel: { send: (message) => this.#take(message), listen: (receive) => (this.#receive = receive) },
      start: {
        type: "state",
        options: this.#options,
        boot: this.boot,
        listeners: [...this.listeners.values()],
        workers: [...this.workers.values()],
        leftovers: this.leftovers,
        coreLeft: false,
        deadWorkers: [...this.dead.values()],
        processes: [...this.processes.values()],
        table: this.table,
      },
      instances: {
        check: (asked) => this.#check(asked),
        pickPort: () => Promise.resolve((this.#appPort += 1)),
        output: new OutputFiles(join(this.folder, "output"), silentLog),
        environment: { PATH: "/bin" },
        ...(this.#docker === undefined ? {} : { docker: this.#docker }),
      },
      source: (port) => (this.source = new ScriptedSource(port)),
      failed: (sentences) => this.failures.push(...sentences),
    });
  }

  /** The keeper dies too, with all that was its own, and the agent is started anew. */
  rebirth(): void {
    this.boot = `${this.boot}+`;
    this.listeners.clear();
    this.workers.clear();
    this.applied.clear();
    this.dead.clear();
    this.processes.clear();
    this.table = null;
    this.restart();
  }

  /** The core dies, and another one comes. */
  restart(): void {
    this.core.close();
    this.said.length = 0;
    this.start();
  }

  offer(assignment: Assignment): void {
    this.source.port.offer(assignment);
  }

  async settle(ms = 0): Promise<void> {
    await this.clock.advance(ms);
  }

  tell(message: KeeperToCore): void {
    this.#receive?.(message);
  }

  saidOf<T extends CoreToKeeper["type"]>(type: T): Extract<CoreToKeeper, { type: T }>[] {
    return this.said.filter((message): message is Extract<CoreToKeeper, { type: T }> => message.type === type);
  }

  /** A worker says that it routes by the newest table. */
  apply(worker: number): void {
    const sequence = this.table?.sequence ?? 0;
    this.applied.set(worker, sequence);
    this.tell({ type: "relayed", worker, body: { kind: "applied", sequence } });
  }

  serve(): void {
    this.#generation += 1;
    for (const worker of this.workers.values()) this.#setWorker({ ...worker, phase: "draining" });
    for (let n = 0; n < this.#options.workers; n++) {
      this.#worker += 1;
      const id = this.#worker;
      const statsFile = join(this.folder, "stats", `worker-${id}`);
      this.writeStats(id, {});
      const worker = { id, pid: 9_000 + id, generation: this.#generation, phase: "serving" as const, statsFile };
      this.#setWorker(worker);
      if (this.autoApply && this.table !== null) this.apply(id);
    }
    this.tell({ type: "generation", generation: this.#generation, error: null });
  }

  /** A draining worker has nothing left; or a worker is killed. */
  endWorker(id: number, died: boolean): void {
    const worker = this.workers.get(id)!;
    this.workers.delete(id);
    this.applied.delete(id);
    const exit = { code: died ? null : 0, signal: died ? "SIGKILL" : null, atMs: this.clock.now() };
    const dead = { id, generation: worker.generation, statsFile: worker.statsFile, exit, died };
    this.dead.set(id, dead);
    this.tell({ type: "worker-exited", worker: dead });
  }

  /** Counters by slot, as that worker would have written them. */
  writeStats(worker: number, slots: Readonly<Record<number, Partial<Record<keyof typeof COUNTER, number>>>>): void {
    const bytes = new Uint8Array(fileBytes(SLOTS));
    const header = new Float64Array(bytes.buffer, 0, HEADER_FLOATS);
    header[HEADER.magic] = MAGIC;
    header[HEADER.version] = LAYOUT_VERSION;
    header[HEADER.slots] = SLOTS;
    for (const [slot, counters] of Object.entries(slots)) {
      const record = new Float64Array(bytes.buffer, countersAt(Number(slot)), COUNTERS);
      for (const [name, value] of Object.entries(counters)) record[COUNTER[name as keyof typeof COUNTER]] = value;
    }
    writeFileSync(join(this.folder, "stats", `worker-${worker}`), bytes);
  }

  /** The newest process of the first instance of that version that runs. */
  running(version: string): ProcessState {
    const found = [...this.processes.values()].filter(
      ({ spec, exit }) => spec.env["BATON_VERSION"] === version && exit === null,
    );
    if (found[0] === undefined) throw new Error(`no process of ${version} runs`);
    return found[0];
  }

  exitProcess(id: string, code: number | null, signal: string | null = null): void {
    const process = this.processes.get(id)!;
    const exited = { ...process, exit: { code, signal, atMs: this.clock.now() } };
    this.processes.set(id, exited);
    this.tell({ type: "process", process: exited });
  }

  [Symbol.dispose](): void {
    this.core.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #setWorker(worker: WorkerState): void {
    this.workers.set(worker.id, worker);
    this.tell({ type: "worker", worker });
  }

  #check(asked: CheckRequest): Promise<CheckResult> {
    this.checks.push(asked);
    const why = this.sick.get(asked.port);
    return Promise.resolve(why === undefined ? { ok: true } : { ok: false, why });
  }

  #take(message: CoreToKeeper): void {
    this.said.push(message);
    this.onSaid(message);
    // As over a real channel: never an answer before the core has gone on.
    queueMicrotask(() => this.#carryOut(message));
  }

  #carryOut(message: CoreToKeeper): void {
    switch (message.type) {
      case "bind":
        for (const { name, address, port } of message.listeners) this.#bind(name, address, port);
        return;
      case "unbind":
        for (const name of message.names) this.listeners.delete(name);
        return;
      case "generation":
        if (this.autoServe) this.serve();
        return;
      case "table":
        this.table = message.table as TableConfig;
        if (this.autoApply) for (const id of this.workers.keys()) this.apply(id);
        return;
      case "launch": {
        this.#pid += 1;
        const process = {
          spec: message.process,
          pid: this.#pid,
          startedAtMs: this.clock.now(),
          exit: null,
          error: null,
        };
        this.processes.set(message.process.id, process);
        this.tell({ type: "process", process });
        return;
      }
      case "kill":
        if (message.signal === "SIGKILL") this.exitProcess(message.id, null, "SIGKILL");
        return;
      case "forget":
        this.processes.delete(message.id);
        return;
      case "taken":
        this.dead.delete(message.worker);
        return;
      case "relay":
      case "stopping":
      case "shutdown":
        return;
    }
  }

  #bind(name: string, address: string, asked: number): void {
    if (this.refusePorts.has(`${address}:${asked}`)) {
      const error = `${address}:${asked}: the port is in use by another process (EADDRINUSE)`;
      this.tell({ type: "bound", name, listener: null, error });
      return;
    }
    if (asked === 0) this.#port += 1;
    const port = asked === 0 ? this.#port : asked;
    const listener = { key: `${address}:${port}`, address, port, name };
    this.listeners.set(name, listener);
    this.tell({ type: "bound", name, listener, error: null });
  }
}
