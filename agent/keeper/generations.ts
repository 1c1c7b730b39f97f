/**
 * Generations of workers. A new one comes while the old one serves; only when all of the new one serve does the old one
 * drain (R4), and if the new one can't, the old one stays. A worker that dies unasked has a successor at once.
 *
 * Units   `serveMs` and the rest are in times.ts.
 * Errors  a generation that is given up is told by `outcome` with a sentence; with none before it, it is tried on.
 */
import type { Clock, Millis, Timer } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";
import type { Random } from "../../proto/kernel/random.ts";
import type { DeadWorker, ExitInfo, KeeperToWorker, WorkerState, WorkerToKeeper } from "./protocol.ts";
import { Restart } from "./restart.ts";
import { GENERATION_FAILURES, TIMES } from "./times.ts";

/** A started worker process, as little of it as is needed here (child.ts). */
export interface WorkerProcess {
  readonly pid: number;
  send(message: KeeperToWorker): void;
  sendLatest(message: KeeperToWorker): void;
  kill(signal: NodeJS.Signals): void;
}

export interface WorkerStart {
  readonly id: number;
  readonly generation: number;
  readonly statsFile: string;
  readonly table: unknown;
  readonly number: number;
}

export interface WorkerEnds {
  readonly message: (message: WorkerToKeeper) => void;
  readonly exited: (exit: ExitInfo, error: string | null) => void;
}

export interface GenerationsPort {
  /** Starts the process with every bound listener and tells it `start`; `keys` are those listeners. */
  start(start: WorkerStart, ends: WorkerEnds): { readonly process: WorkerProcess; readonly keys: readonly string[] };
  statsFile(worker: number): string;
  changed(worker: WorkerState): void;
  exited(worker: DeadWorker): void;
  relayed(worker: number, body: unknown): void;
  outcome(generation: number, error: string | null): void;
  /** `keysInUse` may have become fewer, though every worker lives. */
  released(): void;
}

interface Generation {
  readonly number: number;
  readonly wanted: number;
  readonly restart: Restart;
  readonly timers: Set<Timer>;
  failures: number;
}

interface Worker {
  state: WorkerState;
  readonly generation: Generation;
  readonly process: WorkerProcess;
  /** Of the listeners that it accepts from, or may; none from its `released` on. */
  keys: readonly string[];
  /** monotonic, when it began to serve; null before. */
  servingSince: Millis | null;
  deadline: Timer | null;
}

export class Generations {
  readonly #port: GenerationsPort;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #workers = new Map<number, Worker>();
  #current: Generation | null = null;
  #coming: Generation | null = null;
  #lastGeneration = 0;
  #lastWorker = 0;
  #stopping = false;
  /** What the core sent last; what the workers took last. */
  #newest: { readonly table: unknown; readonly number: number } = { table: null, number: 0 };
  #taken: { readonly table: unknown; readonly number: number } = { table: null, number: 0 };
  #refused = 0;

  constructor(port: GenerationsPort, clock: Clock, random: Random, log: Log) {
    this.#port = port;
    this.#clock = clock;
    this.#random = random;
    this.#log = log;
  }

  states(): WorkerState[] {
    return [...this.#workers.values()].map((worker) => worker.state);
  }

  get table(): unknown {
    return this.#newest.table;
  }

  get stopping(): boolean {
    return this.#stopping;
  }

  /** Listeners that some living worker accepts from, or may. */
  keysInUse(): Set<string> {
    return new Set([...this.#workers.values()].flatMap((worker) => worker.keys));
  }

  begin(wanted: number): void {
    if (this.#stopping) return;
    if (this.#coming !== null) this.#leave(this.#coming);
    this.#lastGeneration += 1;
    const restart = new Restart(this.#random);
    this.#coming = { number: this.#lastGeneration, wanted, restart, timers: new Set(), failures: 0 };
    for (let n = 0; n < wanted; n++) this.#start(this.#coming);
  }

  setTable(table: unknown): void {
    this.#newest = { table, number: this.#newest.number + 1 };
    for (const { process } of this.#workers.values()) process.sendLatest({ type: "table", ...this.#newest });
  }

  relay(worker: number, body: unknown): void {
    this.#workers.get(worker)?.process.send({ type: "relayed", body });
  }

  /** All of them leave, none is started again. */
  drainAll(): void {
    this.#stopping = true;
    for (const { process, state } of this.#workers.values()) {
      if (state.phase === "draining") process.send({ type: "drain", hurry: true });
    }
    for (const generation of this.#generations()) this.#leave(generation);
    this.#port.released();
  }

  killAll(): void {
    this.#stopping = true;
    for (const { process } of this.#workers.values()) process.kill("SIGKILL");
  }

  get alive(): number {
    return this.#workers.size;
  }

  #generations(): Generation[] {
    return [this.#current, this.#coming].filter((generation) => generation !== null);
  }

  #start(generation: Generation): void {
    this.#lastWorker += 1;
    const id = this.#lastWorker;
    const statsFile = this.#port.statsFile(id);
    // A table that was refused would leave the new worker without any.
    const given = this.#refused === this.#newest.number ? this.#taken : this.#newest;
    const { process, keys } = this.#port.start(
      { id, generation: generation.number, statsFile, ...given },
      {
        message: (message) => this.#heard(worker, message),
        exited: (exit, error) => this.#exited(worker, exit, error),
      },
    );
    const state: WorkerState = {
      id,
      pid: process.pid,
      generation: generation.number,
      phase: "starting",
      statsFile,
    };
    const worker: Worker = { state, generation, process, keys, servingSince: null, deadline: null };
    this.#workers.set(id, worker);
    this.#watch(worker);
    this.#port.changed(state);
  }

  /** One that never comes to serve is as good as dead; without a table it can't serve, and is not to blame. */
  #watch(worker: Worker): void {
    worker.deadline = this.#clock.after(TIMES.serveMs, () => {
      if (this.#newest.table === null) {
        this.#watch(worker);
        return;
      }
      this.#log.error({ worker: worker.state.id, workerPid: worker.state.pid }, "worker: not serving in time; killed");
      worker.process.kill("SIGKILL");
    });
  }

  #heard(worker: Worker, message: WorkerToKeeper): void {
    switch (message.type) {
      case "serving":
        this.#serves(worker);
        break;
      case "released":
        if (worker.state.phase !== "draining") break; // asked by nobody: it may still accept
        worker.keys = [];
        this.#port.released();
        break;
      case "relay":
        this.#port.relayed(worker.state.id, message.body);
        break;
      case "tabled":
        if (!message.ok) this.#refused = Math.max(this.#refused, message.number);
        else if (message.number === this.#newest.number) this.#taken = this.#newest;
        break;
    }
  }

  #serves(worker: Worker): void {
    if (worker.state.phase !== "starting") return;
    worker.deadline?.cancel();
    worker.servingSince = this.#clock.monotonic();
    this.#enter(worker, "serving");
    const coming = this.#coming;
    if (coming === null || worker.generation !== coming || this.#serving(coming) < coming.wanted) return;
    const old = this.#current;
    this.#current = coming;
    this.#coming = null;
    if (old !== null) this.#leave(old);
    this.#log.info({ generation: coming.number, workers: coming.wanted }, "generation serves");
    this.#port.outcome(coming.number, null);
  }

  #serving(generation: Generation): number {
    let count = 0;
    for (const worker of this.#workers.values())
      if (worker.generation === generation && worker.state.phase === "serving") count += 1;
    return count;
  }

  /** One that has not said `serving` may have accepted all the same: it too drains, and is not killed. */
  #leave(generation: Generation): void {
    for (const timer of generation.timers) timer.cancel();
    generation.timers.clear();
    if (this.#coming === generation) this.#coming = null;
    if (this.#current === generation) this.#current = null;
    for (const worker of this.#workers.values()) {
      if (worker.generation !== generation || worker.state.phase === "draining") continue;
      worker.deadline?.cancel();
      this.#enter(worker, "draining");
      worker.process.send({ type: "drain", hurry: this.#stopping });
    }
  }

  #enter(worker: Worker, phase: WorkerState["phase"]): void {
    worker.state = { ...worker.state, phase };
    this.#port.changed(worker.state);
  }

  #exited(worker: Worker, exit: ExitInfo, error: string | null): void {
    worker.deadline?.cancel();
    this.#workers.delete(worker.state.id);
    const { id, generation, statsFile, phase, pid: workerPid } = worker.state;
    const died = phase !== "draining" || exit.code !== 0;
    const fields = { worker: id, workerPid, generation, code: exit.code, signal: exit.signal, error };
    if (died) this.#log.error(fields, "worker died");
    else this.#log.info(fields, "worker has drained and left");
    this.#port.exited({ id, generation, statsFile, exit, died });
    if (worker.generation === this.#coming) this.#comingFailed(this.#coming, worker, describe(exit, error));
    else if (worker.generation === this.#current) this.#again(this.#current, worker);
  }

  #comingFailed(coming: Generation, worker: Worker, why: string): void {
    coming.failures += 1;
    const sentence = `worker of generation ${String(coming.number)} ${why}, ${String(coming.failures)} times`;
    if (coming.failures >= GENERATION_FAILURES && this.#current !== null) {
      this.#log.error({ generation: coming.number }, `${sentence}: given up, the one before goes on`);
      this.#leave(coming);
      this.#port.outcome(coming.number, `${sentence}; generation ${String(this.#current.number)} goes on`);
      return;
    }
    if (coming.failures === GENERATION_FAILURES) this.#port.outcome(coming.number, `${sentence}; it is tried on`);
    this.#again(coming, worker);
  }

  #again(generation: Generation, dead: Worker): void {
    const healthy = dead.servingSince === null ? 0 : this.#clock.monotonic() - dead.servingSince;
    const delay = generation.restart.delay(healthy);
    if (delay === 0) {
      this.#start(generation);
      return;
    }
    const timer = this.#clock.after(delay, () => {
      generation.timers.delete(timer);
      this.#start(generation);
    });
    generation.timers.add(timer);
  }
}

function describe(exit: ExitInfo, error: string | null): string {
  if (error !== null) return `could not be started: ${error}`;
  return exit.signal === null ? `exited with ${String(exit.code)}` : `was ended by ${exit.signal}`;
}
