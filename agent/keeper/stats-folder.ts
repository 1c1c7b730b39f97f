/**
 * Where the workers of this boot keep their statistics files (agent/proxy/stats-layout.ts): memory that outlives the
 * process, /dev/shm where it can be written, else the keeper's own folder. Folders of keepers that are gone are swept.
 *
 * A folder in /dev/shm may belong to an agent in another container that shares it: `owner.json` says in which pid space
 * its keeper lives, and only those of our own are judged.
 */
import { mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Log } from "../../proto/kernel/log.ts";
import { messageOf } from "./log.ts";
import { isAlive, processSpace, procStat } from "./proc.ts";

const SHARED = "/dev/shm";
/** A folder without an owner is a keeper that is just starting, or one that died just then. */
const OWNERLESS_MS = 60_000;

export interface StatsFolder {
  readonly path: string;
  file(worker: number): string;
  remove(): void;
}

export function createStatsFolder(own: string, boot: string, log: Log, shared = SHARED): StatsFolder {
  const prefix = `baton-${String(process.getuid?.() ?? 0)}-`;
  sweep(shared, prefix, log);
  for (const name of list(own))
    if (name.startsWith("stats-")) rmSync(join(own, name), { recursive: true, force: true });

  const path = make(join(shared, prefix + boot)) ?? make(join(own, `stats-${boot}`));
  if (path === null) throw new Error(`no statistics folder can be made in ${shared} nor in ${own}`);
  const startTicks = procStat(process.pid)?.startTicks ?? 0;
  writeFileSync(join(path, "owner.json"), JSON.stringify({ pid: process.pid, startTicks, space: processSpace() }));
  return {
    path,
    file: (worker) => join(path, `worker-${String(worker)}`),
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}

function sweep(shared: string, prefix: string, log: Log): void {
  for (const name of list(shared).filter((entry) => entry.startsWith(prefix))) {
    const path = join(shared, name);
    try {
      if (!abandoned(path)) continue;
      rmSync(path, { recursive: true, force: true });
      log.info({ path }, "swept the statistics of an agent that is gone");
    } catch (error) {
      log.debug({ path, why: messageOf(error) }, "a statistics folder could not be looked at");
    }
  }
}

function abandoned(path: string): boolean {
  let text: string;
  try {
    text = readFileSync(join(path, "owner.json"), "utf8");
  } catch {
    return Date.now() - statSync(path).mtimeMs > OWNERLESS_MS;
  }
  const owner = JSON.parse(text) as { pid: number; startTicks: number; space: string };
  return owner.space === processSpace() && owner.startTicks > 0 && !isAlive(owner.pid, owner.startTicks);
}

function make(path: string): string | null {
  try {
    mkdirSync(path, { mode: 0o700 });
    return path;
  } catch {
    return null;
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
