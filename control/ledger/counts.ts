/**
 * One agent's page of the books, kept from its reports. A report says totals since boot; what is entered is the
 * difference to the report before, or the whole when the boot is new.
 *
 * A row that a report no longer names (its endpoint is gone) stays as last seen for `FORGOTTEN_AFTER` reports, so that
 * one that comes back is not counted twice.
 *
 * Cost    one pass over the report; latency only where it changed.
 */
import { LOSS_CAUSES } from "../../proto/contract/report.ts";
import type { Incident, Report } from "../../proto/contract/report.ts";
import { add, subtract, totalsOf, ZERO } from "./totals.ts";
import type { HostCounts, HostTotals, Loss, ServiceCounts, Totals } from "./types.ts";

/** About a minute of reports. */
const FORGOTTEN_AFTER = 240;

interface LastRow {
  readonly version: string;
  readonly endpoint: string;
  totals: Totals;
  absent: number;
}

interface ServicePage {
  /** A level, of the newest report. */
  inFlight: number;
  /** Something was sent to an instance, as of the report before. */
  served: boolean;
  readonly versions: Map<string, Totals>;
  readonly last: Map<string, LastRow>;
}

export interface Entered {
  readonly losses: readonly Loss[];
  readonly incidents: readonly Incident[];
  /** The agent had been known under another boot. */
  readonly newBoot: boolean;
}

export class AgentCounts {
  readonly host: string;
  role: "host" | "gateway";
  /** Set by every change, cleared by who stores it. */
  dirty = false;
  #boot = "";
  #incidentSeq = 0;
  readonly #services = new Map<string, ServicePage>();

  constructor(host: string, role: "host" | "gateway", stored?: HostCounts) {
    this.host = host;
    this.role = role;
    if (stored === undefined) return;
    this.#boot = stored.boot;
    this.#incidentSeq = stored.incidentSeq;
    for (const [name, page] of Object.entries(stored.services)) this.#services.set(name, pageOf(page));
  }

  enter(report: Report, atMs: number): Entered {
    const newBoot = this.#boot !== "" && this.#boot !== report.boot;
    if (this.#boot !== report.boot) {
      this.#boot = report.boot;
      this.#incidentSeq = 0;
      this.dirty = true;
      for (const page of this.#services.values()) page.last.clear();
    }
    const losses = this.#traffic(report, atMs);
    const incidents = report.incidents.filter((incident) => incident.seq > this.#incidentSeq);
    for (const { seq } of incidents) this.#incidentSeq = Math.max(this.#incidentSeq, seq);
    if (incidents.length > 0) this.dirty = true;
    return { losses, incidents, newBoot };
  }

  /** Totals since ever, by version. */
  totals(service: string): HostTotals {
    const page = this.#services.get(service);
    return { role: this.role, inFlight: page?.inFlight ?? 0, versions: Object.fromEntries(page?.versions ?? []) };
  }

  knows(service: string): boolean {
    return this.#services.has(service);
  }

  forget(service: string): void {
    if (this.#services.delete(service)) this.dirty = true;
  }

  stored(): HostCounts {
    const services = [...this.#services].map(([name, page]): [string, ServiceCounts] => {
      const last = [...page.last.values()].map(({ version, endpoint, totals }) => ({ version, endpoint, totals }));
      return [name, { versions: Object.fromEntries(page.versions), last }];
    });
    return {
      host: this.host,
      role: this.role,
      boot: this.#boot,
      incidentSeq: this.#incidentSeq,
      services: Object.fromEntries(services),
    };
  }

  #traffic(report: Report, atMs: number): Loss[] {
    const losses: Loss[] = [];
    for (const page of this.#services.values()) {
      page.inFlight = 0;
      for (const row of page.last.values()) row.absent += 1;
    }
    for (const row of report.traffic) {
      const page = this.#page(row.service);
      page.inFlight += row.inFlight;
      const key = JSON.stringify([row.version, row.endpoint]);
      const last = page.last.get(key) ?? { version: row.version, endpoint: row.endpoint, totals: ZERO, absent: 0 };
      page.last.set(key, last);
      last.absent = 0;
      const totals = totalsOf(row);
      if (page.versions.has(row.version) && same(last.totals, totals)) continue;
      const difference = subtract(totals, last.totals);
      page.versions.set(row.version, add(page.versions.get(row.version) ?? ZERO, difference));
      last.totals = totals;
      this.dirty = true;
      for (const [i, count] of difference.lost.entries()) {
        const cause = LOSS_CAUSES[i];
        if (count === 0 || cause === undefined) continue;
        const { service, version, endpoint } = row;
        const early = cause === "no_instance" && !page.served ? ({ tooEarly: true } as const) : {};
        losses.push({ host: this.host, role: this.role, service, version, endpoint, cause, count, atMs, ...early });
      }
    }
    for (const page of this.#services.values()) {
      page.served ||= served(page);
      for (const [key, row] of page.last) if (row.absent > FORGOTTEN_AFTER) page.last.delete(key);
    }
    return losses;
  }

  #page(service: string): ServicePage {
    let page = this.#services.get(service);
    if (page === undefined) {
      page = { inFlight: 0, served: false, versions: new Map(), last: new Map() };
      this.#services.set(service, page);
    }
    return page;
  }
}

const pageOf = (stored: ServiceCounts): ServicePage => {
  const page = blank(stored);
  return { ...page, served: served(page) };
};

const blank = (stored: ServiceCounts): ServicePage => ({
  inFlight: 0,
  served: false,
  versions: new Map(Object.entries(stored.versions)),
  last: new Map(stored.last.map((row) => [JSON.stringify([row.version, row.endpoint]), { ...row, absent: 0 }])),
});

function served({ versions, last }: ServicePage): boolean {
  for (const { completed } of versions.values()) if (completed > 0) return true;
  for (const { endpoint, totals } of last.values()) if (endpoint !== "" && totals.started > 0) return true;
  return false;
}

function same(a: Totals, b: Totals): boolean {
  const equal = (x: readonly number[], y: readonly number[]): boolean => x.every((value, i) => value === y[i]);
  return (
    a.started === b.started &&
    a.completed === b.completed &&
    a.errors === b.errors &&
    a.retried === b.retried &&
    a.drained === b.drained &&
    a.clientGone === b.clientGone &&
    a.tunnels === b.tunnels &&
    a.eventStreams === b.eventStreams &&
    equal(a.lost, b.lost) &&
    equal(a.cut, b.cut) &&
    a.latency.length === b.latency.length &&
    a.latency.every(([, count], i) => count === b.latency[i]?.[1])
  );
}
