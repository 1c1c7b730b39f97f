/**
 * What happened that an operator should hear of, for reports and the admin. Numbered without a gap within a boot: of the
 * newest KEPT, whoever hears them can tell how many before were dropped unheard. The log has all of them.
 */
import type { Incident } from "../../proto/contract/report.ts";
import type { Clock } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";

/** As report.ts promises. */
const KEPT = 64;

export class Incidents {
  readonly #clock: Clock;
  readonly #log: Log;
  #list: readonly Incident[];
  #seq: number;

  constructor(clock: Clock, log: Log, before: readonly Incident[]) {
    this.#clock = clock;
    this.#log = log;
    this.#list = before;
    this.#seq = before.at(-1)?.seq ?? 0;
  }

  add(kind: Incident["kind"], service: string, message: string): void {
    this.#seq += 1;
    this.#log.warn({ incident: kind, service }, message);
    const incident = { seq: this.#seq, atMs: this.#clock.now(), kind, service, message };
    this.#list = [...this.#list, incident].slice(-KEPT);
  }

  list(): readonly Incident[] {
    return this.#list;
  }

  /** Of this boot, how many are not kept any more. */
  get dropped(): number {
    return this.#seq - this.#list.length;
  }
}
