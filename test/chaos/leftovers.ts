/** Processes of one run, found by the mark in their environment: whoever started them, and whoever has adopted them. */
import { readdirSync, readFileSync } from "node:fs";
import { titleOf } from "../support/proc.ts";

export interface Found {
  readonly pid: number;
  readonly title: string;
  /** Of the service's apps: their service and version. */
  readonly service: string;
  readonly version: string;
}

export function processesOf(run: string): readonly Found[] {
  const found: Found[] = [];
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const env = environOf(pid);
    if (env.get("CHAOS_RUN") !== run) continue;
    found.push({
      pid,
      title: titleOf(pid),
      service: env.get("CHAOS_SERVICE") ?? "",
      version: env.get("VERSION") ?? "",
    });
  }
  return found;
}

/** Empty for what has ended, or is another user's. */
function environOf(pid: number): ReadonlyMap<string, string> {
  try {
    const pairs = readFileSync(`/proc/${String(pid)}/environ`, "utf8").split("\0");
    return new Map(pairs.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]));
  } catch {
    return new Map();
  }
}
