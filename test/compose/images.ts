/**
 * The images of the compose cluster: Baton's own, and the demo app's two, v1 on Node and v2 in Axum.
 *
 *   npx node test/compose/images.ts [PREFIX]      baton-demo:v1, baton-demo:v2, baton; a prefix stands before each name
 *
 * The Axum program is built by this machine's cargo (1.85 or later) and linked statically, so that neither a Rust image
 * nor the machine's C library matters; what cargo makes is kept in the user's cache folder.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { ensurePrograms, find } from "../support/debian.ts";
import { ROOT } from "../support/processes.ts";
import { run } from "./command.ts";

export interface Images {
  readonly baton: string;
  /** Without a tag: v1 and v2 are its versions. */
  readonly demo: string;
}

const BUILD_MS = 15 * 60_000;
const AXUM = join(ROOT, "test", "apps", "axum");

export function imagesOf(prefix: string): Images {
  return { baton: `${prefix}baton`, demo: `${prefix}baton-demo` };
}

export async function buildImages({ baton, demo }: Images, say: (line: string) => void): Promise<void> {
  const timed = async (what: string, build: () => Promise<unknown>): Promise<void> => {
    const from = performance.now();
    await build();
    say(`${what}: ${((performance.now() - from) / 1_000).toFixed(1)} s`);
  };
  let axum = "";
  // They stand in each other's way on a small machine: one after another.
  await timed("the Axum program", async () => (axum = await buildAxum()));
  await timed(`image ${demo}:v2 (Axum)`, () => axumImage(axum, `${demo}:v2`));
  await timed(`image ${baton}`, () => dockerBuild(["-t", baton, "."]));
  await timed(`image ${demo}:v1 (Node)`, () =>
    dockerBuild(["-f", "test/apps/demo/Dockerfile", "-t", `${demo}:v1`, "."]),
  );
}

export async function removeImages({ baton, demo }: Images): Promise<void> {
  // Not by force: what a container still uses stays, and is told of.
  await run("docker", ["image", "rm", baton, `${demo}:v1`, `${demo}:v2`]);
}

function dockerBuild(args: readonly string[]): Promise<string> {
  return run("docker", ["build", "--quiet", "--network", "host", ...args], { timeoutMs: BUILD_MS });
}

async function axumImage(program: string, image: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "baton-axum-"));
  try {
    cpSync(program, join(folder, "demo-axum"));
    cpSync(join(AXUM, "Dockerfile"), join(folder, "Dockerfile"));
    await dockerBuild(["-t", image, folder]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The program's path. */
async function buildAxum(): Promise<string> {
  const cargo = findCargo();
  const target = join(cacheFolder(), "axum");
  mkdirSync(target, { recursive: true });
  // Named, even where it is this machine's own: otherwise the flags are for proc macros too, which can't be static.
  const triple = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-unknown-linux-gnu`;
  await run(cargo, ["build", "--release", "--locked", "--target", triple], {
    cwd: AXUM,
    env: {
      CARGO_TARGET_DIR: target,
      RUSTFLAGS: "-C target-feature=+crt-static",
      // cargo calls rustc by name.
      PATH: `${join(homedir(), ".cargo", "bin")}${delimiter}${process.env["PATH"] ?? ""}`,
    },
    timeoutMs: BUILD_MS,
  });
  return join(target, triple, "release", "demo-axum");
}

function cacheFolder(): string {
  const cache = process.env["XDG_CACHE_HOME"] ?? "";
  return join(cache === "" ? join(homedir(), ".cache") : cache, "baton");
}

/** rustup's stands beside the PATH; Debian 12's `cargo` is too old, its newer one is called cargo-web. */
function findCargo(): string {
  const own = join(homedir(), ".cargo", "bin", "cargo");
  if (existsSync(own)) return own;
  const bookworm = existsSync("/etc/os-release") && /^VERSION_ID="12"/m.test(readFileSync("/etc/os-release", "utf8"));
  const why = "the demo app's v2 is a Rust program";
  ensurePrograms([
    { command: "cargo", debian: bookworm ? "cargo-web" : "cargo", why },
    // The C library's archive, and a linker.
    { command: "cc", debian: "gcc", why },
  ]);
  const cargo = find("cargo") ?? "cargo";
  const said = spawnSync(cargo, ["--version"], { encoding: "utf8" }).stdout;
  const [, minor = "0"] = /^cargo 1\.(\d+)/.exec(said) ?? [];
  if (Number(minor) < 85) throw new Error(`${why} and needs cargo 1.85 or later; this is ${said.trim()}`);
  return cargo;
}

if (import.meta.main) {
  try {
    await buildImages(imagesOf(process.argv[2] ?? ""), (line) => process.stdout.write(`${line}\n`));
  } catch (error) {
    process.stderr.write(`images: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
