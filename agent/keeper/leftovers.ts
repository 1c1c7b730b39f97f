/**
 * What a keeper that was killed left behind. Every start and end of a process is written to `processes.json`; the next
 * keeper on the same state folder lets the workers finish and then ends the apps, while it already serves anew.
 *
 * Never a stranger: a process is signalled only if pid and start time are those on record, in the same boot of the machine
 * and the same pid namespace. Of a group whose leader is gone, only members that write to the app's output file.
 * The file is replaced by a rename, without fsync: it need not outlive the machine, whose end ends them all. A process
 * started in the instant before the keeper is killed, and not yet on record, is not found.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Clock, Millis } from "../../proto/kernel/clock.ts";
import { sleep } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";
import { messageOf } from "./log.ts";
import { allProcesses, isAlive, processSpace, procStat, signalGroup, signalProcess, writesTo } from "./proc.ts";
import { TIMES } from "./times.ts";

const POLL_MS = 50;

export interface Recorded {
  readonly kind: "keeper" | "core" | "worker" | "app";
  readonly id: string;
  readonly pid: number;
  readonly startTicks: number;
  /** Apps only. */
  readonly outputFile?: string;
}

interface ProcessFile {
  readonly space: string;
  readonly processes: readonly Recorded[];
}

export function recordProcesses(file: string, processes: readonly Recorded[]): void {
  const content: ProcessFile = { space: processSpace(), processes };
  writeFileSync(`${file}.tmp`, JSON.stringify(content, null, 1), { mode: 0o600 });
  renameSync(`${file}.tmp`, file);
}

export function recorded(kind: Recorded["kind"], id: string, pid: number): Recorded {
  return { kind, id, pid, startTicks: procStat(pid)?.startTicks ?? 0 };
}

/** Those of the record that can be told to be the very same processes; empty when there is no record. */
export function readProcesses(file: string, log: Log): readonly Recorded[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return [];
  }
  try {
    const content = JSON.parse(text) as ProcessFile;
    if (content.space === processSpace()) return content.processes.filter((p) => p.pid > 1 && p.startTicks > 0);
    log.info({ file }, "the recorded processes are of another boot or container");
  } catch (error) {
    log.warn({ file, why: messageOf(error) }, "the record of processes can't be read; nothing is ended by it");
  }
  return [];
}

/** What was left behind by the keeper before, until it is gone. */
export class Leftovers {
  readonly #clock: Clock;
  readonly #log: Log;
  #all: readonly Recorded[];

  constructor(file: string, clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
    this.#all = readProcesses(file, log).filter((one) => one.kind !== "keeper" && isThere(one));
  }

  /** Those still there: they stay on record. */
  pending(): readonly Recorded[] {
    return this.#all;
  }

  /** They still route what they carry, and by a table that nobody changes any more. */
  get workers(): boolean {
    return this.#all.some(({ kind }) => kind === "worker");
  }

  /** It has the ports that it listened on for as long as it takes to end: long, when it is frozen. */
  get core(): boolean {
    return this.#all.some(({ kind }) => kind === "core");
  }

  /**
   * Workers have closed their listeners when they lost their keeper, and may finish what they carry while the new
   * generation already serves.
   */
  async finish(): Promise<void> {
    await this.#gone(
      (one) => one.kind !== "app",
      TIMES.leftoverGraceMs,
      "left by the agent before; waiting for it to finish",
    );
  }

  /** After the workers, which need them. */
  async endApps(): Promise<void> {
    for (const one of this.#all) endApp(one, "SIGTERM");
    await this.#gone(() => true, TIMES.appGraceMs, "left by the agent before; told to end");
  }

  kill(): void {
    for (const one of this.#all) {
      if (one.kind === "app") endApp(one, "SIGKILL");
      else signalProcess(one.pid, "SIGKILL");
    }
  }

  /** Waits until they are gone; what is not by then is killed. */
  async #gone(which: (one: Recorded) => boolean, graceMs: Millis, what: string): Promise<void> {
    for (const { kind, id, pid } of this.#all.filter(which)) this.#log.warn({ kind, id, leftover: pid }, what);
    if (await this.#within(which, graceMs)) return;
    for (const { kind, id, pid } of this.#all.filter(which))
      this.#log.warn({ kind, id, leftover: pid }, "it did not end in time; killed");
    for (const one of this.#all.filter(which)) {
      if (one.kind === "app") endApp(one, "SIGKILL");
      else signalProcess(one.pid, "SIGKILL");
    }
    await this.#within(which, TIMES.promptGraceMs);
  }

  async #within(which: (one: Recorded) => boolean, ms: Millis): Promise<boolean> {
    const until = this.#clock.monotonic() + ms;
    for (;;) {
      this.#all = this.#all.filter(isThere);
      if (!this.#all.some(which)) return true;
      if (this.#clock.monotonic() >= until) return false;
      await sleep(this.#clock, POLL_MS);
    }
  }
}

const isThere = (one: Recorded): boolean =>
  isAlive(one.pid, one.startTicks) || (one.kind === "app" && orphans(one).length > 0);

function endApp(one: Recorded, signal: NodeJS.Signals): void {
  if (isAlive(one.pid, one.startTicks)) signalGroup(one.pid, signal);
  else for (const { pid } of orphans(one)) signalProcess(pid, signal);
}

/** Members of the group of an app that has itself ended. */
function orphans(one: Recorded): { readonly pid: number }[] {
  if (procStat(one.pid) !== null && isAlive(one.pid, one.startTicks)) return [];
  return allProcesses().filter(
    (p) =>
      p.group === one.pid &&
      p.session === one.pid &&
      p.pid !== one.pid &&
      p.state !== "Z" &&
      p.startTicks >= one.startTicks &&
      one.outputFile !== undefined &&
      writesTo(p.pid, one.outputFile),
  );
}
