/**
 * The keeper: the parent of all of an agent's processes, made to outlive every one of them. See agent/DESIGN.md.
 *
 * It decides nothing about traffic. It holds what must not be lost when a process is: listening sockets, the processes
 * themselves, the last table. Commands of the core are carried out one after another, in the order they came.
 */
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../proto/kernel/clock.ts";
import { sleep } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";
import type { Random } from "../../proto/kernel/random.ts";
import { Apps } from "./apps.ts";
import { Child, FIRST_FD } from "./child.ts";
import { CoreProcess, brief } from "./core-process.ts";
import type { WorkerEnds, WorkerStart } from "./generations.ts";
import { Generations } from "./generations.ts";
import { Leftovers, recordProcesses, recorded } from "./leftovers.ts";
import type { Recorded } from "./leftovers.ts";
import type { BindAnswer, BindRequest } from "./listeners.ts";
import { Listeners } from "./listeners.ts";
import { messageOf } from "./log.ts";
import { readFromWorker } from "./messages.ts";
import type { KeeperOptions } from "./options.ts";
import { PodLink } from "./pod/link.ts";
import type { CoreToKeeper, DeadWorker, KeeperToCore, KeeperToWorker } from "./protocol.ts";
import type { StateFolder } from "./state-folder.ts";
import { createStatsFolder } from "./stats-folder.ts";
import type { StatsFolder } from "./stats-folder.ts";
import { Stop } from "./stop.ts";
import { TIMES } from "./times.ts";

const DEAD_WORKERS_MAX = 256;

export class Keeper {
  readonly #options: KeeperOptions;
  readonly #folder: StateFolder;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #boot = randomBytes(8).toString("hex");
  readonly #listeners: Listeners;
  readonly #pod: PodLink;
  readonly #generations: Generations;
  readonly #apps: Apps;
  readonly #core: CoreProcess;
  readonly #dead = new Map<number, DeadWorker>();
  readonly #records = new Map<number, Recorded>();
  readonly #self = recorded("keeper", "keeper", process.pid);
  readonly #stop: Stop;
  readonly #stats: StatsFolder;
  readonly #leftovers: Leftovers;
  #commands: Promise<void> = Promise.resolve();

  constructor(options: KeeperOptions, folder: StateFolder, clock: Clock, random: Random, log: Log) {
    const { pod } = options.agent;
    this.#options = options;
    this.#folder = folder;
    this.#clock = clock;
    this.#log = log;
    this.#listeners = new Listeners(pod === undefined ? "own" : "shared");
    this.#pod = new PodLink(pod ?? null, clock, log);
    this.#leftovers = new Leftovers(folder.processesFile, clock, log);
    this.#stats = createStatsFolder(folder.own, this.#boot, log);
    this.#apps = new Apps(clock, log, {
      changed: (state) => this.#core.send({ type: "process", process: state }),
      groups: () => this.#record(),
    });
    this.#core = new CoreProcess(
      options.coreFile,
      {
        state: () => this.#state(),
        received: (message) => this.#queue(message),
        changed: () => {
          this.#record();
          if (this.#core.pid !== 0) this.#stop.coreStarted();
        },
      },
      clock,
      random,
      log,
    );
    this.#generations = new Generations(
      {
        start: (start, ends) => this.#startWorker(start, ends),
        statsFile: (worker) => this.#stats.file(worker),
        changed: (worker) => this.#core.send({ type: "worker", worker }),
        exited: (worker) => this.#workerExited(worker),
        relayed: (worker, body) => this.#core.send({ type: "relayed", worker, body }),
        outcome: (generation, error) => {
          if (error === null && !this.#stop.asked) void this.#pod.release();
          this.#core.send({ type: "generation", generation, error });
        },
        released: () => this.#release(),
      },
      clock,
      random,
      log,
    );
    this.#stop = new Stop(
      {
        core: this.#core,
        generations: this.#generations,
        apps: this.#apps,
        ...(pod === undefined ? {} : { hold: () => this.#pod.hold(this.#listeners.list()) }),
        close: () => this.#close(),
      },
      options.agent.stopTimeoutMs,
      clock,
      log,
    );
  }

  /** Resolves with the exit code when the agent has stopped. */
  async run(): Promise<number> {
    this.#core.start();
    if (this.#leftovers.pending().length > 0) {
      await this.#leftovers.finish();
      this.#core.send({ type: "leftovers-gone" });
      await this.#leftovers.endApps();
    }
    this.#record();
    return this.#stop.done;
  }

  signal(signal: "SIGTERM" | "SIGINT" | "SIGHUP"): void {
    if (signal === "SIGHUP") this.#core.send({ type: "hup" });
    else this.#stop.signal(signal);
  }

  #queue(message: CoreToKeeper): void {
    this.#stop.coreSpoke();
    this.#commands = this.#commands
      .then(() => this.#carryOut(message))
      .catch((error: unknown) => {
        this.#log.error({ err: error, command: brief(message) }, "a command could not be carried out");
      });
  }

  async #carryOut(message: CoreToKeeper): Promise<void> {
    switch (message.type) {
      case "bind":
        for (const answer of await this.#bind(message.listeners)) this.#core.send({ type: "bound", ...answer });
        this.#release();
        break;
      case "unbind":
        this.#listeners.unbind(message.names);
        this.#release();
        break;
      case "generation":
        this.#generations.begin(message.workers);
        break;
      case "table":
        this.#generations.setTable(message.table);
        break;
      case "launch":
        if (this.#stop.asked) this.#log.warn({ process: message.process.id }, "launch: the agent is stopping");
        else this.#apps.launch(message.process);
        break;
      case "kill":
        this.#apps.kill(message.id, message.signal);
        break;
      case "forget":
        this.#apps.forget(message.id);
        break;
      case "taken":
        this.#forgetWorker(message.worker);
        break;
      case "relay":
        this.#generations.relay(message.worker, message.body);
        break;
      case "stopping":
        break; // that it spoke is what counts
      case "shutdown":
        this.#stop.coreFinished(message.code);
        break;
    }
  }

  /** A worker left by a killed agent closes its listeners within a moment: until then its address is not "in use". */
  async #bind(requests: readonly BindRequest[]): Promise<readonly BindAnswer[]> {
    const until = this.#clock.monotonic() + TIMES.leftoverBindMs;
    for (;;) {
      const answers = await this.#listeners.bind(requests);
      if (!this.#leftovers.workers || answers.every(({ error }) => error === null) || this.#clock.monotonic() >= until)
        return answers;
      await sleep(this.#clock, 50);
    }
  }

  #state(): KeeperToCore {
    return {
      type: "state",
      options: this.#options.agent,
      boot: this.#boot,
      listeners: this.#listeners.list(),
      workers: this.#generations.states(),
      leftovers: this.#leftovers.workers,
      coreLeft: this.#leftovers.core,
      deadWorkers: [...this.#dead.values()],
      processes: this.#apps.states(),
      table: this.#generations.table,
    };
  }

  #startWorker(
    start: WorkerStart,
    ends: WorkerEnds,
  ): ReturnType<ConstructorParameters<typeof Generations>[0]["start"]> {
    const descriptors = this.#listeners.descriptors();
    const child: Child<KeeperToWorker> = new Child<KeeperToWorker>(
      {
        entry: this.#options.workerFile,
        fds: descriptors.map(({ fd }) => fd),
        env: process.env,
        log: this.#log,
      },
      {
        message: (raw) => {
          const message = readFromWorker(raw);
          if (message !== null) ends.message(message);
          else this.#log.warn({ worker: start.id, message: brief(raw) }, "worker: a message that is not understood");
        },
        exited: (exit, error) => {
          this.#records.delete(child.pid);
          ends.exited(exit, error);
          this.#record();
        },
      },
    );
    this.#records.set(child.pid, recorded("worker", String(start.id), child.pid));
    this.#record();
    this.#log.info({ worker: start.id, workerPid: child.pid, generation: start.generation }, "worker started");
    child.send({
      ...start,
      type: "start",
      agent: this.#options.agent.name,
      logLevel: this.#options.agent.logLevel,
      accessLog: this.#options.agent.accessLog,
      listeners: descriptors.map(({ key }, index) => ({ key, fd: FIRST_FD + index })),
    });
    return { process: child, keys: descriptors.map(({ key }) => key) };
  }

  #workerExited(worker: DeadWorker): void {
    this.#dead.set(worker.id, worker);
    const [oldest] = this.#dead.keys();
    if (this.#dead.size > DEAD_WORKERS_MAX && oldest !== undefined) {
      this.#log.warn({ worker: oldest }, "no core has taken in this dead worker's statistics; they are given up");
      this.#forgetWorker(oldest);
    }
    this.#core.send({ type: "worker-exited", worker });
    this.#release();
    this.#stop.workerExited();
  }

  #forgetWorker(id: number): void {
    const worker = this.#dead.get(id);
    if (worker === undefined) return; // alive, or taken before
    this.#dead.delete(id);
    rmSync(worker.statsFile, { force: true });
  }

  /** A connection that nobody will accept is refused, not left to wait: at the agent's stop that holds for all. */
  #release(): void {
    const inUse = this.#generations.keysInUse();
    if (this.#generations.stopping) this.#listeners.close(inUse);
    else this.#listeners.release(inUse);
  }

  /** What a keeper that comes after this one, should it be killed, has to end. */
  #record(): void {
    const core = this.#core.pid === 0 ? [] : [recorded("core", "core", this.#core.pid)];
    const apps = this.#apps.running().map((app) => ({ kind: "app" as const, ...app }));
    try {
      recordProcesses(this.#folder.processesFile, [
        this.#self,
        ...core,
        ...this.#records.values(),
        ...apps,
        ...this.#leftovers.pending(),
      ]);
    } catch (error) {
      this.#log.error(
        { why: messageOf(error) },
        "processes.json can't be written: a killed agent's processes may stay",
      );
    }
  }

  #close(): void {
    this.#leftovers.kill();
    this.#listeners.close();
    this.#stats.remove();
    rmSync(join(this.#folder.own, "processes.json"), { force: true });
    this.#folder.release();
  }
}
