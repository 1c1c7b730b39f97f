/**
 * A number from a program's output. It is started without a shell, in a process group of its own; what is measured
 * stands in its arguments (`{{canary}}`) and in its environment (BATON_SERVICE, BATON_ROLLOUT, BATON_CANARY,
 * BATON_STABLE, BATON_METRIC). The last line that it prints is the number; NaN says that there is no data. Another exit
 * code than 0 is an error, told with its last words on stderr.
 *
 * Bounds  its time, then SIGKILL to the group, which also goes to whatever it leaves behind when it ends; 1 MiB of
 *         output. A child that has left the group (setsid) lives on, but is not waited for.
 * Errors  none thrown.
 */
import type { ChildProcessByStdio } from "node:child_process";
import { spawn } from "node:child_process";
import type { Readable } from "node:stream";
import type { CommandSource } from "../../proto/contract/spec/analysis.ts";
import { formatDuration } from "../../proto/contract/units.ts";
import type { Clock, Timer } from "../../proto/kernel/clock.ts";
import { failed, fill, numeric } from "./source.ts";
import type { Outcome, Subject } from "./source.ts";

/** The leave to run commands, with what that takes of the process. */
export interface Leave {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** SIGKILL to the process group; one that is gone already is no error. */
  killGroup(group: number): void;
}

export const NO_LEAVE =
  "the controller does not run commands: start it with --analysis-commands to let service documents name programs for it to run";

const LARGEST_OUTPUT = 1 << 20;
/** What is kept of the end of each stream: the number's line, and the last words. */
const KEPT = 8 << 10;
/** How long output is waited for that a child outside the group may still hold open. */
const LINGER_MS = 250;

export function runCommand(
  source: CommandSource,
  subject: Subject,
  { clock, signal, leave }: { readonly clock: Clock; readonly signal: AbortSignal; readonly leave: Leave | null },
): Promise<Outcome> {
  if (leave === null) return Promise.resolve(failed(NO_LEAVE));
  const [program = "", ...args] = source.command.map((word) => fill(word, subject, (value) => value));
  const child = start(program, args, { ...leave.env, ...told(subject) });
  if (child instanceof Error) return Promise.resolve(failed(`${program} can't be run: ${child.message}`));
  const { pid } = child;
  return new Promise((resolve) => {
    /** Why it was killed; "" when it was not. */
    let killed = "";
    let exited = false;
    let linger: Timer | null = null;
    const settle = (outcome: Outcome): void => {
      timer.cancel();
      linger?.cancel();
      signal.removeEventListener("abort", aborted);
      resolve(outcome);
    };
    const dead = (): Outcome => failed(`${program} ${killed}${lastWords(errors())}`);
    /** Not waited for any longer: output held open from outside the group, or a process that no signal ends. */
    const release = (): void => {
      child.stdout.destroy();
      child.stderr.destroy();
      if (!exited) settle(dead());
    };
    const kill = (why: string): void => {
      // Once it is reaped, its number may be another's.
      if (exited || killed !== "" || pid === undefined) return;
      killed = why;
      leave.killGroup(pid);
      linger = clock.after(LINGER_MS, release);
    };
    const timer = clock.after(source.timeoutMs, () => kill(`took longer than ${formatDuration(source.timeoutMs)}`));
    const aborted = (): void => kill("was stopped: the measurement is not wanted any more");
    signal.addEventListener("abort", aborted, { once: true });

    let size = 0;
    const count = (bytes: number): void => {
      size += bytes;
      if (size > LARGEST_OUTPUT) kill(`printed more than ${LARGEST_OUTPUT >> 20} MiB`);
    };
    const output = tail(child.stdout, count);
    const errors = tail(child.stderr, count);
    child.once("error", (error: NodeJS.ErrnoException) => {
      const why = error.code === "ENOENT" ? "there is no such program" : error.message;
      settle(failed(`${program} can't be run: ${why}`));
    });
    child.once("exit", () => {
      exited = true;
      // What it started and left behind would hold the output open, and would be nobody's.
      if (pid !== undefined) leave.killGroup(pid);
      linger?.cancel();
      linger = clock.after(LINGER_MS, release);
    });
    child.once("close", (code, by) => {
      if (killed !== "") settle(dead());
      else if (code !== 0) settle(failed(`${program} ended with ${ending(code, by)}${lastWords(errors())}`));
      else settle(lastNumber(program, output()));
    });
    if (signal.aborted) aborted();
  });
}

type Child = ChildProcessByStdio<null, Readable, Readable>;

function start(program: string, args: readonly string[], env: Leave["env"]): Child | Error {
  try {
    return spawn(program, args, { env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    return error as Error;
  }
}

const told = ({ service, rollout, canary, stable, metric }: Subject): Readonly<Record<string, string>> => ({
  BATON_SERVICE: service,
  BATON_ROLLOUT: rollout,
  BATON_CANARY: canary,
  BATON_STABLE: stable,
  BATON_METRIC: metric,
});

const ending = (code: number | null, by: NodeJS.Signals | null): string =>
  code === null ? `signal ${String(by)}` : `exit code ${code}`;

/** Reads all of it and keeps the end. */
function tail(stream: Readable, count: (bytes: number) => void): () => string {
  let kept = Buffer.alloc(0);
  stream.on("data", (chunk: Buffer) => {
    count(chunk.length);
    kept = Buffer.concat([kept, chunk]).subarray(-KEPT);
  });
  stream.on("error", () => undefined); // "close" follows
  return () => kept.toString("utf8");
}

const linesOf = (text: string): readonly string[] =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");

const WORDS = 3;

function lastWords(text: string): string {
  const lines = linesOf(text).slice(-WORDS);
  return lines.length === 0 ? "" : `: ${lines.join(" | ")}`;
}

const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const NOT_FINITE = /^(nan|[+-]?inf(inity)?)$/i;

function lastNumber(program: string, text: string): Outcome {
  const last = linesOf(text).at(-1);
  if (last === undefined) return failed(`${program} printed nothing, where its last line is to be a number`);
  if (NOT_FINITE.test(last)) return numeric(NaN, `what ${program} printed`);
  if (!DECIMAL.test(last)) return failed(`the last line of ${program} is no number: ${last}`);
  return numeric(Number(last), `what ${program} printed`);
}
