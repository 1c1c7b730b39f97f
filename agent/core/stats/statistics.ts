/**
 * Reads what the workers count, and takes dead ones in. Totals are as old as the last `refresh`.
 *
 * Errors  none: a living worker's file that can't be read now leaves its last reading; a dead one's is said in its incident.
 */
import type { Log } from "../../../proto/kernel/log.ts";
import type { DeadWorker } from "../../keeper/protocol.ts";
import { CAUSES_END, COUNTER } from "../../proxy/stats-layout.ts";
import type { Incidents } from "../incidents.ts";
import type { KeeperLink } from "../keeper-link.ts";
import { readCounts } from "./read.ts";
import type { Slots } from "./slots.ts";
import { Counts } from "./totals.ts";
import type { FoldedTotals, Totals } from "./totals.ts";

export class Statistics {
  readonly #link: KeeperLink;
  readonly #slots: Slots;
  readonly #incidents: Incidents;
  readonly #log: Log;
  readonly #counts: Counts;
  #totals: Totals;

  constructor(link: KeeperLink, slots: Slots, incidents: Incidents, folded: FoldedTotals, log: Log) {
    this.#link = link;
    this.#slots = slots;
    this.#incidents = incidents;
    this.#log = log;
    this.#counts = new Counts(folded);
    this.#totals = this.#counts.totals();
  }

  get totals(): Totals {
    return this.#totals;
  }

  get folded(): FoldedTotals {
    return this.#counts.folded();
  }

  refresh(): void {
    const used = this.#slots.keys().length;
    for (const { id, statsFile } of this.#link.workers.values()) this.#counts.living(id, readCounts(statsFile, used));
    this.#totals = this.#counts.totals();
  }

  /** Dead workers whose counts are in the totals now; the keeper may be told `taken` once they are on disk. */
  takeIn(dead: Iterable<DeadWorker>): number[] {
    const taken: number[] = [];
    for (const worker of dead) {
      taken.push(worker.id);
      if (this.#counts.isFolded(worker.id)) continue; // the core before had, and died before it said so
      const last = readCounts(worker.statsFile, this.#slots.keys().length);
      if (last === null) this.#log.warn({ worker: worker.id, file: worker.statsFile }, "a dead worker left no counts");
      const cut = this.#counts.fold(worker.id, last);
      if (worker.died || cut.length > 0) this.#tell(worker, cut, last === null);
    }
    if (taken.length > 0) this.#totals = this.#counts.totals();
    return taken;
  }

  endpoint(service: string, version: string, id: string): { readonly inFlight: number; readonly started: number } {
    const slot = this.#slots.find(service, version, id);
    if (slot < 0) return { inFlight: 0, started: 0 };
    const counters = this.#totals.counters(slot);
    return { inFlight: counters[COUNTER.inFlight] ?? 0, started: counters[COUNTER.started] ?? 0 };
  }

  /** Over all services and endpoints. */
  inFlight(): number {
    let all = 0;
    this.#slots.keys().forEach((_, slot) => (all += this.#totals.counters(slot)[COUNTER.inFlight] ?? 0));
    return all;
  }

  /** Lost or cut, over all services and endpoints and causes. */
  lost(): number {
    let all = 0;
    this.#slots.keys().forEach((_, slot) => {
      const counters = this.#totals.counters(slot);
      for (let cause = COUNTER.lost; cause < CAUSES_END; cause++) all += counters[cause] ?? 0;
    });
    return all;
  }

  #tell(worker: DeadWorker, cut: readonly { slot: number; inFlight: number }[], unread: boolean): void {
    const owners = this.#slots.owners();
    const { exit } = worker;
    const how = exit.signal === null ? `exited with ${String(exit.code)}` : `was killed by ${exit.signal}`;
    const rows = cut.map(({ slot, inFlight }) => {
      const { service = "?", version = "", endpoint = "" } = owners[slot] ?? {};
      return { service, text: `${inFlight} in flight on ${[service, version, endpoint].filter(Boolean).join(" ")}` };
    });
    const lost = rows.length === 0 ? "nothing was in flight on it" : `cut: ${rows.map(({ text }) => text).join(", ")}`;
    const services = new Set(rows.map(({ service }) => service));
    const [only = ""] = services.size === 1 ? services : [];
    const what = unread && rows.length === 0 ? "its counts could not be read" : lost;
    this.#incidents.add("worker_died", only, `worker ${worker.id} ${how}; ${what}`);
  }
}
