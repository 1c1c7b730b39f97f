/**
 * A small disk of its own for one process's state, which can be filled up and can be made to stand still: an ext4 file
 * system in a file, mounted by loop. Filled, writes fail with ENOSPC; frozen (FIFREEZE), every write and fsync hangs in
 * the kernel until it is thawed, as on a disk that has stopped answering. Reads go on, as from a warm cache.
 *
 * Needs    root and a kernel with loop devices; `stallingDisksWork` says whether they are there, by trying.
 * Errors   a command that fails is an Error with what it printed.
 * Ending   disposal thaws and unmounts (lazily, if a process still has a file open there). The image stays beside the mount
 *          point, for whoever wants to look: `mount -o loop,ro`.
 * Beware   what writes to a frozen disk hangs until it is thawed: `fill` and `empty` of this very process too.
 */
import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
  writeSync,
  openSync,
  closeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { find } from "./debian.ts";

const MIB = 1 << 20;

export class StallingDisk implements AsyncDisposable {
  /** Where it is mounted. */
  readonly path: string;
  readonly #image: string;
  #frozen = false;

  constructor(path: string, mib = 48) {
    this.path = path;
    this.#image = `${path}.img`;
    mkdirSync(path, { recursive: true, mode: 0o700 });
    writeFileSync(this.#image, "");
    truncateSync(this.#image, mib * MIB);
    run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", this.#image);
    run("mount", "-o", "loop,noatime", this.#image, path);
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  /** Nothing more fits, but for what overwrites. */
  fill(): void {
    const file = openSync(join(this.path, "ballast"), "a");
    const block = Buffer.alloc(64 << 10);
    try {
      for (let size = block.length; size >= 512; size /= 2) {
        while (written(file, block.subarray(0, size)));
      }
    } finally {
      closeSync(file);
    }
  }

  empty(): void {
    rmSync(join(this.path, "ballast"), { force: true });
  }

  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.path);
    return bavail * bsize;
  }

  freeze(): void {
    run("fsfreeze", "--freeze", this.path);
    this.#frozen = true;
  }

  thaw(): void {
    if (!this.#frozen) return;
    this.#frozen = false;
    run("fsfreeze", "--unfreeze", this.path);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.thaw();
    if (spawnSync(find("umount") ?? "umount", [this.path]).status !== 0) run("umount", "--lazy", this.path);
    return Promise.resolve();
  }
}

function written(file: number, bytes: Buffer): boolean {
  try {
    return writeSync(file, bytes) > 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    return false;
  }
}

/** "" when they work here, else why not. */
export async function stallingDisksWork(): Promise<string> {
  if (process.getuid?.() !== 0) return "mounting needs root";
  const folder = mkdtempSync(join(tmpdir(), "baton-disk-"));
  try {
    await using disk = new StallingDisk(join(folder, "try"), 16);
    disk.freeze();
    disk.thaw();
    return "";
  } catch (error) {
    return (error as Error).message;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function run(command: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(find(command) ?? command, args, { encoding: "utf8", timeout: 30_000 });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? stderr.trim()}`);
}
