/**
 * What a core leaves to the next one of the same boot (the keeper lives on): which process is which instance, which
 * record of the statistics is whose, what dead workers had counted. Of another boot's memory nothing is true any more but
 * which containers are whose: they run on when their agent is killed.
 *
 * Errors  damaged: set aside and named, as last-good.ts does; the new core then ends processes that it can't explain.
 */
import { join } from "node:path";
import type { Incident } from "../../../proto/contract/report.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import type { InstanceRecord } from "../instances/record.ts";
import type { StateFiles } from "../ports.ts";
import type { FoldedTotals } from "../stats/totals.ts";

export interface Remembered {
  readonly boot: string;
  readonly instances: readonly InstanceRecord[];
  /** Keys of slots.ts, by slot number. */
  readonly slots: readonly string[];
  readonly folded: FoldedTotals;
  readonly incidents: readonly Incident[];
  /** Listeners that a generation was asked for with, and the newest generation at that moment. */
  readonly generation: { readonly keys: readonly string[]; readonly above: number };
  /** Instances that requests were sent to. */
  readonly inService?: readonly string[];
  /** false: drained by hand. */
  readonly accepting: boolean;
  /** No report of this boot has a number above this: the next core goes on from here. */
  readonly reports: number;
}

const LAYOUT = 1;

export class Memory {
  readonly damage: string[] = [];
  readonly #files: StateFiles;
  readonly #path: string;
  readonly #log: Log;
  #written = "";

  constructor(files: StateFiles, folder: string, log: Log) {
    this.#files = files;
    this.#path = join(folder, "memory.json");
    this.#log = log;
  }

  /** Of another boot: what its keeper did not take along when it ended. */
  survivors: readonly InstanceRecord[] = [];
  /** Those of them that requests were sent to at its end; probes will say whether that still holds. */
  inService: ReadonlySet<string> = new Set();

  /** null: this is the boot's first core. */
  recall(boot: string): Remembered | null {
    const file = this.#files.read(this.#path);
    if (file.kind === "absent") return null;
    if (file.kind === "damaged") return this.#damaged(file.setAside, file.why);
    try {
      const { layout, held } = JSON.parse(file.content) as { layout?: number; held?: Remembered };
      if (layout !== LAYOUT || held === undefined) throw new Error(`its layout is ${String(layout)}`);
      if (held.boot === boot) return held;
      this.survivors = held.instances.filter(({ run }) => run.kind === "docker");
      this.inService = new Set(held.inService);
      return null;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      return this.#damaged(this.#files.setAside(this.#path, why), why);
    }
  }

  /** Writes only what is another than before. */
  keep(remembered: Remembered): void {
    const text = JSON.stringify({ layout: LAYOUT, held: remembered });
    if (text === this.#written) return;
    try {
      this.#files.write(this.#path, text);
      this.#written = text;
    } catch (error) {
      this.#log.error({ err: error, path: this.#path }, "memory can't be written; the next core will know less");
    }
  }

  #damaged(setAside: string, why: string): null {
    const sentence = `${this.#path} can't be used: ${why}; it is kept as ${setAside}, and the agent goes on without it`;
    this.damage.push(sentence);
    return null;
  }
}
