/**
 * Programs that come from Debian's packages: looked for first, installed when this is a Debian and we are root, else
 * named in one line with what to do.
 *
 * Errors  `ensurePrograms` throws one Error whose message is meant for the person at the terminal.
 * Daemons installed on the way are kept from starting by a `policy-rc.d` that refuses (the documented way, see
 * /usr/share/doc/init-system-helpers): a web server must not end up on port 80 because a test wanted its binary.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, rmSync, statSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";

export interface Program {
  readonly command: string;
  /** Debian's name for the package that holds it. */
  readonly debian: string;
  readonly why: string;
}

const POLICY = "/usr/sbin/policy-rc.d";
const INSTALL_TIMEOUT_MS = 10 * 60_000;

/** The path of a command, or undefined. A plain user's PATH lacks the sbin folders, where daemons live. */
export function find(command: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin", "/usr/local/sbin"];
  return folders
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, command))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Installs what is missing, where that is ours to do; says what it does on stderr, and nothing when all is there. */
export function ensurePrograms(programs: readonly Program[]): void {
  const missing = programs.filter((program) => find(program.command) === undefined);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((program) => program.debian))];
  const list = missing.map((program) => `${program.command} (${program.why})`).join(", ");
  if (find("apt-get") === undefined || process.getuid?.() !== 0) {
    throw new Error(
      `missing: ${list}. Install it first; on Debian or Ubuntu: sudo apt-get install ${packages.join(" ")}`,
    );
  }
  process.stderr.write(`installing ${packages.join(", ")} from Debian, for ${list}\n`);
  install(packages);
  const still = missing.filter((program) => find(program.command) === undefined);
  if (still.length > 0)
    throw new Error(`apt-get installed ${packages.join(", ")}, yet ${still[0]!.command} is not found`);
}

function install(packages: readonly string[]): void {
  const ownPolicy = !existsSync(POLICY);
  if (ownPolicy) writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    aptGet(["update"]);
    aptGet(["install", "--yes", "--no-install-recommends", ...packages]);
  } finally {
    if (ownPolicy) rmSync(POLICY, { force: true });
  }
}

function aptGet(args: readonly string[]): void {
  const run = spawnSync("apt-get", ["--quiet", "-o", "DPkg::Lock::Timeout=120", ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" },
    stdio: ["ignore", "pipe", "pipe"],
    encoding: "utf8",
    timeout: INSTALL_TIMEOUT_MS,
  });
  if (run.status === 0) return;
  const words = `${run.stdout}${run.stderr}`.trim().split("\n").slice(-5).join("\n");
  throw new Error(`apt-get ${args.join(" ")} failed (${String(run.status ?? run.signal)}):\n${words}`);
}
