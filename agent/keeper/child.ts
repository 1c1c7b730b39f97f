/**
 * A Node process of ours (core, worker) with its channel. Sending never blocks and never grows without bound: what the
 * channel has not yet taken waits here; a newer table takes the place of an older one that still waits; and a child
 * that lets thousands of messages pile up does not read any more and is killed: its successor is told everything anew.
 *
 * Errors   none thrown. A child that can't be started ends like one that ran: `exited` says why.
 * Signals  each child leads a session of its own, so that Ctrl-C reaches the keeper alone.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import type { Log } from "../../proto/kernel/log.ts";
import { messageOf } from "./log.ts";
import type { ExitInfo } from "./protocol.ts";

/** Handed to the channel and not yet written. */
const IN_CHANNEL = 64;
const WAITING_MAX = 4_096;

export interface ChildSpec {
  readonly entry: string;
  /** The child finds them at FIRST_FD, FIRST_FD + 1, … */
  readonly fds: readonly number[];
  readonly env: NodeJS.ProcessEnv;
  readonly log: Log;
}

export interface ChildEvents {
  readonly message: (message: unknown) => void;
  /** Once, and the last. */
  readonly exited: (exit: ExitInfo, error: string | null) => void;
}

/** stdin, stdout, stderr, the channel. */
export const FIRST_FD = 4;

export class Child<Message extends { readonly type: string }> {
  /** 0 when it could not be started. */
  readonly pid: number;
  readonly #log: Log;
  readonly #events: ChildEvents;
  readonly #process: ChildProcess | null;
  #waiting: Message[] = [];
  #inChannel = 0;
  #ended = false;

  constructor(spec: ChildSpec, events: ChildEvents) {
    this.#log = spec.log;
    this.#events = events;
    try {
      this.#process = spawn(process.execPath, [...nodeFlags(), spec.entry], {
        stdio: ["ignore", "inherit", "inherit", "ipc", ...spec.fds],
        env: spec.env,
        detached: true,
      });
    } catch (error) {
      this.#process = null;
      this.pid = 0;
      process.nextTick(() => this.#end(null, null, messageOf(error)));
      return;
    }
    this.pid = this.#process.pid ?? 0;
    this.#process.on("message", (message) => {
      try {
        events.message(message);
      } catch (error) {
        this.#log.error({ err: error, child: this.pid }, "a message could not be carried out");
      }
    });
    this.#process.on("exit", (code, signal) => this.#end(code, signal, null));
    this.#process.on("error", (error) => {
      if (this.pid === 0) this.#end(null, null, messageOf(error));
      else this.#log.debug({ err: error, child: this.pid }, "channel"); // its end follows
    });
  }

  send(message: Message): void {
    if (this.#ended) return;
    if (this.#inChannel >= IN_CHANNEL) this.#wait(message);
    else this.#write(message);
  }

  /** As `send`, but what waits of this type is replaced: only the newest counts. */
  sendLatest(message: Message): void {
    this.#waiting = this.#waiting.filter((other) => other.type !== message.type);
    this.send(message);
  }

  kill(signal: NodeJS.Signals): void {
    // Through the handle: it knows whether the pid has been reaped, and could be another's by now.
    if (!this.#ended) this.#process?.kill(signal);
  }

  /** The child takes it as the order to leave. */
  disconnect(): void {
    if (this.#process?.connected === true) this.#process.disconnect();
  }

  #write(message: Message): void {
    if (this.#process?.connected !== true) return;
    this.#inChannel += 1;
    this.#process.send(message, () => {
      this.#inChannel -= 1;
      const next = this.#waiting.shift();
      if (next !== undefined && !this.#ended) this.#write(next);
    });
  }

  #wait(message: Message): void {
    if (this.#waiting.length < WAITING_MAX) {
      this.#waiting.push(message);
      return;
    }
    this.#log.error({ child: this.pid, waiting: this.#waiting.length }, "it reads no messages any more; killed");
    this.#waiting = [];
    this.kill("SIGKILL");
  }

  #end(code: number | null, signal: string | null, error: string | null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#waiting = [];
    this.#events.exited({ code, signal, atMs: Date.now() }, error);
  }
}

/** The file of a process of ours, as seen from this folder: `.ts` from the sources, `.js` from a build. */
export function entry(relative: string): string {
  return fileURLToPath(new URL(`${relative}${extname(import.meta.url)}`, import.meta.url));
}

/** Ours, but for those that would take the keeper's own inspector port again. */
function nodeFlags(): string[] {
  return process.execArgv.filter((flag) => !flag.startsWith("--inspect"));
}
