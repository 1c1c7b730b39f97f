/**
 * Real processes for tests: started, waited for by what they print or listen on, ended by pid.
 *
 *   await using app = startNode("test/apps/demo/server.ts", { env: { PORT: "0", VERSION: "v1" } });
 *   const [, port] = await app.line(/listening on .*:(\d+)/);
 *
 * Output   kept per process, the newest `KEPT_LINES` lines, and quoted in every error of this module.
 * Ending   disposal says SIGTERM, waits `graceMs`, then SIGKILL. With `group: true` the process leads a group of its own
 *          and the whole group is ended, for programs that start others.
 * Errors   `line` and `listening` reject when the process ends first or the time is over; nothing else rejects.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { connect } from "node:net";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root: what relative paths of tests mean. */
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

const KEPT_LINES = 5_000;
const WAIT_MS = 15_000;

export interface StartOptions {
  readonly args?: readonly string[];
  /** Repository root by default. */
  readonly cwd?: string;
  /** Added to the test's own environment; undefined takes a name away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Flags of node itself, `startNode` only. */
  readonly nodeArgs?: readonly string[];
  /** Lead a process group, and end all of it. */
  readonly group?: boolean;
  /** SIGTERM to SIGKILL at disposal; 5 s. */
  readonly graceMs?: number;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface OutputLine {
  readonly from: "stdout" | "stderr";
  readonly text: string;
  /** performance.now() when it was read. */
  readonly atMs: number;
}

export class RunningProcess implements AsyncDisposable {
  /** Resolves when it has ended and all of its output was read; never rejects. */
  readonly exited: Promise<Exit>;
  readonly lines: OutputLine[] = [];
  /** Set once it has ended. */
  exit: Exit | null = null;
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #options: StartOptions;
  readonly #watchers = new Set<() => void>();
  #stopping: Promise<Exit> | undefined;

  constructor(command: string, args: readonly string[], options: StartOptions) {
    this.#name = [command, ...args].join(" ");
    this.#options = options;
    this.#child = spawn(command, args, {
      cwd: options.cwd ?? ROOT,
      env: { ...process.env, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: options.group === true,
    });
    this.#collect("stdout");
    this.#collect("stderr");
    this.exited = new Promise((done) => {
      const end = (exit: Exit): void => {
        if (this.exit !== null) return;
        this.exit = exit;
        done(exit);
        this.#wake();
      };
      this.#child.once("error", (error) => {
        this.#push("stderr", `could not be started: ${error.message}`);
        end({ code: null, signal: null });
      });
      this.#child.once("close", (code, signal) => end({ code, signal }));
    });
  }

  /** 0 when it could not be started. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get stdout(): string {
    return this.#text("stdout");
  }

  get stderr(): string {
    return this.#text("stderr");
  }

  /** The first line, of those already printed or still to come, that matches; either stream. */
  line(
    pattern: RegExp,
    options: { readonly timeoutMs?: number; readonly after?: number } = {},
  ): Promise<RegExpExecArray> {
    let next = options.after ?? 0;
    return this.#until(`a line like ${String(pattern)}`, options.timeoutMs, () => {
      for (; next < this.lines.length; next++) {
        const match = pattern.exec(this.lines[next]?.text ?? "");
        if (match !== null) return match;
      }
      return undefined;
    });
  }

  signal(signal: NodeJS.Signals): void {
    // Once reaped, the number may belong to another process.
    if (this.exit === null && this.pid > 0) this.#child.kill(signal);
  }

  /** SIGTERM, then SIGKILL after the grace; calling it again waits for the same end. */
  stop(): Promise<Exit> {
    this.#stopping ??= this.#end();
    return this.#stopping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** For messages of failed tests. */
  describe(): string {
    const tail = this.lines.slice(-40).map((line) => `  ${line.from === "stderr" ? "!" : "|"} ${line.text}`);
    const state = this.exit === null ? "running" : `ended (${String(this.exit.code ?? this.exit.signal)})`;
    return `${this.#name} [pid ${this.pid}, ${state}]\n${tail.join("\n")}`;
  }

  async #end(): Promise<Exit> {
    this.#kill("SIGTERM");
    const timer = setTimeout(() => this.#kill("SIGKILL"), this.#options.graceMs ?? 5_000);
    const exit = await this.exited;
    clearTimeout(timer);
    // Members of the group may outlive its leader; ESRCH says that none did.
    if (this.#options.group === true) this.#killGroup("SIGKILL");
    return exit;
  }

  #kill(signal: NodeJS.Signals): void {
    if (this.exit !== null) return;
    if (this.#options.group === true) this.#killGroup(signal);
    else this.#child.kill(signal);
  }

  #killGroup(signal: NodeJS.Signals): void {
    try {
      if (this.pid > 0) process.kill(-this.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }

  #until<T>(what: string, timeoutMs: number | undefined, probe: () => T | undefined): Promise<T> {
    return new Promise((done, fail) => {
      const settle = (): void => {
        const found = probe();
        if (found !== undefined) finish(() => done(found));
        else if (this.exit !== null) finish(() => fail(new Error(`ended before ${what}: ${this.describe()}`)));
      };
      const finish = (act: () => void): void => {
        clearTimeout(timer);
        this.#watchers.delete(settle);
        act();
      };
      const timer = setTimeout(
        () => finish(() => fail(new Error(`waited in vain for ${what}: ${this.describe()}`))),
        timeoutMs ?? WAIT_MS,
      );
      this.#watchers.add(settle);
      settle();
    });
  }

  #collect(from: "stdout" | "stderr"): void {
    let rest = "";
    const stream = this.#child[from];
    stream?.setEncoding("utf8");
    stream?.on("data", (text: string) => {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) this.#push(from, part.replace(/\r$/, ""));
      this.#wake();
    });
    stream?.on("end", () => {
      if (rest !== "") this.#push(from, rest);
      this.#wake();
    });
  }

  #push(from: "stdout" | "stderr", text: string): void {
    this.lines.push({ from, text, atMs: performance.now() });
    // `line` holds indices into `lines`: what is too old is emptied, not shifted away.
    const old = this.lines.length - KEPT_LINES;
    if (old > 0) this.lines[old - 1] = { from, text: "", atMs: 0 };
  }

  #wake(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }

  #text(from: "stdout" | "stderr"): string {
    return this.lines
      .filter((line) => line.from === from)
      .map((line) => `${line.text}\n`)
      .join("");
  }
}

/** Starts a TypeScript or JavaScript file with the Node that runs the test. */
export function startNode(file: string, options: StartOptions = {}): RunningProcess {
  const args = [...(options.nodeArgs ?? []), resolve(ROOT, file), ...(options.args ?? [])];
  return new RunningProcess(process.execPath, args, options);
}

export function startProgram(command: string, options: StartOptions = {}): RunningProcess {
  return new RunningProcess(command, options.args ?? [], options);
}

/** Resolves once something accepts connections there. */
export async function listening(address: string, port: number, timeoutMs = WAIT_MS): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await accepts(address, port))) {
    if (performance.now() > deadline) throw new Error(`nothing listens on ${address}:${port} after ${timeoutMs} ms`);
    await new Promise((wait) => setTimeout(wait, 20));
  }
}

function accepts(address: string, port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect({ host: address, port });
    socket.once("connect", () => {
      socket.destroy();
      done(true);
    });
    socket.once("error", () => done(false));
  });
}

/** Resolves once `probe` answers true; the condition is named in the error. */
export async function until(what: string, probe: () => boolean | Promise<boolean>, timeoutMs = WAIT_MS): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await probe())) {
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain until ${what}`);
    await new Promise((wait) => setTimeout(wait, 10));
  }
}
