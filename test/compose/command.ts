/**
 * Commands that are run to their end: docker, docker-compose, cargo.
 *
 * Errors  `run` rejects with CommandFailed: the command, how it ended, and the last of what it said. A command that is
 *         not over in time is killed, and ends like one that failed.
 */
import { spawn } from "node:child_process";
import { ROOT } from "../support/processes.ts";

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly timeoutMs?: number;
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class CommandFailed extends Error {}

const TIMEOUT_MS = 120_000;
const KEPT = 200_000;
const TAIL = 3_000;

/** What it printed, without the last newline. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const ran = await attempt(command, args, options);
  if (ran.code === 0) return ran.stdout.trimEnd();
  const said = `${ran.stdout}${ran.stderr}`.trim().slice(-TAIL);
  throw new CommandFailed(`${command} ${args.join(" ")} ended with ${String(ran.code)}:\n${said}`);
}

/** The same, where a failure is an answer. */
export function attempt(command: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd ?? ROOT,
      env: { ...process.env, ...options.env },
      stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      timeout: options.timeoutMs ?? TIMEOUT_MS,
      killSignal: "SIGKILL",
      // Ctrl-C is for the one who tears down, not for the command that it waits for.
      detached: true,
    });
    const out = { stdout: "", stderr: "" };
    for (const stream of ["stdout", "stderr"] as const) {
      child[stream]
        ?.setEncoding("utf8")
        .on("data", (text: string) => (out[stream] = (out[stream] + text).slice(-KEPT)));
    }
    child.stdin?.on("error", () => undefined).end(options.input);
    child.once("error", (error) => reject(new CommandFailed(`${command} can't be run: ${error.message}`)));
    child.once("close", (code, signal) => {
      const why = signal === null ? "" : `\n(killed: ${signal})`;
      resolve({ code: code ?? 137, stdout: out.stdout, stderr: out.stderr + why });
    });
  });
}
