/**
 * The newest table, and how far the workers are with it. *Live* means: every worker that lives, draining ones too (their
 * kept-alive connections route by it), has said that it routes by it, and one that accepts on all listeners serves. What a
 * killed keeper left behind routes by what it last had, so that at a gateway nothing is live before that is gone: a host
 * that it still sends to would be confirmed to be out of routing. At a host it routes to apps that are left too, and that
 * end after it.
 *
 * Generations  workers get their listeners at their start, so a new listener needs a new generation. Which listeners the
 *              newest one was asked for with is remembered for the next core; the table is sent first.
 */
import type { TableConfig } from "../../proxy/config.ts";
import type { KeeperLink } from "../keeper-link.ts";
import type { TableParts } from "./table.ts";

export interface AskedGeneration {
  readonly keys: readonly string[];
  /** Only a worker of a later generation than this has them. */
  readonly above: number;
}

export class WorkerTables {
  readonly #link: KeeperLink;
  #asked: AskedGeneration;
  #askedBefore: AskedGeneration;
  #table: TableConfig;
  #content = "";

  constructor(link: KeeperLink, before: TableConfig | null, asked: AskedGeneration) {
    this.#link = link;
    // The core before may have died between noting and saying it.
    const came = [...link.workers.values()].some(({ generation }) => generation > asked.above);
    this.#asked = came ? asked : { ...asked, keys: [] };
    this.#askedBefore = this.#asked;
    // A new core says the table again under a new number, and so learns who has it.
    this.#table = before ?? { sequence: 0, agent: link.options.name, listeners: [], services: [] };
  }

  get table(): TableConfig {
    return this.#table;
  }

  get asked(): AskedGeneration {
    return this.#asked;
  }

  /** Sends it if it says anything new; answers its number. */
  update(parts: TableParts): number {
    const content = JSON.stringify(parts);
    if (content !== this.#content) {
      this.#content = content;
      this.#table = { sequence: this.#table.sequence + 1, agent: this.#link.options.name, ...parts };
      this.#link.table(this.#table);
    }
    return this.#table.sequence;
  }

  /** Asks for a generation when some listener has no workers that accept on it, or when `anew`. Answers whether it did. */
  ensureGeneration(anew = false): boolean {
    const keys = this.#table.listeners.map(({ key }) => key);
    if (!anew && keys.every((key) => this.#asked.keys.includes(key))) return false;
    let above = this.#asked.above;
    for (const { generation } of this.#link.workers.values()) above = Math.max(above, generation);
    this.#askedBefore = this.#asked;
    this.#asked = { keys, above };
    return true;
  }

  /** To be said after `asked` is on disk. */
  startGeneration(): void {
    this.#link.generation(this.#link.options.workers);
  }

  /** It was given up, and the one before goes on: with the listeners that it has. */
  generationFailed(): void {
    this.#asked = this.#askedBefore;
  }

  isLive(sequence: number): boolean {
    if (this.#link.leftovers && this.#link.options.role === "gateway") return false;
    const workers = [...this.#link.workers.values()].filter(({ phase }) => phase !== "starting");
    return workers.every(({ applied }) => applied >= sequence) && (this.#table.listeners.length === 0 || this.serves());
  }

  anyServing(): boolean {
    return [...this.#link.workers.values()].some(({ phase }) => phase === "serving");
  }

  /** Somebody accepts on every listener. */
  serves(): boolean {
    return [...this.#link.workers.values()].some(
      ({ phase, generation }) => phase === "serving" && generation > this.#asked.above,
    );
  }
}

/** Those that a table sends new requests to; of a weight of 0, what is routed there. */
export function servingEndpoints(table: TableConfig | null): Set<string> {
  const serving = new Set<string>();
  for (const { versions } of table?.services ?? []) {
    for (const { endpoints } of versions) for (const { id, mode } of endpoints) if (mode === "serving") serving.add(id);
  }
  return serving;
}
