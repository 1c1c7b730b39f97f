/**
 * Desired state, kept between rounds: a service is compiled anew only when something that it is made of is another
 * object than before, and of what comes out, what says the same stays the object that it was. So whoever holds an
 * assignment tells by identity whether there is another one; nothing is hashed, compared or sent for the rest.
 *
 * Always what `compile` would answer to the same input (checked by a property test).
 *
 * Cost  nothing for a service without news; for one with news, a comparison a host, and compile's price for those hosts
 *       that are seen or asked otherwise, and for gateways.
 */
import type { AssignedService } from "../proto/contract/assignment.ts";
import { compile } from "./desired/compile.ts";
import type { HostDesire, Rollout } from "./model/rollout.ts";
import type { Host, Revision, Service } from "./model/service.ts";
import type { HostView } from "./model/view.ts";
import { desires } from "./rollout/engine.ts";
import { sameJson } from "./same.ts";

/** All that is known of one service. */
export interface ServiceInput {
  readonly service: Service;
  /** Sorted. Of all hosts, those that it may have to do with (concerned.ts): where it is not, nothing need be asked. */
  readonly hosts: readonly Host[];
  readonly revisions: readonly Revision[];
  /** The active one. */
  readonly rollout: Rollout | undefined;
  readonly views: Readonly<Record<string, HostView>>;
}

/** By agent: what it is asked for one service, in a list of one; empty where it has no part in it. */
type Part = ReadonlyMap<string, readonly AssignedService[]>;

interface Kept {
  readonly input: ServiceInput;
  /** Hosts that it has nothing to do with any more, but for gateways that may still have something in flight to them. */
  readonly leaving: readonly Host[];
  /** All of them. */
  readonly byName: ReadonlyMap<string, Host>;
  /** What the part was made after: `compile` keeps endpoints by it. */
  readonly previous: Part;
  readonly part: Part;
  /** By host: what it was asked for. */
  readonly desires: ReadonlyMap<string, HostDesire>;
}

const NOTHING: Part = new Map();

export class Compiled {
  readonly #kept = new Map<string, Kept>();
  readonly #byAgent = new Map<string, readonly AssignedService[]>();
  /** Services of which a gateway drains some endpoint: when that is over is told by counts. */
  readonly #draining = new Set<string>();

  /** `services` in order. Answers the agents that are asked something else than before. */
  update(services: readonly ServiceInput[], host: (name: string) => Host | undefined): ReadonlySet<string> {
    const changed = new Set<string>();
    const names = new Set(services.map(({ service }) => service.name));
    for (const [name, { part }] of this.#kept) {
      if (names.has(name)) continue;
      this.#kept.delete(name);
      this.#draining.delete(name);
      for (const [agent, assigned] of part) if (assigned.length > 0) changed.add(agent);
    }
    for (const input of services) this.#service(input, host, changed);
    for (const agent of changed) {
      const assigned = services.flatMap(({ service }) => this.#kept.get(service.name)?.part.get(agent) ?? []);
      this.#byAgent.set(agent, assigned);
    }
    return changed;
  }

  of(agent: string): readonly AssignedService[] {
    return this.#byAgent.get(agent) ?? [];
  }

  draining(service: string): boolean {
    return this.#draining.has(service);
  }

  #service(input: ServiceInput, host: (name: string) => Host | undefined, changed: Set<string>): void {
    const { service, revisions, rollout, views } = input;
    const kept = this.#kept.get(service.name);
    if (kept !== undefined && sameInput(kept, input, host)) return;
    const previous = kept?.part ?? NOTHING;
    const leaving = leftBy(previous, input.hosts).flatMap((name) => host(name) ?? []);
    const asked = new Map<string, HostDesire>();
    const hosts = leaving.length === 0 ? input.hosts : [...input.hosts, ...leaving];
    const fresh = compile({
      services: [service],
      revisions,
      rollouts: rollout === undefined ? [] : [rollout],
      desires: new Map(rollout === undefined ? [] : [[service.name, desires(rollout)]]),
      hosts,
      // Counts are not among what desired state is made of.
      views: new Map([[service.name, { change: 0, hosts: views, traffic: {}, unexplainedLoss: 0 }]]),
      previous,
      kept: (of, desire) => {
        asked.set(of.name, desire);
        return kept === undefined ? undefined : keptFor(of, desire, kept, input);
      },
    });
    const byName =
      kept?.input.hosts === input.hosts && leaving.length === 0 && kept.leaving.length === 0
        ? kept.byName
        : mapOf(hosts);
    const part = shared(previous, fresh, changed);
    this.#kept.set(service.name, { input, leaving, byName, previous, part, desires: asked });
    if (part === previous) return;
    const drains = [...part.values()].some(([one]) => one?.endpoints.some(({ mode }) => mode === "draining"));
    if (drains) this.#draining.add(service.name);
    else this.#draining.delete(service.name);
  }
}

const sameInput = (kept: Kept, input: ServiceInput, host: (name: string) => Host | undefined): boolean =>
  kept.part === kept.previous &&
  kept.leaving.every((leaver) => host(leaver.name) === leaver) &&
  kept.input.hosts === input.hosts &&
  kept.input.service === input.service &&
  kept.input.revisions === input.revisions &&
  kept.input.rollout === input.rollout &&
  kept.input.views === input.views;

const mapOf = (hosts: readonly Host[]): ReadonlyMap<string, Host> => new Map(hosts.map((host) => [host.name, host]));

/** What a host was asked before, when all that it is made of is as it was. */
function keptFor(host: Host, desire: HostDesire, kept: Kept, input: ServiceInput): AssignedService | undefined {
  const { service, revisions, rollout, views } = input;
  const before = kept.input;
  if (before.service !== service || before.revisions !== revisions) return undefined;
  if (before.rollout?.id !== rollout?.id || before.rollout?.to !== rollout?.to) return undefined;
  if (before.views[host.name] !== views[host.name] || kept.byName.get(host.name) !== host) return undefined;
  const known = kept.desires.get(host.name);
  return known !== undefined && sameJson(known, desire) ? kept.part.get(host.name)?.[0] : undefined;
}

/** Names that gateways still send to, or drain, besides these hosts. */
function leftBy(previous: Part, hosts: readonly Host[]): readonly string[] {
  const known = new Set(hosts.map(({ name }) => name));
  const left = new Set<string>();
  for (const [one] of previous.values())
    for (const { host } of one?.endpoints ?? []) if (!known.has(host)) left.add(host);
  return [...left];
}

/** `fresh`, with all of `previous` that says the same; `previous` itself when all of it does. */
function shared(previous: Part, fresh: Part, changed: Set<string>): Part {
  const part = new Map<string, readonly AssignedService[]>();
  let other = previous.size !== fresh.size;
  for (const [agent, assigned] of fresh) {
    const before = previous.get(agent);
    if (before !== undefined && sameJson(before, assigned)) {
      part.set(agent, before);
      continue;
    }
    part.set(agent, assigned);
    other = true;
    if (assigned.length > 0 || (before ?? []).length > 0) changed.add(agent);
  }
  for (const [agent, assigned] of previous) if (!fresh.has(agent) && assigned.length > 0) changed.add(agent);
  return other ? part : previous;
}
