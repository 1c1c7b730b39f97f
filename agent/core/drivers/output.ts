/**
 * What apps print: one file an instance, written by the app itself (O_APPEND), so that no death of ours breaks its
 * pipes. Here it is read and kept small.
 *
 * Rotation  at LIMITS.outputFileBytes the file is copied to `.1` and cut to nothing: the app goes on writing to the same
 *           descriptor. Lines that come between copy and cut are lost; the end of the world it is not.
 * Kept      files of instances that are gone, the newest KEPT of them, for people; the rest is removed.
 * Errors    none: a file that can't be read has no lines.
 */
import {
  closeSync,
  copyFileSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
} from "node:fs";
import { join } from "node:path";
import { LIMITS } from "../../../proto/contract/limits.ts";
import type { Log } from "../../../proto/kernel/log.ts";

const KEPT = 16;
const TAIL_BYTES = 32 << 10;
// Terminal control would be carried out by whoever prints a report.

const CONTROL = /\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]/g;

export class OutputFiles {
  readonly #folder: string;
  readonly #log: Log;

  constructor(folder: string, log: Log) {
    this.#folder = folder;
    this.#log = log;
    mkdirSync(folder, { recursive: true });
  }

  path(instance: string): string {
    return join(this.#folder, `${instance}.log`);
  }

  /** Where what is printed from now on will begin. */
  size(instance: string): number {
    try {
      return statSync(this.path(instance)).size;
    } catch {
      return 0;
    }
  }

  /** The last lines, of those that begin at `from` or later; no more than LIMITS says, without terminal control. */
  tail(instance: string, from = 0): string[] {
    let fd: number;
    try {
      fd = openSync(this.path(instance), "r");
    } catch {
      return [];
    }
    try {
      const { size } = fstatSync(fd);
      const begin = Math.max(size >= from ? from : 0, size - TAIL_BYTES);
      const bytes = Buffer.alloc(Math.max(0, size - begin));
      const read = readSync(fd, bytes, 0, bytes.length, begin);
      return lastLines(bytes.subarray(0, read).toString("utf8"));
    } catch {
      return [];
    } finally {
      closeSync(fd);
    }
  }

  /** Keeps the files of `living` within their bound, and of the others only the newest. */
  tidy(living: ReadonlySet<string>): void {
    const old: { readonly path: string; readonly at: number }[] = [];
    for (const name of this.#names()) {
      const path = join(this.#folder, name);
      const instance = name.replace(/\.log(\.1)?$/, "");
      try {
        const { size, mtimeMs } = statSync(path);
        if (!living.has(instance)) old.push({ path, at: mtimeMs });
        else if (name.endsWith(".log") && size > LIMITS.outputFileBytes) this.#rotate(path);
      } catch (error) {
        this.#log.debug({ err: error, path }, "output file");
      }
    }
    old.sort((a, b) => b.at - a.at);
    for (const { path } of old.slice(KEPT)) rmSync(path, { force: true });
  }

  #rotate(path: string): void {
    copyFileSync(path, `${path}.1`);
    truncateSync(path, 0);
  }

  #names(): string[] {
    try {
      return readdirSync(this.#folder);
    } catch {
      return [];
    }
  }
}

export function lastLines(text: string): string[] {
  const lines = text.split("\n").map((line) => line.replace(CONTROL, "").trimEnd());
  while (lines.at(-1) === "") lines.pop();
  return lines.slice(-LIMITS.outputLines).map(clip);
}

function clip(line: string): string {
  const bytes = Buffer.from(line);
  if (bytes.length <= LIMITS.outputLineBytes) return line;
  // A cut in mid-character leaves U+FFFD, which is taken away; "…" needs 3 bytes.
  return `${bytes
    .subarray(0, LIMITS.outputLineBytes - 3)
    .toString("utf8")
    .replace(/\uFFFD$/, "")}…`;
}
