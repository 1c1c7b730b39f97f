/** A copy of the product with a mutant's edits, and the simulation let loose on it until it finds something. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Mutant } from "./mutants.ts";

export interface Verdict {
  readonly found: boolean;
  readonly seconds: number;
  /** The first thing found, or what the run ended with. */
  readonly text: string;
}

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");
const COPIED = ["control", "proto", "test/sim", "package.json"];

export function tryMutant(mutant: Mutant, withinMs: number): Verdict {
  const folder = mkdtempSync(join(tmpdir(), "mutant-"));
  try {
    for (const part of COPIED) cpSync(join(ROOT, part), join(folder, part), { recursive: true });
    symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
    for (const { file, text, instead } of mutant.edits) {
      const path = join(folder, file);
      const before = readFileSync(path, "utf8");
      const times = before.split(text).length - 1;
      if (times !== 1) throw new Error(`${mutant.name}: ${file} has ${times} times: ${text}`);
      writeFileSync(
        path,
        before.replace(text, () => instead),
      );
    }
    const began = performance.now();
    const args = [join(folder, "test/sim/main.ts"), "--seeds", "1000000", "--rollouts", "20", "--largest", "8"];
    const run = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8", timeout: withinMs });
    const seconds = (performance.now() - began) / 1_000;
    const lines = run.stdout.split("\n");
    const at = lines.findIndex((line) => line.startsWith("seed ") && line.endsWith("hosts:"));
    const text = at === -1 ? (run.stderr.split("\n").at(-2) ?? "nothing") : (lines[at + 1] ?? "");
    return { found: run.status === 1 && text.includes(mutant.invariant), seconds, text };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
