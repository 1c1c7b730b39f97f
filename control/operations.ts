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
import { begun, blocked } from "./beginning.ts";
import type { Begun } from "./beginning.ts";
import type { Fleet } from "./fleet/fleet.ts";
import type { Books } from "./ledger/books.ts";
import { promoted } from "./loop.ts";
import type { Loop } from "./loop.ts";
import type { Command, Rollout } from "./model/rollout.ts";
import type { Host, Revision, Service } from "./model/service.ts";
import { Refusal } from "./refusal.ts";
import { eventChange } from "./registry.ts";
import type { Registry } from "./registry.ts";
import { command } from "./rollout/engine.ts";
import type { Serial } from "./serial.ts";

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
      const running = this.#o.registry.activeOf(name);
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

  /** Where a revision stands that is to be served: it is already, a rollout is taking the service there, or neither. */
  #where(service: Service, to: Revision): Rollout | "stable" | "elsewhere" {
    const { name, stable } = service;
    const { registry } = this.#o;
    const waiting = registry.blockedOf(name);
    if (waiting?.to === to.revision) return waiting;
    const running = registry.activeOf(name);
    if (running === undefined) return stable === to.revision ? "stable" : "elsewhere";
    const { id } = running;
    const back = goingBack(running);
    if (back && running.to === to.revision) {
      const why = `${id} is going back from ${to.version}; deploy it again once that is over (\`baton rollout watch ${name}\`)`;
      throw new Refusal("precondition", why);
    }
    if (running.to === to.revision) return running;
    if (stable !== to.revision) return "elsewhere";
    if (!back) {
      const why = `${id} is moving ${name} away from ${to.version}; \`baton rollout abort ${name}\` goes back`;
      throw new Refusal("precondition", why);
    }
    const on =
      waiting === undefined
        ? `\`baton rollout watch ${name}\` follows it`
        : `\`baton rollout abort ${name}\` gives up ${waiting.id}, which is to follow`;
    throw new Refusal("precondition", `${id} is going back to ${to.version} already; ${on}`);
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
    // After a first rollout there is nothing to go back to; a promoted one refuses both.
    if (over.strategy.onSupersede === "rollBackFirst" && over.from !== 0 && !promoted(over)) {
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

const goingBack = ({ stage }: Rollout): boolean => stage.kind === "aborting" || stage.kind === "rolling-back";

function hint(word: string, known: readonly string[], what: string): string {
  const near = nearest(word, known);
  if (near !== undefined) return `; did you mean ${near}?`;
  if (known.length === 0) return `; there are no ${what} yet`;
  return `; the ${what} are ${known.slice(-10).join(", ")}`;
}
