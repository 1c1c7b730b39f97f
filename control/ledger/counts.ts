/**
 * One agent's page of the books, kept from its reports. A report says totals since boot; what is entered is the
 * difference to the report before, or the whole when the boot is new.
 *
 * A row that a report no longer names (its endpoint is gone) stays as last seen for `FORGOTTEN_AFTER` reports, so that
 * one that comes back is not counted twice.
 *
 * Cost    one pass over the report; a row that says what it said before is compared and no more.
 */
import { LOSS_CAUSES } from "../../proto/contract/report.ts";
import type { Incident, Report, TrafficReport } from "../../proto/contract/report.ts";
import type { Tally } from "./tally.ts";
import { add, subtract, totalsOf, ZERO } from "./totals.ts";
import type { HostCounts, HostTotals, KeptSeen, Loss, ServiceCounts, Totals } from "./types.ts";

/** About a minute of reports. */
const FORGOTTEN_AFTER = 240;
/** What was seen there is kept so long, and so many. */
export const SEEN_KEPT_MS = 30_000;
const SEEN_KEPT = 16;

interface LastRow {
  readonly version: string;
  readonly endpoint: string;
  totals: Totals;
  absent: number;
}

interface ServicePage {
  /** A level, of the newest report. */
  inFlight: number;
  /** As of the report before. */
  wasInFlight: number;
  /** Something was sent to an instance, as of the report before. */
  served: boolean;
  readonly versions: Map<string, Totals>;
  readonly last: Map<string, LastRow>;
}

export interface Entered {
  readonly losses: readonly Loss[];
  readonly incidents: readonly Incident[];
  /** Incidents before these that it has dropped: it keeps its newest, and none of these was heard of here. */
  readonly missed: number;
  /** The agent had been known under another boot. */
  readonly newBoot: boolean;
}

export class AgentCounts {
  readonly host: string;
  #role: "host" | "gateway";
  /** Set by every change, cleared by who stores it. */
  dirty = false;
  /** Set by what must not be taken twice (losses, incidents): stored at the next checkpoint, whatever waits longer. */
  urgent = false;
  readonly #tally: (service: string) => Tally;
  #boot = "";
  #incidentSeq = 0;
  #seen: readonly KeptSeen[] = [];
  readonly #services = new Map<string, ServicePage>();

  /** `tally`: where a service's counts are summed over all agents; what is entered here is entered there too. */
  constructor(host: string, role: "host" | "gateway", tally: (service: string) => Tally, stored?: HostCounts) {
    this.host = host;
    this.#role = role;
    this.#tally = tally;
    if (stored === undefined) return;
    this.#boot = stored.boot;
    this.#incidentSeq = stored.incidentSeq;
    this.#seen = stored.seen ?? [];
    for (const [name, page] of Object.entries(stored.services)) {
      this.#services.set(name, pageOf(page));
      tally(name).put(this.totals(name));
    }
  }

  get role(): "host" | "gateway" {
    return this.#role;
  }

  /** What it has counted so far is of its new role from now on. */
  set role(role: "host" | "gateway") {
    if (role === this.#role) return;
    for (const name of this.#services.keys()) this.#tally(name).put(this.totals(name), -1);
    this.#role = role;
    for (const name of this.#services.keys()) this.#tally(name).put(this.totals(name));
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
    // Numbered without a gap within a boot.
    const missed = incidents.length === 0 ? 0 : (incidents[0]?.seq ?? 1) - this.#incidentSeq - 1;
    for (const { seq } of incidents) this.#incidentSeq = Math.max(this.#incidentSeq, seq);
    if (incidents.length > 0) this.dirty = true;
    if (losses.length > 0 || incidents.length > 0) this.urgent = true;
    return { losses, incidents, missed, newBoot };
  }

  /** Keeps what may explain a loss that is told later; what goes on is seen again and again. */
  see(seen: KeptSeen): void {
    const before = this.#seen.filter(
      ({ message, atMs }) => message !== seen.message && seen.atMs - atMs < SEEN_KEPT_MS,
    );
    const isNew = !this.#seen.some(({ message }) => message === seen.message);
    this.#seen = [...before, seen].slice(-SEEN_KEPT);
    this.dirty ||= isNew;
    this.urgent ||= isNew;
  }

  /** Taken out of the sums; of no use after that. */
  strike(): void {
    for (const name of this.#services.keys()) this.#tally(name).put(this.totals(name), -1);
    this.#services.clear();
  }

  /** Totals since ever, by version. */
  totals(service: string): HostTotals {
    const page = this.#services.get(service);
    return { role: this.#role, inFlight: page?.inFlight ?? 0, versions: Object.fromEntries(page?.versions ?? []) };
  }

  knows(service: string): boolean {
    return this.#services.has(service);
  }

  forget(service: string): void {
    if (this.#services.delete(service)) this.dirty = true;
  }

  /**
   * Versions that no endpoint carries any more become one, named "": else the books would grow with every release.
   * While a rollout counts from what they were, they must stay apart.
   */
  fold(service: string): void {
    const page = this.#services.get(service);
    if (page === undefined) return;
    const carried = new Set([...page.last.values()].map((row) => row.version));
    const gone = [...page.versions].filter(([version]) => version !== "" && !carried.has(version));
    if (gone.length === 0) return;
    this.#tally(service).put(this.totals(service), -1);
    let folded = page.versions.get("") ?? ZERO;
    for (const [version, totals] of gone) {
      folded = add(folded, totals);
      page.versions.delete(version);
    }
    page.versions.set("", folded);
    this.#tally(service).put(this.totals(service));
    this.dirty = true;
  }

  stored(): HostCounts {
    const services = [...this.#services].map(([name, page]): [string, ServiceCounts] => {
      const last = [...page.last.values()].map(({ version, endpoint, totals }) => ({ version, endpoint, totals }));
      return [name, { versions: Object.fromEntries(page.versions), last }];
    });
    return {
      host: this.host,
      role: this.#role,
      boot: this.#boot,
      incidentSeq: this.#incidentSeq,
      services: Object.fromEntries(services),
      ...(this.#seen.length === 0 ? {} : { seen: this.#seen }),
    };
  }

  #traffic(report: Report, atMs: number): Loss[] {
    const losses: Loss[] = [];
    for (const page of this.#services.values()) {
      page.wasInFlight = page.inFlight;
      page.inFlight = 0;
      for (const row of page.last.values()) row.absent += 1;
    }
    for (const row of report.traffic) {
      const page = this.#page(row.service);
      page.inFlight += row.inFlight;
      const key = keyOf(row);
      let last = page.last.get(key);
      if (last === undefined) {
        last = { version: row.version, endpoint: row.endpoint, totals: ZERO, absent: 0 };
        page.last.set(key, last);
      }
      last.absent = 0;
      if (page.versions.has(row.version) && same(last.totals, row)) continue;
      const totals = totalsOf(row);
      const difference = subtract(totals, last.totals);
      page.versions.set(row.version, add(page.versions.get(row.version) ?? ZERO, difference));
      this.#tally(row.service).add(this.#role, row.version, difference);
      last.totals = totals;
      this.dirty = true;
      for (const [i, count] of difference.lost.entries()) {
        const cause = LOSS_CAUSES[i];
        if (count === 0 || cause === undefined) continue;
        const { service, version, endpoint } = row;
        const early = cause === "no_instance" && !page.served ? ({ tooEarly: true } as const) : {};
        losses.push({ host: this.host, role: this.#role, service, version, endpoint, cause, count, atMs, ...early });
      }
    }
    for (const [service, page] of this.#services) {
      const change = page.inFlight - page.wasInFlight;
      if (change !== 0) this.#tally(service).level(this.#role, change);
      page.served ||= served(page);
      for (const [key, row] of page.last) if (row.absent > FORGOTTEN_AFTER) page.last.delete(key);
    }
    return losses;
  }

  #page(service: string): ServicePage {
    let page = this.#services.get(service);
    if (page === undefined) {
      page = { inFlight: 0, wasInFlight: 0, served: false, versions: new Map(), last: new Map() };
      this.#services.set(service, page);
      this.#tally(service).put({ role: this.#role, inFlight: 0, versions: {} });
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
  wasInFlight: 0,
  served: false,
  versions: new Map(Object.entries(stored.versions)),
  last: new Map(stored.last.map((row) => [keyOf(row), { ...row, absent: 0 }])),
});

/** No version holds a line's end. */
const keyOf = ({ version, endpoint }: Pick<LastRow, "version" | "endpoint">): string => `${version}\n${endpoint}`;

function served({ versions, last }: ServicePage): boolean {
  for (const { completed } of versions.values()) if (completed > 0) return true;
  for (const { endpoint, totals } of last.values()) if (endpoint !== "" && totals.started > 0) return true;
  return false;
}

/** Says the row what it said before? Asked of every row of every report, so nothing is made for it. */
function same(a: Totals, row: TrafficReport): boolean {
  return (
    a.started === row.started &&
    a.completed === row.completed &&
    a.errors === (row.statusClasses[5] ?? 0) &&
    a.retried === row.retried &&
    a.drained === row.drained &&
    a.clientGone === row.clientGone &&
    a.tunnels === row.tunnels &&
    a.eventStreams === row.eventStreams &&
    equal(a.lost, row.lost) &&
    equal(a.cut, row.cut) &&
    a.latency.length === row.latency.length &&
    a.latency.every(([, count], i) => count === row.latency[i]?.[1])
  );
}

const equal = (known: readonly number[], counts: readonly number[]): boolean =>
  known.every((count, i) => count === (counts[i] ?? 0));
