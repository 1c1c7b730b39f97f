/**
 * What every agent is asked, and what the fleet looks like to whoever decides: hosts and reports → views → desired state →
 * `Fleet.want`. Kept between rounds, so that a round costs what changed and not the size of the fleet: views of agents
 * that said nothing new, assignments of services without news, hashes of what was hashed before.
 *
 * Nothing is sent here, and nothing is decided about rollouts.
 */
import type { ServiceSpec } from "../proto/contract/spec/types.ts";
import { Compiled } from "./compiled.ts";
import { Concerned } from "./concerned.ts";
import { groupsOf, placed } from "./desired/placement.ts";
import type { Agent } from "./fleet/agent.ts";
import type { Fleet } from "./fleet/fleet.ts";
import { holdReason } from "./fleet/hold.ts";
import type { Known } from "./fleet/hold.ts";
import { FleetViews } from "./fleet/views.ts";
import type { Host, Service } from "./model/service.ts";
import type { FleetView } from "./model/view.ts";
import type { Registry } from "./registry.ts";
import type { Cluster } from "./rollout/types.ts";

export type Placed = Pick<Cluster, "hosts"> & Required<Pick<Cluster, "groups">>;

export class Wanted {
  readonly #registry: Registry;
  readonly #fleet: Fleet;
  readonly #views: FleetViews;
  readonly #compiled = new Compiled();
  readonly #hosts = new Concerned();
  /** Agents whose hold may have another answer. */
  readonly #toHold: Set<Agent>;
  /** The registry's, when holds were last looked at. */
  #structure = -1;
  /** By spec: where it is placed among which hosts. */
  readonly #placed = new WeakMap<ServiceSpec, { readonly among: readonly Host[] } & Placed>();
  /** Rollout → its `change` when that was compiled: what the view says that `askedHash` is of. */
  #compiledAt: ReadonlyMap<string, number> = new Map();

  constructor(registry: Registry, fleet: Fleet) {
    this.#registry = registry;
    this.#fleet = fleet;
    this.#views = new FleetViews(fleet);
    this.#toHold = fleet.follow();
  }

  /** The fleet as a service's rollout ("" for none) is told of it now. */
  view(service: string, rollout: string): Pick<FleetView, "change" | "hosts"> {
    this.#refresh();
    return { change: this.#compiledAt.get(rollout) ?? 0, hosts: this.#views.of(service) };
  }

  /** Where a spec is placed now. */
  placed(spec: ServiceSpec): Placed {
    const among = this.#registry.hosts();
    const known = this.#placed.get(spec);
    if (known?.among === among) return known;
    const found = { among, hosts: placed(spec, among), groups: groupsOf(spec, among) };
    this.#placed.set(spec, found);
    return found;
  }

  /** Notes what is wanted of every agent; nothing is sent. */
  compile(): void {
    const [registry, fleet] = [this.#registry, this.#fleet];
    this.#refresh();
    const services = registry
      .services()
      .filter(({ name }) => registry.retirement(name)?.stage !== "hosts")
      .map((service) => ({
        service,
        hosts: this.#hostsOf(service),
        revisions: registry.revisions(service.name),
        rollout: registry.activeOf(service.name),
        views: this.#views.of(service.name),
      }));
    const changed = this.#compiled.update(services, (name) => registry.host(name));
    this.#compiledAt = new Map(registry.active().map((rollout) => [rollout.id, rollout.change]));
    const known = this.#known();
    for (const agent of this.#concerned(changed)) {
      const all = this.#compiled.of(agent.name);
      const gateway = registry.host(agent.name)?.role === "gateway";
      const wanted = all.filter(({ name }) => !(gateway && registry.retirement(name)?.stage === "gateways"));
      fleet.want(agent.name, wanted, holdReason(agent, wanted, known));
    }
  }

  /**
   * Agents that may be asked something else, or be held for another reason, than before: what they are asked changed, or
   * they said something, or what is known here changed; and every gateway, whose hold stands on what hosts say.
   */
  #concerned(changed: ReadonlySet<string>): Iterable<Agent> {
    const [registry, fleet] = [this.#registry, this.#fleet];
    const concerned = new Set(this.#toHold);
    this.#toHold.clear();
    if (this.#structure !== registry.structure) {
      this.#structure = registry.structure;
      return fleet.agents();
    }
    for (const name of changed) {
      const agent = fleet.agent(name);
      if (agent !== undefined) concerned.add(agent);
    }
    for (const agent of fleet.gateways()) concerned.add(agent);
    return concerned;
  }

  #known(): Known {
    const [registry, fleet] = [this.#registry, this.#fleet];
    return {
      // A service whose serving revision is not stored would be asked of nobody.
      service: (name) => {
        const stable = registry.service(name)?.stable;
        return stable === 0 || (stable !== undefined && registry.revision(name, stable) !== undefined);
      },
      revision: (service, revision) => registry.revision(service, revision) !== undefined,
      retired: (name, role) => {
        const retirement = registry.retirement(name);
        // Hosts go on until no gateway sends to them.
        return retirement !== undefined && (role === "gateway" || retirement.stage !== "gateways");
      },
      heardOf: (name) =>
        registry.hosts().some((host) => {
          const report = fleet.agent(host.name)?.report;
          return host.role === "host" && report?.applied?.services[name] !== undefined;
        }),
    };
  }

  /** Views as of what was heard until now; levels where a rollout, or a gateway's drain, waits for them. */
  #refresh(): void {
    const registry = this.#registry;
    const services = registry.services().map((service) => ({ service: service.name, hosts: this.#hostsOf(service) }));
    const counting = (name: string): boolean => this.#compiled.draining(name) || registry.activeOf(name) !== undefined;
    this.#views.refresh(services, counting);
    this.#hosts.keep(services.map(({ service }) => service));
  }

  #hostsOf({ name, stable }: Service): readonly Host[] {
    const registry = this.#registry;
    const rollout = registry.activeOf(name);
    const numbers = rollout === undefined ? [stable] : [stable, rollout.from, rollout.to];
    const revisions = numbers.map((number) => registry.revision(name, number));
    return this.#hosts.of(name, { all: registry.hosts(), revisions, rollout });
  }
}
