/**
 * The ten hottest functions of Baton's worker, by self time, from V8's own sampling profiler (`--cpu-prof`, a file a
 * process at its exit). It stands apart from the measured rounds, since sampling costs.
 *
 * `(program)` is time outside JavaScript: system calls, libuv, the kernel's TCP. `(idle)` is left out of the shares.
 */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { align } from "./report.ts";

const ROWS = 10;
const SAMPLING_MICROS = 500;

export const profileEnv = (folder: string): Readonly<Record<string, string>> => ({
  NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${folder} --cpu-prof-interval=${String(SAMPLING_MICROS)}`,
});

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** `pid` is the process that carried the traffic; its profile's file is named after it. */
export function hottest(folder: string, pid: number): string {
  const file = readdirSync(folder).find(
    (name) => name.split(".").includes(String(pid)) && name.endsWith(".cpuprofile"),
  );
  if (file === undefined) {
    const found = readdirSync(folder).join(", ");
    throw new Error(`process ${String(pid)} left no profile: it did not end by itself (found: ${found || "none"})`);
  }
  const profile = JSON.parse(readFileSync(join(folder, file), "utf8")) as CpuProfile;
  return topSelf(profile);
}

export function topSelf(profile: CpuProfile): string {
  const names = new Map(profile.nodes.map((node) => [node.id, label(node.callFrame)]));
  const self = new Map<string, number>();
  profile.samples.forEach((id, at) => {
    const name = names.get(id) ?? "?";
    self.set(name, (self.get(name) ?? 0) + (profile.timeDeltas[at] ?? 0));
  });
  self.delete("(idle)");
  const total = [...self.values()].reduce((sum, micros) => sum + micros, 0);
  const top = [...self].toSorted((a, b) => b[1] - a[1]).slice(0, ROWS);
  return align([["function", "self %"], ...top.map(([name, micros]) => [name, ((micros / total) * 100).toFixed(1)])]);
}

function label(frame: CpuProfile["nodes"][number]["callFrame"]): string {
  const name = frame.functionName === "" ? "(anonymous)" : frame.functionName;
  if (frame.url === "") return name;
  const url = frame.url.startsWith("file://") ? frame.url.split("/").slice(-3).join("/") : frame.url;
  return `${name}  ${url}:${String(frame.lineNumber + 1)}`;
}
