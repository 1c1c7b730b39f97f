/**
 * Which process is which, over restarts of ours: a pid alone is reused, a pid with its start time is not.
 *
 * Units   `startTicks` is field 22 of /proc/<pid>/stat: clock ticks from the machine's boot.
 * Errors  null for a process that is gone, and for every process where there is no /proc (not Linux): then nothing can
 *         be proven, and nothing is ended by pid.
 * Source  proc_pid_stat(5).
 */
import { readFileSync, readdirSync, readlinkSync, statSync } from "node:fs";

export interface ProcStat {
  readonly pid: number;
  /** R, S, D, Z, … */
  readonly state: string;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  readonly startTicks: number;
}

export function procStat(pid: number): ProcStat | null {
  const text = read(`/proc/${String(pid)}/stat`);
  return text === null ? null : parseStat(text);
}

/** The name, in brackets, may itself hold blanks and brackets: what follows its last one is plain. */
export function parseStat(text: string): ProcStat | null {
  const close = text.lastIndexOf(")");
  const pid = Number.parseInt(text, 10);
  const rest = text
    .slice(close + 1)
    .trim()
    .split(" ");
  const number = (field: number): number => Number(rest[field - 3] ?? Number.NaN);
  const stat = { pid, state: rest[0] ?? "", parent: number(4), group: number(5), session: number(6) };
  const startTicks = number(22);
  return close > 0 && Number.isInteger(pid) && Number.isInteger(startTicks) ? { ...stat, startTicks } : null;
}

/** Zombies are gone: they do nothing more, and only their parent can take them away. */
export function isAlive(pid: number, startTicks: number): boolean {
  const stat = procStat(pid);
  return stat !== null && stat.startTicks === startTicks && stat.state !== "Z";
}

export function allProcesses(): ProcStat[] {
  let names: string[];
  try {
    names = readdirSync("/proc");
  } catch {
    return [];
  }
  return names.flatMap((name) => (/^\d+$/.test(name) ? (procStat(Number(name)) ?? []) : []));
}

/** Does the process write its output to this file? What tells an app's own children from strangers. */
export function writesTo(pid: number, file: string): boolean {
  // By device and inode: the path on record may lead through a symbolic link.
  const wanted = inode(file);
  return wanted !== null && [1, 2].some((fd) => inode(`/proc/${String(pid)}/fd/${String(fd)}`) === wanted);
}

/** Pids and ticks mean something only within one boot of the machine and one pid namespace. */
export function processSpace(): string {
  return `${read("/proc/sys/kernel/random/boot_id")?.trim() ?? "?"} ${link("/proc/self/ns/pid") ?? "?"}`;
}

/** Whether a process of the group was there to be signalled. */
export function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  if (group <= 1) return false; // kill(-1) is everybody
  try {
    process.kill(-group, signal);
    return true;
  } catch {
    return false; // ESRCH: nobody there. EPERM: not ours any more.
  }
}

/** Zombies are no members: who adopted them may never take them away. */
export function groupAlive(group: number): boolean {
  if (!signalGroup(group, 0)) return false;
  const all = allProcesses();
  return all.length === 0 || all.some((one) => one.group === group && one.state !== "Z");
}

export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    if (pid > 1) process.kill(pid, signal);
  } catch {
    // Gone already.
  }
}

function read(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

function inode(path: string): string | null {
  try {
    const { dev, ino } = statSync(path);
    return `${String(dev)}:${String(ino)}`;
  } catch {
    return null;
  }
}

function link(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}
