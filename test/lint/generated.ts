/**
 * `npm run generate:check`: the committed proto/gen is what buf makes of the .proto files now. Generates beside it, in a
 * temp folder, and touches nothing.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./files.ts";

const GEN = "proto/gen";

function run(command: string, args: readonly string[]): { readonly ok: boolean; readonly output: string } {
  const done = spawnSync(command, args, { cwd: ROOT, encoding: "utf8" });
  if (done.error !== undefined) return { ok: false, output: done.error.message };
  return { ok: done.status === 0, output: `${done.stdout}${done.stderr}`.trim() };
}

const folder = mkdtempSync(join(tmpdir(), "baton-gen-"));
try {
  const generated = run(join(ROOT, "node_modules/.bin/buf"), ["generate", "--output", folder]);
  const same = generated.ok ? run("diff", ["--recursive", "--brief", join(folder, GEN), GEN]) : generated;
  if (!same.ok) {
    process.stderr.write(`${same.output}\n${generated.ok ? `${GEN} is stale: npm run generate, and commit it\n` : ""}`);
    process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
