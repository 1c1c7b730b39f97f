/** A controller as far as its agents over NATS are concerned: a fleet, its sessions, and what each host is to have. */
import { Fleet } from "../../control/fleet/fleet.ts";
import { serveNatsSessions } from "../../control/fleet/nats/sessions.ts";
import type { NatsSessions } from "../../control/fleet/nats/sessions.ts";
import type { AssignedService } from "../../proto/contract/assignment.ts";
import type { NatsLink } from "../../proto/contract/nats-link.ts";
import { natsNames } from "../../proto/contract/nats.ts";
import { silentLog } from "../../proto/kernel/log.ts";
import type { Log } from "../../proto/kernel/log.ts";
import { systemClock, systemRandom } from "../../proto/runtime/system-clock.ts";

export interface NatsControllerOptions {
  readonly link: NatsLink;
  readonly cluster?: string;
  readonly leading?: boolean;
  readonly epoch?: number;
  readonly known?: readonly string[];
  readonly log?: Log;
  readonly reportEveryMs?: number;
}

export class NatsController implements AsyncDisposable {
  readonly fleet: Fleet;
  readonly sessions: NatsSessions;
  readonly events: string[] = [];
  epoch: number;
  readonly #timer: NodeJS.Timeout;

  constructor({
    link,
    cluster = "baton",
    leading = true,
    epoch = 1,
    known = [],
    log = silentLog,
    reportEveryMs = 50,
  }: NatsControllerOptions) {
    this.epoch = epoch;
    const ambient = { clock: systemClock, random: systemRandom, log };
    const event = (kind: string, host: string, message: string): void =>
      void this.events.push(`${kind} ${host}: ${message}`);
    const news = { changed: () => this.#soon(leading), event, report: () => undefined, lost: () => undefined };
    this.fleet = new Fleet({ ...ambient, news, leaseMs: 1_000, reportEveryMs, asks: leading }, known);
    this.sessions = serveNatsSessions({
      ...{ ...ambient, link, names: natsNames(cluster), fleet: this.fleet, event, leading },
      controller: `controller-${epoch}`,
      epoch: () => this.epoch,
      epochFor: ({ host, highestEpoch }) => {
        const ours = this.fleet.agent(host)?.toldEpoch ?? 0;
        if (highestEpoch >= this.epoch && highestEpoch !== ours) this.epoch = highestEpoch + 1;
        return Promise.resolve(this.epoch);
      },
    });
    this.#timer = setInterval(() => this.fleet.sweep(), 50);
  }

  want(host: string, services: readonly AssignedService[]): void {
    this.fleet.want(host, services, "");
    this.fleet.flush(this.epoch);
  }

  /** The host has confirmed what is asked of it. */
  synced(host: string): boolean {
    return this.fleet.agent(host)?.sync(0).sync === "SYNCED";
  }

  live(host: string): boolean {
    const agent = this.fleet.agent(host);
    return agent !== undefined && this.fleet.leaseOf(agent) === "live";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.sessions.stop("the test is over");
  }

  #flushing = false;

  #soon(leading: boolean): void {
    if (this.#flushing || !leading) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      this.fleet.flush(this.epoch);
    });
  }
}
