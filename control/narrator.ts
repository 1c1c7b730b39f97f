/**
 * Events, for people: what happened in the fleet and to the controller itself, kept in the store and said in the log.
 * Telling never holds anything up: an event that can't be stored is in the log all the same.
 */
import { LIMITS } from "../proto/contract/limits.ts";
import type { Hello } from "../proto/contract/session.ts";
import type { Clock } from "../proto/kernel/clock.ts";
import type { Log } from "../proto/kernel/log.ts";
import type { FleetNews } from "./fleet/fleet.ts";
import type { Books } from "./ledger/books.ts";
import { eventChange } from "./registry.ts";
import type { Registry } from "./registry.ts";
import type { Serial } from "./serial.ts";
import type { Change } from "./store/store.ts";

export interface NarratorOptions {
  readonly registry: Registry;
  readonly serial: Serial;
  readonly clock: Clock;
  readonly log: Log;
}

export class Narrator {
  readonly #o: NarratorOptions;
  /** Told, and not on its way to the store yet: stored in one batch when their turn comes. */
  #waiting: Change[] = [];

  constructor(options: NarratorOptions) {
    this.#o = options;
  }

  event(kind: string, host: string, message: string, service = "", level: "info" | "error" = "info"): void {
    const { clock, log } = this.#o;
    log[level]({ kind, host, service }, message);
    const first = this.#waiting.length === 0;
    this.#waiting.push(eventChange({ atMs: clock.now(), kind, host, service, message }));
    if (first) this.#store();
  }

  /** A thousand hosts may be lost at once: what is told until the turn comes costs one write to the disk, not each its own. */
  #store(): void {
    const { registry, serial, log } = this.#o;
    let batch: readonly Change[] = [];
    serial
      .run(() => {
        batch = this.#waiting;
        this.#waiting = [];
        return registry.commit(batch);
      })
      .catch((error: unknown) => {
        log.warn({ err: error, events: batch.length }, "events could not be stored");
      });
  }

  /** On servers that others look after it may have been deleted; that can't be told from a first start. */
  emptyStore(): void {
    const message =
      `the store on ${this.#o.registry.description} is empty: a first start, or what it held was deleted. Agents that ` +
      "serve anything are left as they are until their services are applied again";
    this.event("store_empty", "", message);
  }

  /** `id`: this controller's name among several, "" for one that stands alone. */
  started(
    epoch: number,
    damaged: { readonly setAside: string; readonly why: string } | null,
    active: number,
    id: string,
  ): void {
    const { registry } = this.#o;
    if (damaged !== null) {
      const message =
        `the store was damaged (${damaged.why}) and is set aside as ${damaged.setAside}; this controller starts with ` +
        "an empty one. Agents that serve anything are left as they are until their services are applied again";
      this.event("store_set_aside", "", message, "", "error");
    }
    const resumed = active === 0 ? "" : `; ${active} rollout(s) under way go on`;
    const leads = id === "" ? "" : `${id} leads: `;
    this.event("controller_started", "", `${leads}epoch ${epoch} on ${registry.description}${resumed}`);
  }

  /** An agent has seen an epoch that is not below ours: another controller's, or ours from before the store was lost. */
  async raiseEpoch({ host, highestEpoch }: Hello): Promise<number> {
    const { registry } = this.#o;
    // Others may have come with the same news while this one waited its turn; one raise is enough for all.
    if (highestEpoch < registry.epoch) return registry.epoch;
    const before = registry.epoch;
    const epoch = await registry.raiseEpoch(highestEpoch);
    this.event("epoch_raised", host, `${host} has seen epoch ${highestEpoch}: from ${before} to ${epoch}`);
    return epoch;
  }

  /** What the fleet tells: counted in the books, told as events, and a reason for another round. */
  newsOf(books: Books, changed: () => void): FleetNews {
    const { registry, clock } = this.#o;
    return {
      changed,
      event: (kind, host, message) => this.event(kind, host, message),
      lost: (agent) => books.gone(agent.name, clock.monotonic(), clock.now()),
      report: (agent, report) => {
        const role = agent.hello?.role ?? "host";
        const entered = books.enter(agent.name, role, report, clock.monotonic(), clock.now());
        if (entered.missed > 0) {
          const message =
            `${entered.missed} older incidents of ${agent.name} are not known here: it keeps the newest ` +
            `${LIMITS.incidents}, and no controller heard it for a while; its log has them all`;
          this.event("incidents_dropped", agent.name, message);
        }
        for (const { kind, service, message } of entered.incidents) this.event(kind, agent.name, message, service);
        for (const rollout of registry.active()) {
          const target = report.instances.filter((i) => i.service === rollout.service && i.revision === rollout.to);
          if (target.length > 0) books.witness(rollout.id, agent.name, target);
        }
      },
    };
  }
}
