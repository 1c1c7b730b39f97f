/**
 * The wall clock of one process tree, moved while it runs, by libfaketime (Debian: faketime). CLOCK_MONOTONIC stays as it
 * is: that is what an NTP step, a resumed virtual machine or an operator's `date -s` does.
 *
 * Delay    the library looks at its file each second (of what it asks the kernel anyway).
 * Cost     a lock a reading of the clock: nothing to measure speed by.
 */
import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { ensurePrograms } from "./debian.ts";

export class SteppedClock {
  /** For the process that is to have this clock; its children inherit it. */
  readonly env: Readonly<Record<string, string>>;
  readonly #file: string;

  constructor(file: string, library: string) {
    this.#file = file;
    this.env = {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      FAKETIME_CACHE_DURATION: "1",
      NO_FAKE_STAT: "1",
    };
    this.step(0);
  }

  /** So far from the machine's time, milliseconds. */
  step(ms: number): void {
    writeFileSync(this.#file, `${ms < 0 ? "-" : "+"}${String(Math.abs(ms) / 1_000)}\n`);
  }
}

/** The library's path, or "" and why it can't be had. */
export function faketime(): { readonly library: string; readonly why: string } {
  try {
    ensurePrograms([{ command: "faketime", debian: "faketime", why: "to step one process's clock" }]);
  } catch (error) {
    return { library: "", why: (error as Error).message };
  }
  const folders = readdirSync("/usr/lib", { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const found = folders
    .map(({ name }) => `/usr/lib/${name}/faketime/libfaketimeMT.so.1`)
    .find((file) => existsSync(file));
  return found === undefined
    ? { library: "", why: "libfaketimeMT.so.1 is not where Debian has it" }
    : { library: found, why: "" };
}

/** What the library leaves behind of a process that was killed. */
export function sweepFaketime(pid: number): void {
  for (const name of [`faketime_shm_${String(pid)}`, `sem.faketime_sem_${String(pid)}`]) {
    rmSync(`/dev/shm/${name}`, { force: true });
  }
}
