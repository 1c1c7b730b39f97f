/** A process's children and names, read from /proc: how tests find a worker, a core or an app to kill. Linux only. */
import { readdirSync, readFileSync } from "node:fs";

export function childrenOf(pid: number): readonly number[] {
  const text = read(`/proc/${pid}/task/${pid}/children`);
  return text
    .split(" ")
    .filter((word) => word !== "")
    .map(Number);
}

/** What `ps` shows: the title that the process gave itself, or its command. "" when it has ended. */
export function titleOf(pid: number): string {
  return read(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim();
}

/** The agent's own parts and the apps that it runs, by the keeper's pid. */
export function partsOf(keeper: number): { core: number[]; workers: number[]; apps: number[] } {
  const parts: { core: number[]; workers: number[]; apps: number[] } = { core: [], workers: [], apps: [] };
  for (const pid of childrenOf(keeper)) {
    const title = titleOf(pid);
    if (/baton[- ]core|agent\/core\/main/.test(title)) parts.core.push(pid);
    else if (/baton[- ]worker|agent\/worker\/main/.test(title)) parts.workers.push(pid);
    else if (title !== "") parts.apps.push(pid);
  }
  return parts;
}

/** Whether every thread has stopped: a signal to stop is felt by each of them in its own time. */
export function isStopped(pid: number): boolean {
  const tasks = readdirSync(`/proc/${pid}/task`);
  return tasks.every((task) => /\) [TtZX] /.test(read(`/proc/${pid}/task/${task}/stat`)));
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return "";
    throw error;
  }
}
