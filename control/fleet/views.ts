/**
 * The views of all agents, service by service, kept: what nothing was heard of stays the object that it was, and a
 * service of which nothing changed keeps its whole record. So a round costs what changed, and whoever reads a view may
 * tell by its identity that there is nothing new in it.
 *
 * Equal to `fleetView` made afresh, but for levels (in flight) of services that nobody counts on at the moment
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

interface Page {
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
  #hosts: readonly Host[] = [];
  #byName = new Map<string, Host>();

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
    this.#touched = fleet.follow();
    this.#counted = fleet.followCounts();
  }

  /** Takes in what was heard. `counting`: services whose levels a decision may stand on now. */
  refresh(services: readonly string[], hosts: readonly Host[], counting: (service: string) => boolean): void {
    const due = this.#due(hosts);
    for (const agent of this.#counted) for (const page of this.#pages.values()) page.counted.add(agent.name);
    this.#counted.clear();
    if (this.#pages.size > services.length) {
      for (const service of this.#pages.keys()) if (!services.includes(service)) this.#pages.delete(service);
    }
    for (const service of services) {
      const known = this.#pages.get(service);
      const page = known ?? { views: new Map(), counted: new Set(), record: null };
      if (known === undefined) this.#pages.set(service, page);
      for (const name of known === undefined ? this.#byName.keys() : due) this.#look(page, service, name);
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
      this.#hosts.flatMap(({ name }) => {
        const view = page.views.get(name);
        return view === undefined ? [] : [[name, view] as const];
      }),
    ));
  }

  #due(hosts: readonly Host[]): ReadonlySet<string> {
    const due = new Set([...this.#touched].map(({ name }) => name));
    this.#touched.clear();
    if (hosts === this.#hosts) return due;
    for (const host of hosts) if (this.#byName.get(host.name) !== host) due.add(host.name);
    this.#byName = new Map(hosts.map((host) => [host.name, host]));
    this.#hosts = hosts;
    return due;
  }

  #look(page: Page, service: string, name: string): void {
    const host = this.#byName.get(name);
    // Connected, and not stored yet: it is looked at as soon as it is.
    if (host === undefined) return;
    const view = hostView(this.#fleet, host, service);
    const before = page.views.get(name);
    if (before !== undefined && sameJson(before, view)) return;
    page.views.set(name, view);
    page.record = null;
  }
}
