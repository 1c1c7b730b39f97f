/**
 * The process driver: what the keeper is asked to start for one instance. The app is told where to listen by PORT and
 * HOST, and which instance it is by BATON_*; of the agent's own environment it gets a small base only.
 *
 * The port is the kernel's choice, taken by binding 0 and closing again. Another program may get it in between: an app
 * that dies with EADDRINUSE is started again on another port (instance.ts).
 */
import { createServer } from "node:net";
import { resolve } from "node:path";
import type { ProcessRun, RunSpec } from "../../../proto/contract/spec/types.ts";
import type { ProcessSpec, ProcessState } from "../../keeper/protocol.ts";
import type { KeeperLink } from "../keeper-link.ts";
import type { CheckResult } from "../probes/check.ts";
import { APP_ADDRESS, ownVariables } from "./driver.ts";
import type { Driver, RunRequest, RunState } from "./driver.ts";
import type { OutputFiles } from "./output.ts";

/** What an app inherits, where set; everything else of the agent's environment is the agent's business. */
const INHERITED = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"] as const;

export function baseEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  const base: Record<string, string> = {};
  for (const name of INHERITED) {
    const value = environment[name];
    if (value !== undefined) base[name] = value;
  }
  return base;
}

export interface LaunchRequest {
  readonly processId: string;
  readonly instance: string;
  readonly service: string;
  readonly version: string;
  readonly host: string;
  readonly port: number;
  readonly run: ProcessRun;
  readonly base: Readonly<Record<string, string>>;
  readonly outputFile: string;
}

export function processSpec(asked: LaunchRequest): ProcessSpec {
  return {
    id: asked.processId,
    command: asked.run.command,
    cwd: resolve(asked.run.cwd),
    env: {
      ...asked.base,
      ...asked.run.env,
      ...ownVariables(asked, asked.host, { address: APP_ADDRESS, port: asked.port }),
    },
    outputFile: asked.outputFile,
  };
}

/** A port that was free a moment ago. Rejects when the kernel has none. */
export type PickPort = () => Promise<number>;

export const pickPort: PickPort = () =>
  new Promise((done, fail) => {
    const server = createServer();
    server.on("error", fail);
    server.listen({ host: APP_ADDRESS, port: 0 }, () => {
      const address = server.address();
      server.close(() => done(typeof address === "object" && address !== null ? address.port : 0));
    });
  });

/** How programs of any language say that their port is taken. */
export const saysPortTaken = (lines: readonly string[]): boolean =>
  lines.some((line) => /EADDRINUSE|address (is )?already in use|port (is )?already (in use|allocated)/i.test(line));

export interface ProcessWorld {
  readonly link: Pick<KeeperLink, "launch" | "kill" | "forget" | "processes" | "options">;
  readonly pickPort: PickPort;
  readonly output: OutputFiles;
  readonly host: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** Runs are the keeper's processes, and it knows each of them at every moment. */
export class ProcessDriver implements Driver {
  readonly #world: ProcessWorld;

  constructor(world: ProcessWorld) {
    this.#world = world;
  }

  /** The same port again, so that who still knows it finds the new process. */
  port(_run: RunSpec, last: number): Promise<number> {
    return last > 0 ? Promise.resolve(last) : this.#world.pickPort();
  }

  launch({ id, run, ...asked }: RunRequest): void {
    if (run.kind !== "process") return;
    const { link, environment: base, host, output } = this.#world;
    link.launch(processSpec({ ...asked, processId: id, run, host, base, outputFile: output.path(asked.instance) }));
  }

  adopt({ id }: RunRequest): RunState | undefined {
    const process = this.#world.link.processes.get(id);
    return process === undefined ? undefined : runOfProcess(process);
  }

  kill(id: string, signal: "SIGTERM" | "SIGKILL"): void {
    this.#world.link.kill(id, signal);
  }

  forget(id: string): void {
    this.#world.link.forget(id);
  }

  health(): CheckResult {
    return { ok: false, why: "a process has no health check of its own" };
  }
}

export const runOfProcess = ({ spec, pid, startedAtMs, exit, error }: ProcessState): RunState => ({
  ...{ id: spec.id, pid, startedAtMs, exit, error },
  address: APP_ADDRESS,
  port: Number(spec.env["PORT"] ?? 0),
});
