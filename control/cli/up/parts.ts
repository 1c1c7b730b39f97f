/**
 * The processes of a local cluster: started, watched, started again, and ended in order. Children stand in process
 * groups of their own, so that Ctrl-C reaches this process alone. Each writes its log into the cluster's folder.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";

export interface PartsOptions {
  readonly folder: string;
  /** Parts that may end without the cluster being broken: those that a test kills, and starts again itself. */
  readonly mayEnd?: readonly string[];
  /** Starts a part again that has ended, and is told so in a sentence. Without it such a part breaks the cluster. */
  readonly onEnded?: (what: string) => void;
}

interface Part {
  readonly process: ChildProcess;
  readonly exited: Promise<void>;
  readonly again: () => void;
}

/** What ends a cluster in order. SIGHUP: its terminal was closed, and its parts, in groups of their own, don't hear of it. */
export const STOPS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const STOP_TIMEOUT_MS = 45_000;
const RESTART_MS = 500;
/** A part that has ended more often than this is not started again. */
const MOST_ENDINGS = 10;
const USAGE = 2;

export class Parts {
  /** Resolves with a sentence when a part ends that should not have. */
  readonly broken: Promise<string>;
  readonly #options: PartsOptions;
  readonly #logs: string;
  readonly #parts = new Map<string, Part>();
  readonly #endings = new Map<string, number>();
  readonly #breaks: (why: string) => void;
  #stopping = false;

  constructor(options: PartsOptions) {
    this.#options = options;
    this.#logs = join(options.folder, "logs");
    mkdirSync(this.#logs, { recursive: true, mode: 0o700 });
    const { promise, resolve } = Promise.withResolvers<string>();
    this.broken = promise;
    this.#breaks = resolve;
  }

  start(name: string, command: string, args: readonly string[]): void {
    const file = join(this.#logs, `${name}.log`);
    const log = openSync(file, "a", 0o600);
    const child = spawn(command, args, {
      detached: true,
      stdio: ["ignore", log, log],
      // Apps are started as `node …`: let them find the Node that runs Baton.
      env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env["PATH"] ?? ""}` },
    });
    closeSync(log);
    const again = (): void => this.start(name, command, args);
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.once("error", (error) => this.#breaks(`${name} can't be started: ${error.message}`));
    child.once("exit", (code, signal) => {
      if (this.#stopping || this.#options.mayEnd?.includes(name) === true) return;
      const how = `${name} ended (${signal ?? `exit code ${String(code)}`})`;
      const ends = (this.#endings.get(name) ?? 0) + 1;
      this.#endings.set(name, ends);
      if (this.#options.onEnded === undefined || code === USAGE || ends > MOST_ENDINGS) {
        this.#breaks(`${how}: ${lastLine(file)}`);
        return;
      }
      this.#options.onEnded(`${how}; it is started again`);
      setTimeout(() => {
        if (!this.#stopping) again();
      }, RESTART_MS);
    });
    this.#parts.set(name, { process: child, exited, again });
  }

  pid(name: string): number {
    return this.#named(name).process.pid ?? 0;
  }

  /** As it was. */
  restart(name: string): void {
    this.#named(name).again();
  }

  /** One group after the other; what is in none of them comes first. */
  async stop(...order: readonly (readonly string[])[]): Promise<void> {
    this.#stopping = true;
    // Whoever asks again does not want to wait: agents take the second SIGTERM as "at once".
    const prompt = (): void => {
      for (const part of this.#parts.values()) part.process.kill("SIGTERM");
    };
    for (const signal of STOPS) process.on(signal, prompt);
    const later = new Set(order.flat());
    const first = [...this.#parts.keys()].filter((name) => !later.has(name));
    for (const names of [first, ...order]) {
      await Promise.all(names.flatMap((name) => this.#parts.get(name) ?? []).map(end));
    }
    for (const signal of STOPS) process.off(signal, prompt);
  }

  #named(name: string): Part {
    const part = this.#parts.get(name);
    if (part === undefined) throw new Error(`no part named ${name}; there are ${[...this.#parts.keys()].join(", ")}`);
    return part;
  }
}

/** SIGTERM, then SIGKILL when it has not gone in time. Nothing to do for one that has ended. */
async function end(part: Part): Promise<void> {
  if (part.process.pid === undefined || part.process.exitCode !== null || part.process.signalCode !== null) return;
  part.process.kill("SIGTERM");
  const timer = setTimeout(() => part.process.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await part.exited;
  clearTimeout(timer);
}

function lastLine(file: string): string {
  const line = readFileSync(file, "utf8").trimEnd().split("\n").at(-1) ?? "";
  return `${line.slice(0, 300)} (log: ${file})`;
}
