/**
 * I4, by the logs: what every agent has applied, and which epochs it has met, over all its lives; and which controller
 * took which epoch. A log is read as it grows; no line is missed between two looks, as one of an address would be.
 *
 *   an agent's applied (epoch, generation) never goes back, over restarts too (a restart says its last one again; after
 *   one whose disk was full, the last that it could keep)
 *   the epochs of its sessions never go back
 *   an epoch belongs to one controller's one start
 */
import { closeSync, existsSync, fstatSync, openSync, readSync } from "node:fs";
import { z } from "zod";

const applied = z.object({ msg: z.literal("assignment applied"), epoch: z.number(), generation: z.number() });
const leads = z.object({ msg: z.literal("leads"), epoch: z.number() });
const started = z.object({ msg: z.enum(["agent started", "core started"]) });
const unkept = z.object({ err: z.object({ message: z.string().startsWith("ENOSPC") }) });
const keptAgain = z.object({ msg: z.literal("state is written again") });
const session = z.object({ msg: z.literal("session open"), epoch: z.number() });

/** A log's new lines since the last look. */
export class Tail {
  readonly #file: string;
  #at = 0;
  #rest = "";

  constructor(file: string) {
    this.#file = file;
  }

  lines(): readonly string[] {
    if (!existsSync(this.#file)) return [];
    const file = openSync(this.#file, "r");
    try {
      const { size } = fstatSync(file);
      const bytes = Buffer.alloc(Math.max(0, size - this.#at));
      this.#at += readSync(file, bytes, 0, bytes.length, this.#at);
      const parts = (this.#rest + bytes.toString("utf8")).split("\n");
      this.#rest = parts.pop() ?? "";
      return parts;
    } finally {
      closeSync(file);
    }
  }
}

interface Pair {
  readonly epoch: number;
  readonly generation: number;
}

export class Epochs {
  readonly #agents: readonly { readonly name: string; readonly tail: Tail }[];
  readonly #controllers: readonly { readonly name: string; readonly tail: Tail }[];
  readonly #applied = new Map<string, Pair>();
  /** Agents that could not keep what they applied last. */
  readonly #unkept = new Set<string>();
  readonly #sessions = new Map<string, number>();
  readonly #owners = new Map<number, string>();
  /** Assignments seen to be applied. */
  seen = 0;

  constructor(
    agents: readonly { readonly name: string; readonly logFile: string }[],
    controllers: readonly { readonly name: string; readonly logFile: string }[],
  ) {
    const tailed = ({ name, logFile }: { readonly name: string; readonly logFile: string }) => ({
      name,
      tail: new Tail(logFile),
    });
    this.#agents = agents.map(tailed);
    this.#controllers = controllers.map(tailed);
  }

  get epochs(): ReadonlyMap<number, string> {
    return this.#owners;
  }

  /** A sentence for each promise that is broken. */
  look(): readonly string[] {
    return [
      ...this.#agents.flatMap(({ name, tail }) => tail.lines().flatMap((line) => this.#agent(name, line))),
      ...this.#controllers.flatMap(({ name, tail }) => tail.lines().flatMap((line) => this.#controller(name, line))),
    ];
  }

  #agent(name: string, line: string): readonly string[] {
    const said = parsed(line);
    if (unkept.safeParse(said).success) this.#unkept.add(name);
    else if (keptAgain.safeParse(said).success) this.#unkept.delete(name);
    else if (started.safeParse(said).success && this.#unkept.delete(name)) this.#applied.delete(name);
    const one = applied.safeParse(said);
    if (one.success) {
      this.seen += 1;
      const { epoch, generation } = one.data;
      const last = this.#applied.get(name);
      this.#applied.set(name, { epoch, generation });
      const back = last !== undefined && (epoch < last.epoch || (epoch === last.epoch && generation < last.generation));
      if (back) return [`I4: ${name} applied ${pair({ epoch, generation })} after ${pair(last)}`];
    }
    const open = session.safeParse(said);
    if (open.success) {
      const last = this.#sessions.get(name) ?? 0;
      this.#sessions.set(name, open.data.epoch);
      if (open.data.epoch < last) {
        return [`I4: ${name} opened a session of epoch ${String(open.data.epoch)} after ${String(last)}`];
      }
    }
    return [];
  }

  #controller(name: string, line: string): readonly string[] {
    // Alone it says so as it starts; one of several logs it whenever it comes to lead.
    const led = leads.safeParse(parsed(line));
    const alone = Number(/^baton control: gRPC on .*, epoch (\d+)/.exec(line)?.[1] ?? 0);
    const epoch = led.success ? led.data.epoch : alone;
    if (epoch === 0) return [];
    const owner = this.#owners.get(epoch);
    this.#owners.set(epoch, name);
    return owner === undefined ? [] : [`double leader: epoch ${String(epoch)} was taken by ${owner} and by ${name}`];
  }
}

const pair = ({ epoch, generation }: Pair): string => `(${String(epoch)}, ${String(generation)})`;

function parsed(line: string): unknown {
  if (!line.startsWith("{")) return null;
  try {
    return JSON.parse(line);
  } catch {
    return null; // a process that is killed in mid-line
  }
}
