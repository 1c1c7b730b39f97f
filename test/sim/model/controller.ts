/**
 * The model world's controller: the real engine, compiler, fleet and barrier (control/rollout, control/desired,
 * control/fleet, control/wanted.ts) in the loop that control/loop.ts runs, with a store of plain JSON. What is not stored is gone when it
 * dies. Counts of requests come straight from the traffic: how they are gathered is the ledger's own test.
 */
import type { Hello } from "../../../proto/contract/session.ts";
import type { AgentMessage } from "../../../proto/contract/session.ts";
import { SESSION } from "../../../proto/contract/limits.ts";
import type { Timer } from "../../../proto/kernel/clock.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import type { ExternalMeasurement } from "../../../control/model/analysis.ts";
import type { Command, JournalEntry, Rollout } from "../../../control/model/rollout.ts";
import type { Host, Revision, Service } from "../../../control/model/service.ts";
import type { FleetView } from "../../../control/model/view.ts";
import { placed } from "../../../control/desired/placement.ts";
import type { SessionPort } from "../../../control/fleet/agent.ts";
import { Fleet } from "../../../control/fleet/fleet.ts";
import { ended } from "../../../control/rollout/describe.ts";
import { begin, command, step } from "../../../control/rollout/engine.ts";
import type { Registry } from "../../../control/registry.ts";
import type { Beginning, Context, Decision } from "../../../control/rollout/types.ts";
import { Wanted } from "../../../control/wanted.ts";
import { Counts } from "./counts.ts";
import type { Timeline } from "./timeline.ts";

/** As the real loop's. */
const COALESCE_MS = 20;
const TICK_MS = 250;
/** Of past rollouts and of the journal, so many are kept: the store of a real one keeps all. */
const KEPT_ROLLOUTS = 20;
const KEPT_ENTRIES = 400;

export interface Plan {
  readonly before: Rollout;
  readonly after: Rollout;
  readonly context: Context;
  /** null: the engine's own step. */
  readonly said: Command | null;
}

export interface Watcher {
  /** A decision that changed something. */
  planned(plan: Plan): void;
  /** What sources outside the controller have said so far; asked for what is due. */
  measurements(rollout: Rollout): readonly ExternalMeasurement[];
}

/** What survives. */
interface Stored {
  service: Service;
  rollout: Rollout | null;
  /** Waits for the one before to go back. */
  waiting: Rollout | null;
}

export class SimController {
  epoch = 1;
  alive = true;
  hosts: Host[] = [];
  /** Replaced whole when one comes or goes. */
  revisions: readonly Revision[] = [];
  readonly journal: JournalEntry[] = [];
  readonly past: Rollout[] = [];
  readonly counts = new Counts();
  rounds = 0;
  /** Told of every rollout that is over. */
  onEnd: (rollout: Rollout) => void = () => undefined;
  #stored: Stored = {
    service: { name: "shop", stable: 0, previous: 0, newest: 0 },
    rollout: null,
    waiting: null,
  };
  #begun = 0;
  #services: readonly Service[] = [];
  readonly #registry = this.#registryOf();
  #fleet: Fleet;
  #wanted: Wanted;
  #soon: Timer | null = null;
  #wake: Timer | null = null;
  readonly #time: Timeline;
  readonly #watcher: Watcher;
  readonly #leaseMs: number;

  constructor(time: Timeline, leaseMs: number, watcher: Watcher) {
    this.#time = time;
    this.#watcher = watcher;
    this.#leaseMs = leaseMs;
    this.#fleet = this.#newFleet();
    this.#wanted = new Wanted(this.#registry, this.#fleet);
    time.every(TICK_MS, () => this.#tick());
  }

  get service(): Service {
    return this.#stored.service;
  }

  set service(service: Service) {
    this.#stored.service = service;
  }

  get rollout(): Rollout | null {
    return this.#stored.rollout;
  }

  get waiting(): Rollout | null {
    return this.#stored.waiting;
  }

  get fleet(): Fleet {
    return this.#fleet;
  }

  greeted(hello: Hello, session: SessionPort): boolean {
    if (!this.alive) return false;
    // A controller that is met by an agent of a later one is one of the past; here that can't be.
    if (hello.highestEpoch > this.epoch) throw new Error(`${hello.host} has seen epoch ${hello.highestEpoch}`);
    if (!this.hosts.some((host) => host.name === hello.host)) this.#join(hello);
    const connected = this.#fleet.connect(hello, session);
    if (connected.kind !== "open") return false;
    connected.agent.toldEpoch = this.epoch;
    const welcome = { epoch: this.epoch, session: session.id, reportEveryMs: 250, leaseMs: this.#leaseMs };
    session.send({ kind: "welcome", welcome });
    this.#changed();
    return true;
  }

  #join({ host: name, role, labels, address, software }: Hello): void {
    const ports: Record<string, number> = role === "host" ? { "shop/0": 40_000 } : {};
    const inboundPorts = "assigned" as const;
    this.hosts = [...this.hosts, { name, role, labels, address, software, adminState: "ready", inboundPorts, ports }];
  }

  disconnected(host: string, session: SessionPort): void {
    const agent = this.#fleet.agent(host);
    if (agent !== undefined) this.#fleet.disconnected(agent, session);
  }

  hear(host: string, session: SessionPort, message: Exclude<AgentMessage, { readonly kind: "hello" }>): void {
    const agent = this.#fleet.agent(host);
    if (this.alive && agent !== undefined) this.#fleet.receive(agent, session, message);
  }

  admin(name: string, adminState: Host["adminState"]): void {
    this.hosts = this.hosts.map((host) => (host.name === name ? { ...host, adminState } : host));
    this.#changed();
  }

  /** Killed: what was not stored is gone, and no one is heard of yet. It starts again after `forMs`. */
  restart(forMs = 0): void {
    this.alive = false;
    this.#soon?.cancel();
    this.#wake?.cancel();
    this.#soon = this.#wake = null;
    const back = (): void => {
      if (this.alive) return;
      this.alive = true;
      this.epoch += 1;
      this.#stored = JSON.parse(JSON.stringify(this.#stored)) as Stored;
      this.#fleet = this.#newFleet();
      this.#wanted = new Wanted(this.#registry, this.#fleet);
      this.#changed();
    };
    if (forMs === 0) back();
    else this.#time.after(forMs, back);
  }

  /** What the engine answers to a controller that another has followed: nothing may come of it (I4). */
  pastLeaderSteps(): boolean {
    const { rollout } = this;
    if (rollout === null || rollout.epoch < 2) return false;
    const context = { ...this.context(rollout), epoch: rollout.epoch - 1 };
    const said = command(rollout, { kind: "abort", actor: "past", reason: "" }, context);
    return step(rollout, context).rollout !== rollout || !("kind" in said);
  }

  /** As control/operations.ts does it; "" or why not. */
  deploy(to: number): string {
    const { service, rollout: over } = this;
    const wanted = `shop-${++this.#begun}`;
    if (this.#stored.waiting !== null) {
      const refused = this.#saidTo(this.#stored.waiting, { kind: "supersede", actor: "ops", by: wanted });
      if (refused !== "") return refused;
    }
    if (over === null && service.stable === to) return "served already";
    if (over !== null) {
      const back = over.stage.kind === "rolling-back" || over.stage.kind === "aborting";
      if (over.to === to) return "under way, or going back from it";
      if (service.stable === to) return "abort goes back";
      const promoted = ["promoting", "draining", "finalizing"].includes(over.stage.kind);
      if (over.strategy.onSupersede === "rollBackFirst" && over.from !== 0 && !promoted) {
        if (!back) this.say({ kind: "abort", actor: "ops", reason: "a newer one takes its place" });
        const { rollout: blank } = begin(this.#beginning(wanted, to));
        const why = "its strategy says onSupersede: rollBackFirst";
        this.#stored.waiting = { ...blank, hosts: [], stage: { kind: "blocked", behind: over.id, why } };
        this.#changed();
        return "";
      }
      const refused = this.say({ kind: "supersede", actor: "ops", by: wanted });
      if (refused !== "") return refused;
      this.#begin(wanted, to, this.past.at(-1));
      return "";
    }
    this.#begin(wanted, to);
    return "";
  }

  /** "" or why not. */
  say(said: Command): string {
    if (!this.alive) return "there is no controller";
    const { rollout, waiting } = this;
    // One that waits behind another which goes back already is what can still be given up.
    const meant = said.kind === "abort" && waiting !== null ? waiting : rollout;
    return meant === null ? "no rollout" : this.#saidTo(meant, said);
  }

  #saidTo(rollout: Rollout, said: Command): string {
    this.#wanted.compile();
    const context = this.context(rollout);
    const answer = command(rollout, said, context);
    if ("kind" in answer) return answer.why;
    const resumed = rollout.pause?.reason === "Rejected" && answer.rollout.pause === null;
    if (resumed) this.#fleet.askAgain("shop");
    this.#take(rollout, answer, context, said);
    this.#changed();
    return "";
  }

  #begin(id: string, to: number, over?: Rollout): void {
    const { rollout, journal } = begin(this.#beginning(id, to, over));
    this.counts.clear();
    this.journal.push(...journal);
    this.#stored.rollout = rollout;
    this.#changed();
  }

  #beginning(id: string, number: number, over?: Rollout): Beginning {
    const from = this.service.stable === 0 ? null : this.revision(this.service.stable);
    const to = this.revision(number);
    const window = from?.spec.strategy.rollbackWindow ?? 0;
    const promoted = this.past.filter(({ stage }) => stage.kind === "succeeded").map((one) => one.to);
    const recent = [...new Set([this.service.previous, ...promoted.toReversed()])].filter(
      (one) => one !== 0 && one !== this.service.stable,
    );
    return {
      ...{ id, service: "shop", from, to, hosts: placed(to.spec, this.hosts) },
      fromHosts: from === null ? [] : placed(from.spec, this.hosts),
      ...{ now: this.#time.now(), actor: "ops", epoch: this.epoch },
      fastTrack: recent.slice(0, window).includes(number),
      ...(over === undefined ? {} : { over }),
    };
  }

  revision(number: number): Revision {
    const found = this.revisions.find((revision) => revision.revision === number);
    if (found === undefined) throw new Error(`no revision ${number}`);
    return found;
  }

  context(rollout: Rollout): Context {
    const to = this.revision(rollout.to);
    const from = rollout.from === 0 ? null : this.revision(rollout.from);
    const { hosts, groups } = this.#wanted.placed(to.spec);
    const cluster = { hosts, fromHosts: from === null ? [] : this.#wanted.placed(from.spec).hosts, groups };
    const measurements = this.#watcher.measurements(rollout);
    return { ...{ from, to, cluster, measurements }, view: this.view(), now: this.#time.now(), epoch: this.epoch };
  }

  view(): FleetView {
    const { counts } = this;
    return {
      ...this.#wanted.view("shop", this.rollout?.id ?? ""),
      traffic: counts.traffic(),
      unexplainedLoss: counts.unexplainedLosses,
    };
  }

  /** As much of the real one as those ask that are real here. */
  #registryOf(): Registry {
    const registry = {
      services: () => (this.#services[0] === this.service ? this.#services : (this.#services = [this.service])),
      service: (name: string) => (name === "shop" ? this.service : undefined),
      hosts: () => this.hosts,
      host: (name: string) => this.hosts.find((host) => host.name === name),
      revisions: () => this.revisions,
      revision: (_: string, number: number) => this.revisions.find(({ revision }) => revision === number),
      active: () => (this.rollout === null ? [] : [this.rollout]),
      activeOf: () => this.rollout ?? undefined,
      retirement: () => undefined,
      structure: 0,
    };
    // Holds are looked at with every round: what is known here changes with every rollout.
    return Object.defineProperty(registry, "structure", { get: () => this.rounds }) as unknown as Registry;
  }

  #newFleet(): Fleet {
    const news = {
      changed: () => this.#changed(),
      event: () => undefined,
      report: () => undefined,
      lost: () => undefined,
    };
    const options = { clock: this.#time, log: silentLog, news, leaseMs: this.#leaseMs };
    return new Fleet(
      options,
      this.hosts.map(({ name }) => name),
    );
  }

  /** There is news that a decision may stand on. */
  #changed(): void {
    this.#roundIn(COALESCE_MS);
  }

  #roundIn(ms: number): void {
    if (this.#soon !== null || !this.alive) return;
    this.#soon = this.#time.after(ms, () => {
      this.#soon = null;
      this.#round();
    });
  }

  /** Leases run out, and counts grow, without news; of those, every second tick is enough here. */
  #tick(): void {
    if (!this.alive) return;
    this.#fleet.sweep();
    this.#ticks += 1;
    if (this.#ticks % 2 === 0 && this.rollout?.stage.kind === "step") this.#roundIn(COALESCE_MS);
  }
  #ticks = 0;

  #round(): void {
    this.rounds += 1;
    this.#wake?.cancel();
    let wakeAt: number | null = null;
    for (let n = 0; ; n++) {
      if (n === 60) throw new Error(`the engine never comes to rest: ${JSON.stringify(this.journal.slice(-4))}`);
      this.#unblock();
      this.#wanted.compile();
      const { rollout } = this;
      if (rollout === null) break;
      const context = this.context(rollout);
      const decision = step(rollout, context);
      wakeAt = decision.wakeAtMs;
      if (decision.rollout === rollout) break;
      this.#take(rollout, decision, context, null);
    }
    this.#fleet.flush(this.epoch);
    if (wakeAt !== null) this.#wake = this.#time.after(wakeAt - this.#time.now() + 1, () => this.#round());
  }

  #unblock(): void {
    const { waiting, rollout } = this.#stored;
    if (waiting === null || rollout !== null) return;
    this.#stored.waiting = null;
    this.#begin(waiting.id, waiting.to);
  }

  #take(before: Rollout, decision: Decision, context: Context, said: Command | null): void {
    const after = decision.rollout;
    this.journal.push(...decision.journal);
    if (this.journal.length > 2 * KEPT_ENTRIES) this.journal.splice(0, KEPT_ENTRIES);
    this.#watcher.planned({ before, after, context, said });
    if (before.id === this.#stored.waiting?.id) {
      if (!ended(after)) return;
      this.#stored.waiting = null;
      this.onEnd(after);
      return;
    }
    if (after.stage.kind === "promoting" && before.stage.kind !== "promoting") {
      this.service = { ...this.service, stable: after.to, previous: after.from };
    }
    this.#stored.rollout = after;
    if (!ended(after)) return;
    this.past.push(after);
    this.onEnd(after);
    if (this.past.length > KEPT_ROLLOUTS) this.past.shift();
    this.#stored.rollout = null;
  }
}

/** How long after a start of the controller a host that is not heard of counts as lost. */
export const lostAfterStartMs = (leaseMs: number): number => leaseMs + SESSION.reconnectMaxMs;
