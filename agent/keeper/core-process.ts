/** The core's process: kept alive, told `state` at every start. What is said to it while there is none is not kept: `state` says it all. */
import type { Clock, Millis, Timer } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";
import type { Random } from "../../proto/kernel/random.ts";
import { Child } from "./child.ts";
import { readFromCore } from "./messages.ts";
import type { CoreToKeeper, KeeperToCore } from "./protocol.ts";
import { Restart } from "./restart.ts";

export interface CorePort {
  /** What a core is told first. */
  state(): KeeperToCore;
  received(message: CoreToKeeper): void;
  /** It was started, or has ended. */
  changed(): void;
}

export class CoreProcess {
  readonly #file: string;
  readonly #port: CorePort;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #restart: Restart;
  #child: Child<KeeperToCore> | null = null;
  #timer: Timer | null = null;
  #startedAt: Millis = 0;
  #ending: (() => void) | null = null;

  constructor(file: string, port: CorePort, clock: Clock, random: Random, log: Log) {
    this.#file = file;
    this.#port = port;
    this.#clock = clock;
    this.#log = log;
    this.#restart = new Restart(random);
  }

  /** 0 while there is none. */
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  start(): void {
    this.#startedAt = this.#clock.monotonic();
    const child = new Child<KeeperToCore>(
      { entry: this.#file, fds: [], env: process.env, log: this.#log },
      {
        message: (raw) => {
          const message = readFromCore(raw);
          if (message === null) this.#log.warn({ message: brief(raw) }, "core: a message that is not understood");
          else this.#port.received(message);
        },
        exited: (exit, error) => {
          this.#child = null;
          const fields = { core: child.pid, code: exit.code, signal: exit.signal, error };
          if (this.#ending === null) this.#log.error(fields, "core ended");
          else this.#log.info(fields, "core has left");
          this.#port.changed();
          if (this.#ending !== null) {
            this.#ending();
            return;
          }
          const delay = this.#restart.delay(this.#clock.monotonic() - this.#startedAt);
          this.#timer = this.#clock.after(delay, () => this.start());
        },
      },
    );
    this.#child = child;
    this.#log.info({ core: child.pid }, "core started");
    child.send(this.#port.state());
    this.#port.changed();
  }

  send(message: KeeperToCore): void {
    this.#child?.send(message);
  }

  /** It is to leave, and is not started again; resolves when it is gone. */
  end(graceMs: Millis): Promise<void> {
    return new Promise((resolve) => {
      this.#timer?.cancel();
      const child = this.#child;
      if (child === null) {
        resolve();
        return;
      }
      const deadline = this.#clock.after(graceMs, () => child.kill("SIGKILL"));
      this.#ending = () => {
        deadline.cancel();
        resolve();
      };
      child.disconnect();
    });
  }
}

/** Enough of a message to find its sender by. */
export function brief(raw: unknown): string {
  return JSON.stringify(raw).slice(0, 200);
}
