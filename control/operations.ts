/**
 * What operators may ask for. Each takes its turn with the reconcile loop, stores what it decides together with its
 * journal, and leaves the acting to the loop.
 *
 * Errors  `Refusal`: one sentence, with the command that would do where there is one. `StoreFailed` as it comes.
 */
import type { Source } from "../proto/contract/spec/parse.ts";
import { rolloutId } from "../proto/contract/ids.ts";
import { nearest } from "../proto/contract/nearest.ts";
import type { Clock } from "../proto/kernel/clock.ts";
import type { Random } from "../proto/kernel/random.ts";
import { planApply } from "./apply.ts";
import type { Applied } from "./apply.ts";
import { placed } from "./desired/placement.ts";
import type { Fleet } from "./fleet/fleet.ts";
import type { Books } from "./ledger/books.ts";
import type { Loop } from "./loop.ts";
import type { Command, Rollout } from "./model/rollout.ts";
import type { Host, Revision, Service } from "./model/service.ts";
import { Refusal } from "./refusal.ts";
import { eventChange } from "./registry.ts";
import type { Registry } from "./registry.ts";
import { begin, command } from "./rollout/engine.ts";
import type { Serial } from "./serial.ts";
import type { Change } from "./store/store.ts";

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
        const where = this.#where(result.state, result.revision);
        if (where !== "elsewhere") return { ...result, rollout: where === "stable" ? "" : where.id };
        const begun = this.#begin(result.state, result.revision, actor);
        batch.push(...begun.changes);
        return { ...result, rollout: begun.rollout.id };
      });
      if (batch.length > 0) await loop.store(batch);
      return rolled;
    });
  }

  deploy(
    name: string,
    which: { readonly version: string; readonly revision: number },
    actor: string,
  ): Promise<Rollout> {
    return this.#turn(async () => {
      const service = this.service(name);
      this.#notRetiring(name);
      return this.#deploy(service, this.#revision(service, which), actor);
    });
  }

  /** To the stable revision before, or the one named. */
  undo(name: string, toRevision: number, actor: string): Promise<Rollout> {
    return this.#turn(async () => {
      const service = this.service(name);
      this.#notRetiring(name);
      const running = this.#active(name);
      if (running !== undefined && toRevision === 0) {
        const why = `${running.id} is under way; \`baton rollout abort ${name}\` takes it back`;
        throw new Refusal("precondition", why);
      }
      const number = toRevision === 0 ? service.previous : toRevision;
      if (number === 0) {
        throw new Refusal(
          "precondition",
          `${name} has no stable revision before this one; \`baton rollout history ${name}\``,
        );
      }
      return this.#deploy(service, this.#revision(service, { version: "", revision: number }), actor);
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
      return this.#start(service, this.#revision(service, { version: "", revision: last.to }), actor);
    });
  }

  command(name: string, said: Command): Promise<Rollout> {
    return this.#turn(async () => {
      this.service(name);
      const { registry, loop } = this.#o;
      const rollout = this.#active(name) ?? registry.newest(name);
      if (rollout === undefined) {
        throw new Refusal("precondition", `${name} was never rolled out; \`baton deploy ${name}\` does`);
      }
      const context = loop.context(rollout);
      if (context === null) throw new Refusal("precondition", `revision ${rollout.to} of ${name} is gone`);
      const decision = command(rollout, said, context);
      if ("kind" in decision) throw new Refusal("precondition", decision.why);
      if (decision.rollout !== rollout) {
        await loop.store(loop.transition(rollout, decision.rollout, decision.journal));
      }
      return decision.rollout;
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
      const running = this.#active(name);
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

  /** By id, else the newest of the service. */
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
    const newest = registry.newest(service);
    if (newest !== undefined) return newest;
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

  /** Where a revision stands that is to be served: it is already, a rollout is taking the service there, or neither. */
  #where(service: Service, to: Revision): Rollout | "stable" | "elsewhere" {
    const { name, stable } = service;
    const running = this.#active(name);
    if (running === undefined) return stable === to.revision ? "stable" : "elsewhere";
    const { id, stage } = running;
    const back = stage.kind === "aborting" || stage.kind === "rolling-back";
    if (back && running.to === to.revision) {
      const why = `${id} is going back from ${to.version}; deploy it again once that is over (\`baton rollout watch ${name}\`)`;
      throw new Refusal("precondition", why);
    }
    if (running.to === to.revision) return running;
    if (stable !== to.revision) return "elsewhere";
    throw new Refusal(
      "precondition",
      back
        ? `${id} is going back to ${to.version} already; \`baton rollout watch ${name}\``
        : `${id} is moving ${name} away from ${to.version}; \`baton rollout abort ${name}\` goes back`,
    );
  }

  /** A pipeline that is run twice is told of the rollout that does it, while it is under way. */
  async #deploy(service: Service, to: Revision, actor: string): Promise<Rollout> {
    const where = this.#where(service, to);
    if (where === "elsewhere") return this.#start(service, to, actor);
    if (where !== "stable") return where;
    const { name } = service;
    const why = `${name} serves ${to.version} (r${to.revision}) already; \`baton rollout history ${name}\` shows what else it can serve`;
    throw new Refusal("precondition", why);
  }

  async #start(service: Service, to: Revision, actor: string): Promise<Rollout> {
    const { rollout, changes } = this.#begin(service, to, actor);
    await this.#o.loop.store(changes);
    return rollout;
  }

  /** A new rollout, and what is to be stored for it; one that runs is superseded in the same batch (RACES C6). */
  #begin(service: Service, to: Revision, actor: string): { readonly rollout: Rollout; readonly changes: Change[] } {
    const { registry, loop, books, random } = this.#o;
    const from = registry.revision(service.name, service.stable) ?? null;
    const hosts = registry.hosts();
    const id = rolloutId(service.name, to.revision, random);
    const changes: Change[] = [];
    let over = this.#active(service.name);
    if (over !== undefined) {
      const context = loop.context(over);
      if (context === null) throw new Refusal("precondition", `revision ${over.to} of ${service.name} is gone`);
      const ended = command(over, { kind: "supersede", actor, by: id }, context);
      if ("kind" in ended) throw new Refusal("precondition", ended.why);
      changes.push(...loop.transition(over, ended.rollout, ended.journal));
      over = ended.rollout;
    }
    const begun = begin({
      id,
      service: service.name,
      from,
      to,
      hosts: placed(to.spec, hosts),
      fromHosts: from === null ? [] : placed(from.spec, hosts),
      now: this.#o.now(),
      actor,
      epoch: registry.epoch,
      ...(over === undefined ? {} : { over }),
    });
    const message = `${service.name} goes from ${from?.version ?? "nothing"} to ${to.version}`;
    const event = { kind: "rollout_started", service: service.name, rollout: id, actor, message };
    changes.push(
      { kind: "rollout", rollout: begun.rollout, expect: -1, entries: begun.journal },
      { kind: "ledger", ledger: books.open(begun.rollout) },
      eventChange({ atMs: this.#o.now(), ...event }),
    );
    return { rollout: begun.rollout, changes };
  }

  #active(service: string): Rollout | undefined {
    return this.#o.registry.active().find((rollout) => rollout.service === service);
  }

  #revision(service: Service, which: { readonly version: string; readonly revision: number }): Revision {
    const { registry } = this.#o;
    const all = registry.revisions(service.name);
    const { version } = which;
    const wanted = which.revision === 0 && version === "" ? service.newest : which.revision;
    // A label may be given twice; the newest that bears it is meant.
    const found =
      wanted === 0 ? all.findLast((revision) => revision.version === version) : registry.revision(service.name, wanted);
    if (found !== undefined && (version === "" || found.version === version)) return found;
    const asked =
      wanted === 0 ? `version ${version}` : `revision ${wanted}${version === "" ? "" : ` of version ${version}`}`;
    const known = all.slice(-5).map((revision) => `${revision.version} (revision ${revision.revision})`);
    throw new Refusal("not-found", `${service.name} has no ${asked}; it has ${known.join(", ")}`);
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

function hint(word: string, known: readonly string[], what: string): string {
  const near = nearest(word, known);
  if (near !== undefined) return `; did you mean ${near}?`;
  if (known.length === 0) return `; there are no ${what} yet`;
  return `; the ${what} are ${known.slice(-10).join(", ")}`;
}
