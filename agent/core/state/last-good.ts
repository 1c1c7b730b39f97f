/**
 * What outlives the agent: the last assignment that was live, the highest fence ever seen, and the ports that the kernel
 * chose for listeners. From these an agent starts with no controller in sight, on the same ports.
 *
 * Files   assignment.json, fence.json, ports.json in the state folder, each checksummed and replaced whole (RACES C8).
 * Errors  a damaged file is set aside and named in `damage`; the agent goes on without it. A write that fails (full
 *         disk) is logged and tried again every AGAIN_MS: what is live is live and said to be, because the traffic does
 *         not wait for a disk; a restart before then begins with what was kept before it.
 */
import { join } from "node:path";
import type { Assignment, Fence } from "../../../proto/contract/assignment.ts";
import { assignmentHash } from "../../../proto/contract/canonical.ts";
import type { Millis } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import type { StateFiles } from "../ports.ts";

const LAYOUT = 1;
const AGAIN_MS = 5_000;
export type SourceKind = "static" | "controller";

export class LastGood {
  /** One sentence for each file that could not be used. */
  readonly damage: string[] = [];
  readonly #files: StateFiles;
  readonly #log: Log;
  readonly #path: (name: string) => string;
  readonly #source: SourceKind;
  #fence: Fence;
  #ports: Record<string, number>;
  readonly #assignment: Assignment | null;
  /** What could not be written, the newest of each file. */
  readonly #unwritten = new Map<string, unknown>();
  #again: Millis = 0;

  constructor(files: StateFiles, folder: string, source: SourceKind, log: Log) {
    this.#files = files;
    this.#log = log;
    this.#source = source;
    this.#path = (name) => join(folder, name);
    this.#assignment = this.#load("assignment.json", (held) => {
      const { source: from, assignment } = held as { source?: SourceKind; assignment?: Assignment };
      if (assignment === undefined || !Array.isArray(assignment.services)) throw new Error("it holds no assignment");
      if (assignmentHash(assignment.services) !== assignment.hash) throw new Error("its hash is not its content's");
      if (from === source) return assignment;
      log.warn({ from, now: source }, "the last good assignment came from elsewhere, and is not used");
      return null;
    });
    // A static source numbers its own assignments: there is nobody to fence off.
    const fence = source === "static" ? null : this.#load("fence.json", readFence);
    this.#fence = newest(fence ?? NOTHING, this.#assignment ?? NOTHING);
    this.#ports = this.#load("ports.json", (held) => held as Record<string, number>) ?? {};
  }

  get assignment(): Assignment | null {
    return this.#assignment;
  }

  /** The highest (epoch, generation) ever seen (I4). */
  get fence(): Fence {
    return this.#fence;
  }

  saveFence(fence: Fence): void {
    if (!isBelow(this.#fence, fence)) return;
    this.#fence = { epoch: fence.epoch, generation: fence.generation };
    if (this.#source === "controller") this.#save("fence.json", this.#fence);
  }

  saveAssignment(assignment: Assignment): void {
    this.#save("assignment.json", { source: this.#source, assignment });
  }

  /** The port that a listener of this name had before, 0 if none. */
  port(name: string): number {
    return this.#ports[name] ?? 0;
  }

  savePorts(ports: ReadonlyMap<string, number>): void {
    const changed = [...ports].filter(([name, port]) => this.#ports[name] !== port);
    if (changed.length === 0) return;
    this.#ports = { ...this.#ports, ...Object.fromEntries(changed) };
    this.#save("ports.json", this.#ports);
  }

  /** What could not be written before; to be called now and then. */
  writeAgain(now: Millis): void {
    if (this.#unwritten.size === 0 || now < this.#again) return;
    this.#again = now + AGAIN_MS;
    for (const [name, held] of [...this.#unwritten]) this.#save(name, held);
  }

  #load<T>(name: string, read: (held: unknown) => T): T | null {
    const path = this.#path(name);
    const file = this.#files.read(path);
    switch (file.kind) {
      case "absent":
        return null;
      case "damaged":
        this.#damaged(path, file.setAside, file.why);
        return null;
      case "ok":
        try {
          const { layout, ...held } = JSON.parse(file.content) as { layout?: number; held?: unknown };
          if (layout !== LAYOUT) throw new Error(`its layout is ${String(layout)}, this reads ${LAYOUT}`);
          return read(held.held);
        } catch (error) {
          const why = error instanceof Error ? error.message : String(error);
          this.#damaged(path, this.#files.setAside(path, why), why);
          return null;
        }
    }
  }

  #damaged(path: string, setAside: string, why: string): void {
    const sentence = `${path} can't be used: ${why}; it is kept as ${setAside}, and the agent goes on without it`;
    this.damage.push(sentence);
  }

  #save(name: string, held: unknown): void {
    const path = this.#path(name);
    try {
      this.#files.write(path, JSON.stringify({ layout: LAYOUT, held }));
    } catch (error) {
      const known = this.#unwritten.has(name);
      this.#unwritten.set(name, held);
      if (!known) {
        this.#log.error(
          { err: error, path },
          "state can't be written, and is tried again; a restart will not know of it",
        );
      }
      return;
    }
    if (this.#unwritten.delete(name)) this.#log.info({ path }, "state is written again");
  }
}

function readFence(held: unknown): Fence {
  const { epoch, generation } = held as Partial<Fence>;
  if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(generation)) throw new Error("it holds no fence");
  return { epoch, generation } as Fence;
}

const NOTHING: Fence = { epoch: 0, generation: 0 };
export const isBelow = (a: Fence, b: Fence): boolean =>
  a.epoch < b.epoch || (a.epoch === b.epoch && a.generation < b.generation);
const newest = (a: Fence, b: Fence): Fence => (isBelow(a, b) ? b : a);
