/**
 * What operators may ask for. Each takes its turn with the reconcile loop, stores what it decides together with its
 * journal, and leaves the acting to the loop.
 *
 * Errors  `Refusal`: one sentence, with the command that would do where there is one. `StoreFailed` as it comes.
 */
import type { Source } from "../proto/contract/spec/parse.ts";
import { rolloutId } from "../proto/contract/ids.ts";
import type { Clock } from "../proto/kernel/clock.ts";
import type { Random } from "../proto/kernel/random.ts";
import { planApply } from "./apply.ts";
import type { Applied } from "./apply.ts";
import { beginningOf, begun, blocked } from "./beginning.ts";
import type { Begun } from "./beginning.ts";
import type { Fleet } from "./fleet/fleet.ts";
import type { Books } from "./ledger/books.ts";
import { promoted } from "./loop.ts";
import { hint, named } from "./lookup.ts";
import type { Which } from "./lookup.ts";
import type { Loop } from "./loop.ts";
import type { Command, Rollout } from "./model/rollout.ts";
import type { Host, Revision, Service } from "./model/service.ts";
import type { PlanInput } from "./plan/types.ts";
import { Refusal } from "./refusal.ts";
import { eventChange } from "./registry.ts";
import type { Registry } from "./registry.ts";
import { command } from "./rollout/engine.ts";
import type { Serial } from "./serial.ts";
import { goingBack, servedAlready, standing } from "./standing.ts";

export interface OperationsOptions {
  readonly registry: Registry;
  readonly fleet: Fleet;
  readonly books: Books;
  readonly loop: Loop;
  readonly serial: Serial;
  readonly clock: Clock;
  readonly random: Random;
  now(): number;
}

export interface AppliedAndRolled extends Applied {
  /** "" when none was started. */
  readonly rollout: string;
}

/** Who asks for a plan does nothing. */
const PLANNER = "plan";

export interface ToPlan {
  readonly input: PlanInput;
  /** The target has its number. */
  readonly stored: boolean;
  /** Why it would not begin. */
  readonly refusal: string;
  /** What becomes of a rollout that is under way. */
  readonly first: string;
}

export class Operations {
  readonly #o: OperationsOptions;

  constructor(options: OperationsOptions) {
    this.#o = options;
  }

  apply(
    sources: readonly Source[],
    options: { readonly deploy: boolean; readonly dryRun: boolean; readonly actor: string },
  ): Promise<readonly AppliedAndRolled[]> {
    return this.#turn(async () => {
      const { registry, fleet, loop } = this.#o;
      const { actor } = options;
      const { deploy } = options;
      const { results, changes } = planApply(sources, { registry, fleet, nowMs: this.#o.now(), actor, deploy });
      if (options.dryRun) return results.map((result) => ({ ...result, rollout: "" }));
      // One batch for all: documents whose rollout can't begin are not half taken.
      const batch = [...changes];
      const rolled = results.map((result) => {
        if (!this.#wants(result, deploy)) return { ...result, rollout: "" };
        const where = standing(registry, result.state, result.revision);
        if (where !== "elsewhere") return { ...result, rollout: where === "stable" ? "" : where.id };
        const begun = this.#begin(result.state, result.revision, actor);
        batch.push(...begun.changes);
        return { ...result, rollout: begun.rollout.id };
      });
      if (batch.length > 0) await loop.store(batch);
      return rolled;
    });
  }

  /** What rolling these out would begin with; nothing is stored. Without documents: a stored revision of a service. */
  toPlan(sources: readonly Source[], which: Which & { readonly service: string }): Promise<readonly ToPlan[]> {
    return this.#o.serial.run(() => {
      const { registry, fleet } = this.#o;
      if (sources.length > 0) {
        const context = { registry, fleet, nowMs: this.#o.now(), actor: PLANNER, deploy: true };
        const { results } = planApply(sources, context);
        return Promise.resolve(results.map(({ state, revision }) => this.#toPlan(state, revision)));
      }
      const service = this.service(which.service);
      this.#notRetiring(service.name);
      return Promise.resolve([this.#toPlan(service, named(this.#o.registry, service, which))]);
    });
  }

  deploy(name: string, which: Which, actor: string): Promise<Rollout> {
    return this.#turn(async () => {
      const service = this.service(name);
      this.#notRetiring(name);
      return this.#deploy(service, named(this.#o.registry, service, which), actor);
    });
  }

  /** To the stable revision before, or the one named. */
  undo(name: string, toRevision: number, actor: string): Promise<Rollout> {
    return this.#turn(async () => {
      const service = this.service(name);
      this.#notRetiring(name);
      const running = this.#o.registry.activeOf(name);
      if (running !== undefined && toRevision === 0) {
        const why = `${running.id} is under way; \`baton rollout abort ${name}\` takes it back`;
        throw new Refusal("precondition", why);
      }
      const last = this.#o.registry.newest(name);
      if (toRevision === 0 && last?.stage.kind === "rolled-back" && last.from === service.stable && last.from !== 0) {
        // Two steps back where one was meant: the version that serves is the one that was gone back to.
        const why = `${last.id} was taken back already, and revision ${service.stable} serves; \`baton rollout undo ${name} --to ${service.previous}\` goes back further`;
        throw new Refusal("precondition", why);
      }
      const number = toRevision === 0 ? service.previous : toRevision;
      if (number === 0) {
        throw new Refusal(
          "precondition",
          `${name} has no stable revision before this one; \`baton rollout history ${name}\``,
        );
      }
      return this.#deploy(service, named(this.#o.registry, service, { version: "", revision: number }), actor);
    });
  }

  /** The same target again, after a rollout that did not succeed. */
  retry(name: string, actor: string): Promise<Rollout> {
    return this.#turn(async () => {
      const service = this.service(name);
      this.#notRetiring(name);
      const last = this.#o.registry.newest(name);
      if (last === undefined) {
        throw new Refusal("precondition", `${name} was never rolled out; \`baton deploy ${name}\` does`);
      }
      if (last.endedAtMs === 0) {
        throw new Refusal(
          "precondition",
          `${last.id} is under way; \`baton rollout status ${name}\` says what it waits for`,
        );
      }
      if (last.stage.kind === "succeeded") {
        throw new Refusal("precondition", `${last.id} succeeded; there is nothing to retry`);
      }
      return this.#start(service, named(this.#o.registry, service, { version: "", revision: last.to }), actor);
    });
  }

  command(name: string, said: Command): Promise<Rollout> {
    return this.#turn(async () => {
      this.service(name);
      const { registry, loop } = this.#o;
      // One that waits behind another which goes back already is what can still be given up.
      const waiting = said.kind === "abort" ? registry.blockedOf(name) : undefined;
      const rollout = waiting ?? registry.activeOf(name) ?? registry.newest(name);
      if (rollout === undefined) {
        throw new Refusal("precondition", `${name} was never rolled out; \`baton deploy ${name}\` does`);
      }
      const { rollout: after, changes } = this.#said(rollout, said);
      if (changes.length > 0) await loop.store(changes);
      return after;
    });
  }

  /** Takes a host out of traffic from outside, or back in. */
  setAdminState(name: string, adminState: Host["adminState"], actor: string): Promise<Host> {
    return this.#turn(async () => {
      const { registry, clock } = this.#o;
      const host = this.host(name);
      if (host.adminState === adminState) return host;
      const next = { ...host, adminState };
      const [kind, message] =
        adminState === "drain"
          ? ["host_drained", `${name} takes no new traffic from outside; what runs on it is finished`]
          : ["host_undrained", `${name} takes traffic again`];
      await registry.commit([
        { kind: "host", host: next },
        eventChange({ atMs: clock.now(), kind, host: name, actor, message }),
      ]);
      return next;
    });
  }

  /** Drained and stopped everywhere, then forgotten (retirement.ts). */
  delete(name: string, actor: string): Promise<void> {
    return this.#turn(async () => {
      const { registry, clock } = this.#o;
      const running = registry.activeOf(name) ?? registry.blockedOf(name);
      if (running !== undefined) {
        throw new Refusal("precondition", `${running.id} is under way; \`baton rollout abort ${name}\` first`);
      }
      if (registry.service(name) === undefined && !this.#servedSomewhere(name)) this.service(name);
      const stage = registry.retirement(name)?.stage;
      if (stage !== undefined && stage !== "done") return;
      await registry.commit([
        { kind: "retirement", retirement: { service: name, stage: "gateways", sinceMs: this.#o.now() } },
        eventChange({
          atMs: clock.now(),
          kind: "service_deleting",
          service: name,
          actor,
          message: `${name} is taken away`,
        }),
      ]);
    });
  }

  /** The service, or a refusal that names the nearest. */
  service(name: string): Service {
    const service = this.#o.registry.service(name);
    if (service !== undefined) return service;
    const known = this.#o.registry.services().map((s) => s.name);
    throw new Refusal("not-found", `no service ${name}${hint(name, known, "services")}`);
  }

  host(name: string): Host {
    const host = this.#o.registry.host(name);
    if (host !== undefined) return host;
    const known = this.#o.registry.hosts().map((h) => h.name);
    throw new Refusal("not-found", `no host ${name}${hint(name, known, "hosts")}`);
  }

  /** By id, else the one of the service that is under way, else its newest. */
  rollout(service: string, id: string): Rollout {
    const { registry } = this.#o;
    if (id !== "") {
      const rollout = registry.rollout(id);
      if (rollout !== undefined) return rollout;
      throw new Refusal(
        "not-found",
        `no rollout ${id}${hint(
          id,
          registry.rollouts(service).map((r) => r.id),
          "rollouts",
        )}`,
      );
    }
    this.service(service);
    const shown = registry.activeOf(service) ?? registry.newest(service);
    if (shown !== undefined) return shown;
    throw new Refusal("not-found", `${service} was never rolled out; \`baton deploy ${service}\` does`);
  }

  #turn<T>(work: () => Promise<T>): Promise<T> {
    return this.#o.serial.run(work).finally(() => this.#o.loop.poke());
  }

  #wants({ outcome, adopted, service, state }: Applied, deploy: boolean): boolean {
    if (adopted) return false;
    if (deploy) return true;
    return outcome !== "unchanged" && this.#o.registry.newest(service) === undefined && state.stable === 0;
  }

  /** A pipeline that is run twice is told of the rollout that does it, while it is under way. */
  async #deploy(service: Service, to: Revision, actor: string): Promise<Rollout> {
    const where = standing(this.#o.registry, service, to);
    if (where === "elsewhere") return this.#start(service, to, actor);
    if (where !== "stable") return where;
    throw new Refusal("precondition", servedAlready(service, to));
  }

  async #start(service: Service, to: Revision, actor: string): Promise<Rollout> {
    const { rollout, changes } = this.#begin(service, to, actor);
    await this.#o.loop.store(changes);
    return rollout;
  }

  /** A new rollout, and what is to be stored for it; what becomes of one that runs is that one's policy (RACES C6). */
  #begin(service: Service, to: Revision, actor: string): Begun {
    const { registry, random } = this.#o;
    const { name } = service;
    const wanted = { id: rolloutId(name, to.revision, random), service, to, actor };
    const waiting = registry.blockedOf(name);
    const changes =
      waiting === undefined ? [] : this.#said(waiting, { kind: "supersede", actor, by: wanted.id }).changes;
    const over = registry.activeOf(name);
    if (over === undefined) {
      const next = begun(this.#o, wanted);
      return { rollout: next.rollout, changes: [...changes, ...next.changes] };
    }
    if (waitsFor(over)) {
      const back: Command = { kind: "abort", actor, reason: `${to.version} is to take its place (${wanted.id})` };
      const turned = goingBack(over) ? [] : this.#said(over, back).changes;
      const next = blocked(this.#o, wanted, over);
      return { rollout: next.rollout, changes: [...changes, ...turned, ...next.changes] };
    }
    const ended = this.#said(over, { kind: "supersede", actor, by: wanted.id });
    const next = begun(this.#o, { ...wanted, over: ended.rollout });
    return { rollout: next.rollout, changes: [...changes, ...ended.changes, ...next.changes] };
  }

  /** What a command makes of a rollout, and what is to be stored for it. */
  #said(rollout: Rollout, said: Command): Begun {
    const { loop } = this.#o;
    const context = loop.context(rollout);
    if (context === null) {
      throw new Refusal("precondition", `revision ${rollout.to} of ${rollout.service} is gone`);
    }
    const decision = command(rollout, said, context);
    if ("kind" in decision) throw new Refusal("precondition", decision.why);
    const changed = decision.rollout !== rollout;
    return {
      rollout: decision.rollout,
      changes: changed ? loop.transition(rollout, decision.rollout, decision.journal) : [],
    };
  }

  #toPlan(service: Service, to: Revision): ToPlan {
    const { registry, fleet } = this.#o;
    const wanted = { id: "plan", service, to, actor: PLANNER };
    const hosts = registry.hosts();
    const lost = hosts.map(({ name }) => name).filter((name) => isLost(fleet, name));
    const revisions = [...registry.revisions(service.name).filter(({ revision }) => revision !== to.revision), to];
    const input = { service, revisions, hosts, lost };
    const stored = registry.revision(service.name, to.revision) !== undefined;
    try {
      const where = standing(registry, service, to);
      if (where === "stable") throw new Refusal("precondition", servedAlready(service, to));
      if (where !== "elsewhere") {
        const why = `${where.id} takes ${service.name} to ${to.version} already; \`baton rollout watch ${service.name}\``;
        throw new Refusal("precondition", why);
      }
      const over = registry.activeOf(service.name);
      const queue = over !== undefined && waitsFor(over);
      const ended =
        over === undefined || queue ? undefined : this.#said(over, { kind: "supersede", actor: PLANNER, by: "" });
      const beginning = beginningOf(this.#o, { ...wanted, ...(ended === undefined ? {} : { over: ended.rollout }) });
      return {
        input: { ...input, beginning },
        stored,
        refusal: "",
        first: over === undefined ? "" : firstOf(over, queue),
      };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return {
        input: { ...input, beginning: beginningOf(this.#o, wanted) },
        stored,
        refusal: error.message,
        first: "",
      };
    }
  }

  #notRetiring(name: string): void {
    const retirement = this.#o.registry.retirement(name);
    if (retirement !== undefined) throw new Refusal("precondition", `${name} is being deleted`);
  }

  /** By an agent that was held because this controller does not know the service. */
  #servedSomewhere(name: string): boolean {
    return [...this.#o.fleet.agents()].some((agent) => agent.applied?.services[name] !== undefined);
  }
}

/** The next rollout begins once this one is back. After a first one there is nothing to go back to. */
const waitsFor = (over: Rollout): boolean =>
  over.strategy.onSupersede === "rollBackFirst" && over.from !== 0 && !promoted(over);

const firstOf = ({ id }: Rollout, queue: boolean): string =>
  queue ? `${id} is under way, and goes back first` : `${id} is under way, and is superseded where it stands`;

function isLost(fleet: Fleet, name: string): boolean {
  const agent = fleet.agent(name);
  return agent === undefined || fleet.leaseOf(agent) === "lost";
}
