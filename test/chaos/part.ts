/**
 * One real process of the cluster: started, struck, started again as it was. It leads a process group of its own, so that
 * Ctrl-C reaches the harness alone, and writes to a log of its own that no fault touches.
 *
 * An end that no strike has asked for is told to `onEnded`; whether it may be is the harness's to judge. Whoever owns the
 * part decides when it is started again.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { partsOf } from "../support/proc.ts";
import { ROOT } from "../support/processes.ts";
import { sweepFaketime } from "../support/stepped-clock.ts";

export type PartKind = "controller" | "gateway" | "host";

export interface PartSpec {
  readonly name: string;
  readonly kind: PartKind;
  /** From the repository's root. */
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly logFile: string;
  /** host:port of its own HTTP, for /healthz and, of an agent, /instances and /config. */
  readonly http: string;
}

export interface Ended {
  readonly part: Part;
  readonly how: string;
  readonly atMs: number;
}

export class Part {
  readonly spec: PartSpec;
  readonly #onEnded: (ended: Ended) => void;
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  /** Its next end was asked for. */
  #struck = false;

  constructor(spec: PartSpec, onEnded: (ended: Ended) => void) {
    this.spec = spec;
    this.#onEnded = onEnded;
  }

  get name(): string {
    return this.spec.name;
  }

  get isAgent(): boolean {
    return this.spec.kind !== "controller";
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  start(): void {
    if (this.running) return;
    const log = openSync(this.spec.logFile, "a", 0o600);
    const child = spawn(process.execPath, [join(ROOT, this.spec.file), ...this.spec.args], {
      detached: true,
      stdio: ["ignore", log, log],
      // Apps are started as `node …`: let them find the Node that runs Baton.
      env: {
        ...process.env,
        PATH: `${dirname(process.execPath)}${delimiter}${process.env["PATH"] ?? ""}`,
        ...this.spec.env,
      },
    });
    closeSync(log);
    this.#child = child;
    this.#struck = false;
    this.#exited = new Promise((done) => {
      child.once("exit", (code, signal) => {
        sweepFaketime(child.pid ?? 0);
        if (!this.#struck) this.#onEnded({ part: this, how: signal ?? `exit code ${String(code)}`, atMs: Date.now() });
        done();
      });
    });
  }

  /** The keeper, or the controller: SIGKILL, resolves when it is gone. */
  async kill(): Promise<void> {
    if (!this.running) return;
    this.#struck = true;
    this.#child?.kill("SIGKILL");
    await this.#exited;
  }

  /** All that runs on that machine, the keeper first, so that it starts nothing again. */
  async killMachine(): Promise<void> {
    if (!this.running) return;
    const all = this.processes();
    this.#struck = true;
    for (const pid of all) signal(pid, "SIGKILL");
    await allGone(all);
    await this.#exited;
  }

  /** Itself and, of an agent, all of its children: the keeper first. */
  processes(): readonly number[] {
    if (!this.running) return [];
    const { core, workers, apps } = partsOf(this.pid);
    return [this.pid, ...core, ...workers, ...apps];
  }

  /** SIGTERM, a second one, SIGKILL. What was stopped goes on first: a stopped process takes no SIGTERM. */
  async end(graceMs: number): Promise<void> {
    if (!this.running) return;
    this.#struck = true;
    for (const pid of this.processes()) signal(pid, "SIGCONT");
    this.#child?.kill("SIGTERM");
    const prompt = setTimeout(() => this.#child?.kill("SIGTERM"), graceMs);
    const last = setTimeout(() => this.#child?.kill("SIGKILL"), graceMs + 10_000);
    await this.#exited;
    clearTimeout(prompt);
    clearTimeout(last);
  }
}

/** Nothing happens when it is gone already. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    if (pid > 0) process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Resolves when none of them holds a socket any more: a killed process does until its last thread is gone. */
export async function allGone(pids: readonly number[]): Promise<void> {
  while (!pids.every(gone)) await new Promise((again) => setTimeout(again, 5));
}

function gone(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, "utf8");
    const dead = stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z");
    return dead && readdirSync(`/proc/${String(pid)}/task`).length <= 1;
  } catch (error) {
    if (!["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    return true;
  }
}
