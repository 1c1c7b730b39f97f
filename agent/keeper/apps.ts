/**
 * The app processes: started with the environment given and nothing else, each the leader of a group of its own, so
 * that a signal reaches what it has started too. Output goes straight to a file, opened for appending: no death of
 * ours breaks a pipe of theirs.
 *
 * Errors  a command that can't be executed is a state with `error` set, a sentence for an operator; nothing is thrown.
 */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";
import { messageOf } from "./log.ts";
import { groupAlive, procStat, signalGroup } from "./proc.ts";
import type { ProcessSpec, ProcessState } from "./protocol.ts";
import { TIMES } from "./times.ts";

interface App {
  state: ProcessState;
  readonly startTicks: number;
  /** The leader, or what it started, is there to be signalled. Its number can't be another's as long as this holds. */
  group: "alive" | "gone";
}

export interface AppEvents {
  readonly changed: (state: ProcessState) => void;
  /** The set of live groups is another: what `running` answers. */
  readonly groups: () => void;
}

const POLL_MS = 50;

export class Apps {
  readonly #apps = new Map<string, App>();
  /** Forgotten by the core while their groups still ended. */
  readonly #leaving = new Set<App>();
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #events: AppEvents;

  constructor(clock: Clock, log: Log, events: AppEvents) {
    this.#clock = clock;
    this.#log = log;
    this.#events = events;
  }

  states(): ProcessState[] {
    return [...this.#apps.values()].map((app) => app.state);
  }

  /** Groups with a living process. */
  running(): { readonly id: string; readonly pid: number; readonly startTicks: number; readonly outputFile: string }[] {
    return [...this.#apps.values(), ...this.#leaving]
      .filter((app) => app.group === "alive")
      .map(({ state: { spec, pid }, startTicks }) => ({ id: spec.id, pid, startTicks, outputFile: spec.outputFile }));
  }

  /** Said twice, it answers with what is there. */
  launch(spec: ProcessSpec): void {
    const known = this.#apps.get(spec.id);
    if (known !== undefined) this.#events.changed(known.state);
    else this.#start(spec);
  }

  kill(id: string, signal: "SIGTERM" | "SIGKILL"): void {
    const app = this.#apps.get(id);
    if (app?.group === "alive") signalGroup(app.state.pid, signal);
  }

  forget(id: string): void {
    const app = this.#apps.get(id);
    if (app === undefined) return;
    if (app.state.exit === null && app.state.error === null) {
      this.#log.warn({ process: id, processPid: app.state.pid }, "forget: it still runs, so it is kept");
      return;
    }
    this.#apps.delete(id);
    if (app.group === "alive") this.#leaving.add(app);
  }

  /** Ends every group: SIGTERM, SIGKILL after the grace. Resolves when none is left that could be ended. */
  async endAll(graceMs: number): Promise<void> {
    const ending = [...this.#apps.values(), ...this.#leaving].filter((app) => app.group === "alive");
    await Promise.all(ending.map((app) => this.#endGroup(app, graceMs)));
  }

  #start(spec: ProcessSpec): void {
    const startedAtMs = this.#clock.now();
    const failed = (why: string): void => {
      const state = { spec, pid: 0, startedAtMs, exit: null, error: why };
      this.#apps.set(spec.id, { state, startTicks: 0, group: "gone" });
      this.#events.changed(state);
    };
    const wrong = cwdError(spec.cwd);
    if (wrong !== null) {
      failed(wrong);
      return;
    }

    let output: number;
    try {
      mkdirSync(dirname(spec.outputFile), { recursive: true });
      output = openSync(spec.outputFile, "a", 0o640);
    } catch (error) {
      failed(`its output file can't be opened: ${messageOf(error)}`);
      return;
    }
    try {
      const [file = "", ...args] = spec.command;
      const child = spawn(file, args, {
        cwd: spec.cwd,
        env: { ...spec.env },
        detached: true,
        stdio: ["ignore", output, output],
      });
      child.on("error", (error) => {
        if (child.pid === undefined) failed(executeError(spec, error));
      });
      if (child.pid === undefined) return; // "error" follows
      const state = { spec, pid: child.pid, startedAtMs, exit: null, error: null };
      const app: App = { state, startTicks: procStat(child.pid)?.startTicks ?? 0, group: "alive" };
      this.#apps.set(spec.id, app);
      child.on("exit", (code, signal) => this.#exited(app, code, signal));
      this.#events.groups();
      this.#events.changed(state);
    } catch (error) {
      failed(executeError(spec, error));
    } finally {
      closeSync(output);
    }
  }

  #exited(app: App, code: number | null, signal: string | null): void {
    app.state = { ...app.state, exit: { code, signal, atMs: this.#clock.now() } };
    if (groupAlive(app.state.pid)) {
      this.#log.warn(
        { process: app.state.spec.id, processPid: app.state.pid },
        "it left processes behind; they are ended",
      );
      void this.#endGroup(app, TIMES.appGraceMs);
    } else {
      this.#gone(app);
    }
    this.#events.changed(app.state);
  }

  async #endGroup(app: App, graceMs: number): Promise<void> {
    const { pid } = app.state;
    for (const [signal, waitMs] of [
      ["SIGTERM", graceMs],
      ["SIGKILL", TIMES.promptGraceMs],
    ] as const) {
      if (app.group === "gone" || !signalGroup(pid, signal)) break;
      const until = this.#clock.monotonic() + waitMs;
      while (this.#stillThere(app) && this.#clock.monotonic() < until) {
        await new Promise<void>((resolve) => void this.#clock.after(POLL_MS, resolve));
      }
    }
    // After SIGKILL only zombies can be left, which nobody but their parent can take away.
    if (app.state.exit !== null) this.#gone(app);
  }

  #stillThere(app: App): boolean {
    if (app.state.exit !== null && !groupAlive(app.state.pid)) this.#gone(app);
    return app.group === "alive";
  }

  #gone(app: App): void {
    if (app.group === "gone") return;
    app.group = "gone";
    this.#leaving.delete(app);
    this.#events.groups();
  }
}

/** The system says ENOENT for a missing folder and for a missing program alike. */
function cwdError(cwd: string): string | null {
  try {
    return statSync(cwd).isDirectory() ? null : `its working directory is no directory: ${cwd}`;
  } catch (error) {
    return `its working directory can't be used: ${cwd}: ${(error as NodeJS.ErrnoException).code ?? messageOf(error)}`;
  }
}

const WHY: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  EACCES: "it is not executable for this user",
  E2BIG: "command and environment are too long",
  ENOEXEC: "it is no program that this machine can execute",
};

function executeError(spec: ProcessSpec, error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  return `can't execute ${spec.command[0] ?? "an empty command"}: ${WHY[code] ?? messageOf(error)}${code === "" ? "" : ` (${code})`}`;
}
