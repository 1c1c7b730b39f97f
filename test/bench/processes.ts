/**
 * Programs under measurement: started on a chosen core, their CPU read from /proc, ended by pid with all their children.
 *
 * Units   CPU in seconds; the kernel hands it out in ticks of 10 ms (USER_HZ is 100 on every Linux that Node runs on),
 *         derived from the scheduler's exact runtime, so a sum over seconds is good to a tick.
 * Errors  one that ends too soon fails `failed`, with the last lines of its output.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { find } from "../support/debian.ts";

const TICKS_PER_SECOND = 100;
const STOP_MS = 10_000;

export interface Launch {
  readonly name: string;
  readonly command: readonly string[];
  readonly core: number;
  /** stdout and stderr go here. */
  readonly logFile: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface Program {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  /** Rejects when it ends before it was told to; never settles otherwise. */
  readonly failed: Promise<never>;
  stop(): Promise<void>;
}

export function launch(options: Launch): Program {
  const [command, ...args] = options.command;
  const path = find(command ?? "") ?? command ?? "";
  const log = openSync(options.logFile, "a");
  // Should the bench itself be killed, the kernel ends what it started: nothing is left on the machine.
  const child = spawn(
    "setpriv",
    ["--pdeathsig", "TERM", "taskset", "--cpu-list", String(options.core), path, ...args],
    { stdio: ["ignore", log, log], env: { ...process.env, ...options.env }, cwd: options.cwd },
  );
  closeSync(log);
  if (child.pid === undefined) throw new Error(`${options.name}: could not be started (setpriv, taskset: util-linux)`);
  let stopping = false;
  const exited = once(child, "exit") as Promise<[number | null, string | null]>;
  const failed = exited.then(([code, signal]) => {
    if (stopping) return new Promise<never>(() => undefined);
    throw new Error(`${options.name} ended by itself (${String(code ?? signal)}):\n${tail(options.logFile)}`);
  });
  failed.catch(() => undefined);
  return {
    name: options.name,
    pid: child.pid,
    logFile: options.logFile,
    failed,
    stop: async () => {
      stopping = true;
      await end(child, exited);
    },
  };
}

async function end(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const family = tree(child.pid ?? 0);
  child.kill("SIGTERM");
  const late = new AbortController();
  await Promise.race([exited, sleep(STOP_MS, undefined, { signal: late.signal }).catch(() => undefined)]);
  late.abort();
  for (const member of family) {
    // A pid alone may have been given to a stranger since: its start time tells.
    if (stat(member.pid)?.started === member.started) process.kill(member.pid, "SIGKILL");
  }
  await exited;
}

export const tail = (file: string): string => readFileSync(file, "utf8").trim().split("\n").slice(-10).join("\n");

interface Stat {
  readonly pid: number;
  readonly parent: number;
  /** Ticks since boot: with the pid, the identity of a process. */
  readonly started: number;
  /** Its own and that of the children it has reaped. */
  readonly cpuTicks: number;
}

function stat(pid: number): Stat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${String(pid)}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The second field is the name in parentheses and may hold anything; from the third on they are numbers (proc(5)).
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const field = (number: number): number => Number(fields[number - 3]);
  return { pid, parent: field(4), started: field(22), cpuTicks: field(14) + field(15) + field(16) + field(17) };
}

function tree(root: number): Stat[] {
  const all = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => stat(Number(name)))
    .filter((process) => process !== undefined);
  const found = all.filter((process) => process.pid === root);
  for (let at = 0; at < found.length; at++) found.push(...all.filter((process) => process.parent === found[at]!.pid));
  return found;
}

/** Seconds of CPU that a process and all its descendants, living and reaped, have used. */
export function treeCpuSeconds(root: number): number {
  return tree(root).reduce((sum, process) => sum + process.cpuTicks, 0) / TICKS_PER_SECOND;
}

/** The member of the tree that has used most CPU: under load, the one that carries the traffic. */
export function busiest(root: number): number {
  return tree(root).reduce((most, process) => (process.cpuTicks > most.cpuTicks ? process : most)).pid;
}

/** Seconds that a core was not idle since boot, whoever it was. */
export function coreBusySeconds(core: number): number {
  const line = readFileSync("/proc/stat", "latin1")
    .split("\n")
    .find((text) => text.startsWith(`cpu${String(core)} `));
  if (line === undefined) throw new Error(`/proc/stat knows no core ${String(core)}`);
  const [user, nice, system, , , irq, softirq, steal] = line.split(" ").slice(1).map(Number);
  return ((user ?? 0) + (nice ?? 0) + (system ?? 0) + (irq ?? 0) + (softirq ?? 0) + (steal ?? 0)) / TICKS_PER_SECOND;
}
