/**
 * A small disk of its own for one process's state, which can be filled up and can be made to stand still: an ext4 file
 * system in a file, mounted by loop. Filled, writes fail with ENOSPC; frozen (FIFREEZE), every write and fsync hangs in
 * the kernel until it is thawed, as on a disk that has stopped answering. Reads go on, as from a warm cache.
 *
 * Needs    root and a kernel with loop devices; `stallingDisksWork` says whether they are there, by trying.
 * Errors   a command that fails is an Error with what it printed.
 * Ending   disposal thaws and unmounts (lazily, if a process still has a file open there). The image stays beside the mount
 *          point, for whoever wants to look: `mount -o loop,ro`.
 *          A harness that is killed leaves it as it is: fsfreeze --unfreeze PATH, umount PATH.
 * Beware   what writes to a frozen disk hangs until it is thawed: `fill` and `empty` of this very process too.
 */
import { execFile } from "node:child_process";
import { statfsSync } from "node:fs";
import { mkdir, mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { find } from "./debian.ts";

const MIB = 1 << 20;
const BLOCK = 4_096;

export class StallingDisk implements AsyncDisposable {
  /** Where it is mounted. */
  readonly path: string;
  #frozen = false;

  private constructor(path: string) {
    this.path = path;
  }

  static async mount(path: string, mib = 48): Promise<StallingDisk> {
    const image = `${path}.img`;
    await mkdir(path, { recursive: true, mode: 0o700 });
    await writeFile(image, "");
    await truncate(image, mib * MIB);
    await run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", image);
    await run("mount", "-o", "loop,noatime", image, path);
    return new StallingDisk(path);
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  /** Nothing more fits, but for what overwrites. */
  async fill(): Promise<void> {
    const ballast = join(this.path, "ballast");
    let at = 0;
    for (let size = this.freeBytes; size >= BLOCK;) {
      const taken = await ran("fallocate", "--offset", String(at), "--length", String(size), ballast);
      if (taken.kind === "ok") at += size;
      else size = Math.floor(size / 2 / BLOCK) * BLOCK;
      size = Math.min(size, Math.max(this.freeBytes, BLOCK - 1));
    }
  }

  async empty(): Promise<void> {
    await rm(join(this.path, "ballast"), { force: true });
  }

  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.path);
    return bavail * bsize;
  }

  async freeze(): Promise<void> {
    await run("fsfreeze", "--freeze", this.path);
    this.#frozen = true;
  }

  async thaw(): Promise<void> {
    if (!this.#frozen) return;
    await run("fsfreeze", "--unfreeze", this.path);
    this.#frozen = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.thaw();
    if ((await ran("umount", this.path)).kind === "failed") await run("umount", "--lazy", this.path);
  }
}

/** "" when they work here, else why not. */
export async function stallingDisksWork(): Promise<string> {
  if (process.getuid?.() !== 0) return "mounting needs root";
  const folder = await mkdtemp(join(tmpdir(), "baton-disk-"));
  try {
    await using disk = await StallingDisk.mount(join(folder, "try"), 16);
    await disk.freeze();
    await disk.thaw();
    return "";
  } catch (error) {
    return (error as Error).message;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** In a process of its own, waited for without standing still: this process may be the one that measures. */
function ran(command: string, ...args: readonly string[]): Promise<{ kind: "ok" } | { kind: "failed"; why: string }> {
  return new Promise((done) => {
    execFile(find(command) ?? command, args, { timeout: 30_000 }, (error, _, stderr) => {
      if (error === null) done({ kind: "ok" });
      else done({ kind: "failed", why: `${command} ${args.join(" ")}: ${stderr.trim() || error.message}` });
    });
  });
}

async function run(command: string, ...args: readonly string[]): Promise<void> {
  const outcome = await ran(command, ...args);
  if (outcome.kind === "failed") throw new Error(outcome.why);
}
