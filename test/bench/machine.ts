/** What a figure was measured on, and which core does what. */
import { spawnSync } from "node:child_process";
import { availableParallelism, cpus, release } from "node:os";
import { find } from "../support/debian.ts";
import type { Program } from "../support/debian.ts";

export const PROGRAMS = {
  wrk: { command: "wrk", debian: "wrk", why: "the load" },
  nginx: { command: "nginx", debian: "nginx-light", why: "the upstream, and a peer" },
  haproxy: { command: "haproxy", debian: "haproxy", why: "a peer" },
} as const satisfies Record<string, Program>;

export interface Cores {
  readonly proxy: number;
  readonly load: number;
  readonly upstream: number;
}

/** The proxy alone on the first core; load and upstream share the second, or take one each where there is a third. */
export function cores(): Cores {
  const count = availableParallelism();
  if (count < 2) throw new Error("the bench needs two cores: one for the proxy, one for the load and the upstream");
  return { proxy: 0, load: 1, upstream: count > 2 ? 2 : 1 };
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly kernel: string;
  readonly versions: Readonly<Record<string, string>>;
}

export function machine(): Machine {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? "unknown",
    cores: all.length,
    kernel: release(),
    versions: {
      node: process.versions.node,
      haproxy: version("haproxy", ["-v"], /version (\S+)/i),
      nginx: version("nginx", ["-v"], /nginx\/(\S+)/),
      wrk: version("wrk", ["-v"], /wrk (\S+)/),
    },
  };
}

export function machineLine(it: Machine): string {
  const versions = Object.entries(it.versions).map(([name, text]) => `${name} ${text}`);
  return `${it.cpu}, ${String(it.cores)} cores, Linux ${it.kernel}; ${versions.join(", ")}`;
}

function version(command: string, args: readonly string[], pattern: RegExp): string {
  const path = find(command);
  if (path === undefined) return "absent";
  const run = spawnSync(path, args, { encoding: "utf8" });
  return pattern.exec(`${run.stdout}${run.stderr}`)?.[1] ?? "unknown";
}
