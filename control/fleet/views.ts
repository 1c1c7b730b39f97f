/**
 * The views of all agents, service by service, kept: what nothing was heard of stays the object that it was, and a
 * service of which nothing changed keeps its whole record. So a round costs what changed, and whoever reads a view may
 * tell by its identity that there is nothing new in it.
 *
 * Equal to `fleetView` made afresh of the same hosts, but for levels (in flight) of services that nobody counts on at the moment
 * (`counting`), and for leases, which are looked at with every sweep.
 *
 * Cost  a host view for each agent of which something changed and each service; of a service with changes, its record.
 */
import type { Host } from "../model/service.ts";
import type { HostView } from "../model/view.ts";
import { sameJson } from "../same.ts";
import type { Agent } from "./agent.ts";
import type { Fleet } from "./fleet.ts";
import { hostView } from "./view.ts";

type Views = Readonly<Record<string, HostView>>;

/** A service, and the hosts that it may have to do with. */
export interface Viewed {
  readonly service: string;
  readonly hosts: readonly Host[];
}

interface Page {
  hosts: readonly Host[];
  byName: ReadonlyMap<string, Host>;
  readonly views: Map<string, HostView>;
  /** Hosts whose newest report moved counts since the view was made. */
  readonly counted: Set<string>;
  record: Views | null;
}

export class FleetViews {
  readonly #fleet: Fleet;
  readonly #touched: Set<Agent>;
  readonly #counted: Set<Agent>;
  readonly #pages = new Map<string, Page>();

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
    this.#touched = fleet.follow();
    this.#counted = fleet.followCounts();
  }

  /** Takes in what was heard. `counting`: services whose levels a decision may stand on now. */
  refresh(services: readonly Viewed[], counting: (service: string) => boolean): void {
    const touched = [...this.#touched];
    this.#touched.clear();
    for (const { name } of this.#counted) for (const page of this.#pages.values()) page.counted.add(name);
    this.#counted.clear();
    if (this.#pages.size > services.length) {
      const names = new Set(services.map(({ service }) => service));
      for (const service of this.#pages.keys()) if (!names.has(service)) this.#pages.delete(service);
    }
    for (const { service, hosts } of services) {
      const page = this.#pageOf(service);
      for (const { name } of touched) this.#look(page, service, name);
      if (page.hosts !== hosts) this.#take(page, service, hosts);
      if (page.counted.size === 0 || !counting(service)) continue;
      for (const name of page.counted) this.#look(page, service, name);
      page.counted.clear();
    }
  }

  /** As of the last `refresh`. */
  of(service: string): Views {
    const page = this.#pages.get(service);
    if (page === undefined) return {};
    return (page.record ??= Object.fromEntries(
      page.hosts.flatMap(({ name }) => {
        const view = page.views.get(name);
        return view === undefined ? [] : [[name, view] as const];
      }),
    ));
  }

  #pageOf(service: string): Page {
    let page = this.#pages.get(service);
    if (page === undefined) {
      page = { hosts: [], byName: new Map(), views: new Map(), counted: new Set(), record: null };
      this.#pages.set(service, page);
    }
    return page;
  }

  /** Other hosts than before: who is new or changed is looked at, who is gone is forgotten. */
  #take(page: Page, service: string, hosts: readonly Host[]): void {
    const before = page.byName;
    page.hosts = hosts;
    page.byName = new Map(hosts.map((host) => [host.name, host]));
    page.record = null;
    for (const name of before.keys()) if (!page.byName.has(name)) page.views.delete(name);
    for (const host of hosts) if (before.get(host.name) !== host) this.#look(page, service, host.name);
  }

  #look(page: Page, service: string, name: string): void {
    const host = page.byName.get(name);
    if (host === undefined) return;
    const view = hostView(this.#fleet, host, service);
    const before = page.views.get(name);
    if (before !== undefined && sameJson(before, view)) return;
    page.views.set(name, view);
    page.record = null;
  }
}
