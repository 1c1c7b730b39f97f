/**
 * Which record of the statistics file belongs to which (service, version, endpoint). A number is never given to another
 * within a boot: counts of living and dead workers are added up by it.
 *
 * Bounds  LIMITS.statSlots; when they are used up, an endpoint is counted in its service's own record, and is said so once.
 */
import { LIMITS } from "../../../proto/contract/limits.ts";
import type { Log } from "../../../proto/kernel/log.ts";

export interface SlotOwner {
  readonly service: string;
  readonly version: string;
  /** "" for what reached no endpoint. */
  readonly endpoint: string;
}

// None of the names may hold it.
const SEPARATOR = "\n";

export class Slots {
  readonly #keys: string[];
  readonly #numbers = new Map<string, number>();
  readonly #log: Log;
  #full = false;

  constructor(keys: readonly string[], log: Log) {
    this.#keys = [...keys];
    this.#log = log;
    keys.forEach((key, slot) => this.#numbers.set(key, slot));
  }

  of(service: string, version: string, endpoint: string): number {
    const key = keyOf(service, version, endpoint);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    // One is kept back for each service to come.
    const reserve = endpoint === "" ? 0 : LIMITS.servicesPerAgent;
    if (this.#keys.length >= LIMITS.statSlots - reserve) {
      if (!this.#full) this.#log.error({ slots: this.#keys.length }, "statistics are full: endpoints share a record");
      this.#full = true;
      return this.#numbers.get(keyOf(service, "", "")) ?? 0;
    }
    this.#keys.push(key);
    this.#numbers.set(key, this.#keys.length - 1);
    return this.#keys.length - 1;
  }

  has(service: string, version: string, endpoint: string): boolean {
    return this.#numbers.has(keyOf(service, version, endpoint));
  }

  /** -1 when it has none. */
  find(service: string, version: string, endpoint: string): number {
    return this.#numbers.get(keyOf(service, version, endpoint)) ?? -1;
  }

  owners(): SlotOwner[] {
    return this.#keys.map((key) => {
      const [service = "", version = "", endpoint = ""] = key.split(SEPARATOR);
      return { service, version, endpoint };
    });
  }

  /** What the next core continues from. */
  keys(): readonly string[] {
    return this.#keys;
  }
}

const keyOf = (...parts: readonly string[]): string => parts.join(SEPARATOR);
