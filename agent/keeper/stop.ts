/**
 * The agent's end. SIGTERM: the core finishes what it has to and says `shutdown`; then workers drain, then what apps are
 * left are ended, then the core goes. A core that is not there, does not answer, or takes too long is not waited for.
 * A second signal is prompt. Both are idempotent, and both end in the one promise `done`.
 *
 * Units   milliseconds; the whole takes at most the agent's stop timeout, and a few seconds where processes have to be killed.
 */
import type { Clock, Millis, Timer } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";
import type { Apps } from "./apps.ts";
import type { CoreProcess } from "./core-process.ts";
import type { Generations } from "./generations.ts";
import { TIMES } from "./times.ts";

export interface StopPort {
  readonly core: Pick<CoreProcess, "pid" | "send" | "end">;
  readonly generations: Pick<Generations, "drainAll" | "killAll" | "alive">;
  readonly apps: Pick<Apps, "endAll">;
  /** Sees to it that somebody listens when no worker does any more, where there is a pod. Once. */
  hold?(): Promise<void>;
  /** Lets go of sockets, files and the lock. Once. */
  close(): void;
}

/** As shells tell it: 128 + the signal's number. */
const PROMPT_EXIT = { SIGTERM: 143, SIGINT: 130 } as const;

export class Stop {
  /** The exit code. */
  readonly done: Promise<number>;
  readonly #finish: (code: number) => void;
  readonly #port: StopPort;
  readonly #timeoutMs: Millis;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #timers: Timer[] = [];
  #asked: { readonly signal: string; readonly at: Millis } | null = null;
  #code = 0;
  #coreSpoke = false;
  #proceeding = false;
  #prompt = false;
  #closed = false;
  #workersGone: (() => void) | null = null;

  constructor(port: StopPort, timeoutMs: Millis, clock: Clock, log: Log) {
    this.#port = port;
    this.#timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#log = log;
    const { promise, resolve } = Promise.withResolvers<number>();
    this.done = promise;
    this.#finish = resolve;
  }

  get asked(): boolean {
    return this.#asked !== null;
  }

  signal(signal: "SIGTERM" | "SIGINT"): void {
    if (this.#asked === null) this.#begin(signal);
    else if (this.#clock.monotonic() - this.#asked.at >= TIMES.sameSignalMs) void this.#promptly(signal);
  }

  coreStarted(): void {
    if (this.#asked !== null && !this.#proceeding) this.#tellCore(this.#asked.signal);
  }

  coreSpoke(): void {
    this.#coreSpoke = true;
  }

  coreFinished(code: number): void {
    this.#code = code;
    if (this.#asked === null) this.#begin("shutdown");
    this.#proceed("the core has finished");
  }

  workerExited(): void {
    if (this.#port.generations.alive === 0) this.#workersGone?.();
  }

  #begin(signal: string): void {
    this.#asked = { signal, at: this.#clock.monotonic() };
    this.#log.info({ signal, timeoutMs: this.#timeoutMs }, "stopping");
    if (signal === "shutdown") return; // the core asked for it
    if (this.#port.core.pid === 0) {
      this.#proceed("there is no core");
      return;
    }
    this.#timer(Math.max(0, this.#timeoutMs - Math.min(TIMES.stopReserveMs, this.#timeoutMs / 4)), () =>
      this.#proceed("the core has not finished in time"),
    );
    this.#tellCore(signal);
  }

  #tellCore(signal: string): void {
    this.#coreSpoke = false;
    this.#port.core.send({ type: "stopping", signal });
    this.#timer(TIMES.coreAnswerMs, () => {
      if (!this.#coreSpoke) this.#proceed("the core does not answer");
    });
  }

  #timer(delay: Millis, fn: () => void): void {
    this.#timers.push(this.#clock.after(delay, fn));
  }

  #proceed(why: string): void {
    if (this.#proceeding) return;
    this.#proceeding = true;
    this.#log.info({ why }, "workers drain");
    void this.#drain();
  }

  async #drain(): Promise<void> {
    if (this.#port.hold !== undefined) await this.#port.hold();
    this.#port.generations.drainAll();
    if (!(await this.#workersLeave(this.#left(TIMES.promptGraceMs)))) {
      this.#log.warn({ workers: this.#port.generations.alive }, "workers did not finish in time; killed");
      this.#port.generations.killAll();
      await this.#workersLeave(TIMES.promptGraceMs);
    }
    await this.#port.apps.endAll(this.#left(TIMES.appGraceMs));
    // It leaves when the containers that it ends itself are gone; at once where there are none.
    await this.#port.core.end(this.#left(TIMES.promptGraceMs));
    this.#close(this.#code);
  }

  /** Of the stop's time, and at least `least`. */
  #left(least: Millis): Millis {
    const asked = this.#asked?.at ?? this.#clock.monotonic();
    return Math.max(least, asked + this.#timeoutMs - this.#clock.monotonic());
  }

  /** false: some are still there after `ms`. */
  #workersLeave(ms: Millis): Promise<boolean> {
    if (this.#port.generations.alive === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      this.#timer(ms, () => resolve(this.#port.generations.alive === 0));
      this.#workersGone = () => resolve(true);
    });
  }

  async #promptly(signal: "SIGTERM" | "SIGINT"): Promise<void> {
    if (this.#prompt) return;
    this.#prompt = true;
    this.#proceeding = true;
    this.#log.warn({ signal }, "a second signal: stopping at once");
    this.#port.generations.killAll();
    await Promise.all([
      this.#port.apps.endAll(TIMES.promptGraceMs),
      this.#port.core.end(TIMES.promptGraceMs),
      this.#workersLeave(TIMES.promptGraceMs),
    ]);
    this.#close(PROMPT_EXIT[signal]);
  }

  #close(code: number): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const timer of this.#timers) timer.cancel();
    this.#port.close();
    this.#log.info({ code }, "stopped");
    this.#finish(code);
  }
}
