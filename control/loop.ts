/**
 * The reconcile loop: from what is stored and what the fleet has said to what every agent is asked, over and over. It
 * is level-triggered: a lost, repeated or late message costs a round, never a decision (RACES C7).
 *
 *   1. hosts as they announced themselves are stored
 *   2. everything is compiled and noted as wanted, so that the view shows what *this* state asks for
 *   3. each active rollout takes a step on that view; what changed is stored with its journal in one transaction
 *   4. until nothing moves: again from 2
 *   5. what is wanted and not applied is sent; only now, since all that led to it is stored
 *
 * Errors  a store that fails stops the round before anything is sent; the round is tried again after `RETRY_MS`.
 *         Being fenced off ends it (Registry.onLost).
 */
import type { Clock, Millis, Timer } from "../proto/kernel/clock.ts";
import type { Log } from "../proto/kernel/log.ts";
import { unblocked } from "./beginning.ts";
import type { Agent } from "./fleet/agent.ts";
import type { Fleet } from "./fleet/fleet.ts";
import { announcedHost, joinMessage } from "./fleet/hosts.ts";
import type { Books } from "./ledger/books.ts";
import type { ExternalMeasurement } from "./model/analysis.ts";
import type { Rollout } from "./model/rollout.ts";
import type { FleetView } from "./model/view.ts";
import { eventChange, StoreFailed } from "./registry.ts";
import type { Registry } from "./registry.ts";
import { retire } from "./retirement.ts";
import { step } from "./rollout/engine.ts";
import type { Cluster, Context } from "./rollout/types.ts";
import type { Serial } from "./serial.ts";
import type { Change } from "./store/store.ts";
import { Wanted } from "./wanted.ts";

/** News within so long is taken together. */
const COALESCE_MS = 20;
/** Leases and deadlines are looked at this often though nothing is reported. */
const TICK_MS = 250;
const RETRY_MS = 1_000;
/** Counts are stored this often while they grow. */
const CHECKPOINT_MS = 2_000;
/** What hosts wait for is stored this often, when nothing else changes with it. */
const TELL_MS = 500;
/** A rollout that never comes to rest within one round is a defect; the rest waits for the next round. */
const STEPS_A_ROUND = 50;

export interface LoopOptions {
  /** False for a controller that follows: what is wanted is worked out, for those who look, and nothing is done. */
  readonly acts: boolean;
  readonly registry: Registry;
  readonly fleet: Fleet;
  readonly books: Books;
  readonly serial: Serial;
  readonly clock: Clock;
  readonly log: Log;
  /** Wall time that no step of the wall clock moves while this controller lives. */
  now(): Millis;
  /** What sources outside the controller have said for a rollout's analyses (analysis/runner.ts). */
  measurements(rollout: Rollout): readonly ExternalMeasurement[];
  /** A round took so long, milliseconds. */
  measured(ms: Millis): void;
}

export class Loop {
  readonly #options: LoopOptions;
  #soon: Timer | null = null;
  /** Monotonic: when `#soon` fires. */
  #soonAt: Millis = 0;
  #tick: Timer | null = null;
  #stopped = false;
  #checkpointAt: Millis = 0;
  /** Monotonic: no round before, after one that failed. */
  #restUntil: Millis = 0;
  /** How long the last round took. */
  #roundMs: Millis = 0;
  readonly #wanted: Wanted;
  /** Agents that may have announced something new of themselves. */
  readonly #announced: Set<Agent>;
  /** Monotonic: when a change of mere words was last stored, by rollout. */
  readonly #toldAt = new Map<string, Millis>();
  readonly #changed = new Set<() => void>();

  constructor(options: LoopOptions) {
    this.#options = options;
    this.#wanted = new Wanted(options.registry, options.fleet);
    this.#announced = options.fleet.follow();
  }

  start(): void {
    this.#tick = this.#options.clock.every(TICK_MS, () => {
      this.#options.fleet.sweep();
      this.heard();
    });
    this.poke();
  }

  /** There is something to decide: a round follows at once. */
  poke(): void {
    this.#in(COALESCE_MS);
  }

  /** Agents said something: a round follows shortly; where rounds take long, no sooner than twice as long as that. */
  heard(): void {
    this.#in(Math.max(COALESCE_MS, Math.min(TICK_MS, 2 * this.#roundMs)));
  }

  #in(delay: Millis): void {
    if (this.#stopped) return;
    const { clock } = this.#options;
    const now = clock.monotonic();
    const at = Math.max(now + delay, this.#restUntil);
    if (this.#soon !== null) {
      if (this.#soonAt <= at) return;
      this.#soon.cancel();
    }
    this.#soonAt = at;
    this.#soon = clock.after(at - now, () => {
      this.#soon = null;
      void this.#turn();
    });
  }

  /** Calls `listener` after each round, until the answer is called. */
  onRound(listener: () => void): () => void {
    this.#changed.add(listener);
    return () => void this.#changed.delete(listener);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#tick?.cancel();
    this.#soon?.cancel();
    if (this.#options.acts) await this.#options.serial.run(() => this.#checkpoint([], true)).catch(() => undefined);
  }

  /** What the engine is told of a service now. */
  view(service: string): FleetView {
    const { registry, books } = this.#options;
    const id = registry.activeOf(service)?.id ?? "";
    return {
      ...this.#wanted.view(service, id),
      traffic: id === "" ? {} : books.traffic(id),
      unexplainedLoss: id === "" ? 0 : books.unexplained(id),
    };
  }

  /** What the engine is told for a step or a command; null when a revision is gone, which nothing should do. */
  context(rollout: Rollout): Context | null {
    const { registry } = this.#options;
    const to = registry.revision(rollout.service, rollout.to);
    const from = registry.revision(rollout.service, rollout.from) ?? null;
    if (to === undefined) return null;
    const { hosts, groups } = this.#wanted.placed(to.spec);
    const cluster: Cluster = { hosts, fromHosts: from === null ? [] : this.#wanted.placed(from.spec).hosts, groups };
    return {
      from,
      to,
      cluster,
      view: this.view(rollout.service),
      now: this.#options.now(),
      epoch: registry.epoch,
      measurements: this.#options.measurements(rollout),
    };
  }

  async #turn(): Promise<void> {
    const { serial, clock, log } = this.#options;
    const began = clock.monotonic();
    try {
      await serial.run(() => (this.#stopped ? Promise.resolve() : this.#round()));
      this.#roundMs = clock.monotonic() - began;
      this.#options.measured(this.#roundMs);
      for (const listener of this.#changed) listener();
    } catch (error) {
      log.error({ err: error }, "a round of the reconcile loop failed; it is tried again");
      this.#restUntil = clock.monotonic() + RETRY_MS;
      // Whoever is fenced off is told by the registry, and ends this loop.
      if (!(error instanceof StoreFailed && error.fenced)) this.poke();
    }
  }

  async #round(): Promise<void> {
    const { registry, fleet, books, clock } = this.#options;
    if (!this.#options.acts) {
      this.#wanted.compile();
      return;
    }
    await this.#storeHosts();
    await retire({ registry, fleet, books, now: this.#options.now() });
    let wakeAt: Millis | null = null;
    for (let n = 0; n < STEPS_A_ROUND; n++) {
      await this.#unblock();
      this.#wanted.compile();
      const stepped = await this.#step();
      wakeAt = stepped.wakeAt;
      if (!stepped.moved) break;
      if (n === STEPS_A_ROUND - 1) wakeAt = this.#options.now();
    }
    await this.#judgeLosses();
    if (clock.monotonic() >= this.#checkpointAt) await this.#checkpoint();
    if (!this.#stopped) fleet.flush(registry.epoch);
    // The tick comes round within TICK_MS anyway.
    if (wakeAt !== null && wakeAt - this.#options.now() < TICK_MS) this.poke();
  }

  async #step(): Promise<{ readonly moved: boolean; readonly wakeAt: Millis | null }> {
    const { registry, books } = this.#options;
    let moved = false;
    let wakeAt: Millis | null = null;
    for (const rollout of registry.active()) {
      const context = this.context(rollout);
      if (context === null) continue;
      const decision = step(rollout, context);
      if (decision.wakeAtMs !== null) wakeAt = Math.min(wakeAt ?? decision.wakeAtMs, decision.wakeAtMs);
      if (decision.rollout === rollout || (decision.onlyWords === true && !this.#mayTell(rollout.id))) continue;
      // An end is not told while a loss is still being looked into: it may have to halt the rollout.
      if (decision.rollout.endedAtMs > 0 && books.pending(rollout.service) > 0) continue;
      await this.store(this.transition(rollout, decision.rollout, decision.journal));
      moved ||= decision.onlyWords !== true;
    }
    return { moved, wakeAt };
  }

  /** What a thousand hosts wait for changes many times a second: it is stored for people, who read it once. */
  #mayTell(rollout: string): boolean {
    const now = this.#options.clock.monotonic();
    if (now < (this.#toldAt.get(rollout) ?? 0) + TELL_MS) return false;
    for (const id of this.#toldAt.keys())
      if (this.#options.registry.rollout(id)?.endedAtMs !== 0) this.#toldAt.delete(id);
    this.#toldAt.set(rollout, now);
    return true;
  }

  /** Rollouts that waited for another to go back begin. */
  async #unblock(): Promise<void> {
    const changes = unblocked(this.#options);
    if (changes.length > 0) await this.store(changes);
  }

  /** Commits, and lets the books know which ledgers were opened or closed by it. */
  async store(changes: readonly Change[]): Promise<void> {
    await this.#options.registry.commit(changes);
    const { registry, books } = this.#options;
    for (const change of changes) {
      if (change.kind === "ledger") books.take(change.ledger);
      // A new one has pushed out the oldest.
      if (change.kind !== "rollout" || change.expect !== -1) continue;
      const { service } = change.rollout;
      books.keep(
        service,
        registry.rollouts(service).map(({ id }) => id),
      );
    }
  }

  /** All that one decision stores, in one batch. */
  transition(before: Rollout, after: Rollout, journal: readonly Journalled[]): Change[] {
    const { registry, books, fleet } = this.#options;
    // Whoever resumes has mended what was refused, or wants to know.
    const resumed = before.pause?.reason === "Rejected" && after.pause === null;
    if (resumed && journal.some(({ actor }) => actor !== "engine")) fleet.askAgain(after.service);
    const changes: Change[] = [{ kind: "rollout", rollout: after, expect: before.change, entries: journal }];
    const service = registry.service(after.service);
    if (service !== undefined && promoted(after) && !promoted(before)) {
      changes.push({ kind: "service", service: { ...service, stable: after.to, previous: after.from } });
    }
    if (after.endedAtMs > 0) {
      const ledger = books.close(after.id);
      if (ledger !== null) changes.push({ kind: "ledger", ledger });
    }
    for (const { atMs, actor, stage, reason, message } of journal) {
      const words = `${stage}${reason === "" ? "" : ` (${reason})`}: ${message}`;
      const of = { service: after.service, rollout: after.id, actor };
      changes.push(eventChange({ atMs, kind: "rollout", ...of, message: words }));
    }
    return changes;
  }

  async #storeHosts(): Promise<void> {
    const { registry } = this.#options;
    const changes: Change[] = [];
    const announced = [...this.#announced];
    this.#announced.clear();
    for (const agent of announced) {
      const before = registry.host(agent.name);
      const host = announcedHost(agent, before);
      if (host === null) continue;
      changes.push({ kind: "host", host });
      const message = joinMessage(host, before);
      if (message === "") continue;
      changes.push(eventChange({ atMs: this.#options.clock.now(), kind: "host_joined", host: host.name, message }));
    }
    if (changes.length === 0) return;
    try {
      await registry.commit(changes);
    } catch (error) {
      for (const agent of announced) this.#announced.add(agent);
      throw error;
    }
  }

  async #judgeLosses(): Promise<void> {
    const { fleet, books, clock } = this.#options;
    if (this.#stopped) return; // in mid-round: nothing is heard any more that would explain anything
    const judged = books.settle(clock.monotonic(), (name) => fleet.silent(name));
    if (judged.length === 0) return;
    const { log } = this.#options;
    const told = judged.map(({ loss, explanation }) => {
      const { host, service, version, endpoint, cause, count, atMs } = loss;
      const where = endpoint === "" ? host : `${host} (to ${endpoint})`;
      const why = explanation === "" ? "nothing that was seen explains it" : explanation;
      const message = `${where} lost ${count} of ${service} ${version}: ${cause}; ${why}`;
      const kind = explanation === "" ? "loss_unexplained" : "loss";
      log[explanation === "" ? "error" : "info"]({ kind, host, service }, message);
      return eventChange({ atMs, kind, service, host, message });
    });
    await this.#checkpoint(told);
    this.poke();
  }

  async #checkpoint(with_: readonly Change[] = [], all = false): Promise<void> {
    const { registry, books, clock } = this.#options;
    const { counts, ledgers, failed } = books.checkpoint(all);
    const changes: Change[] = [
      ...counts.map((page) => ({ kind: "counts", counts: page }) as const),
      ...ledgers
        .filter((ledger) => registry.rollout(ledger.rollout) !== undefined)
        .map((ledger) => ({ kind: "ledger", ledger }) as const),
      ...with_,
    ];
    this.#checkpointAt = clock.monotonic() + CHECKPOINT_MS;
    if (changes.length === 0) return;
    try {
      await registry.commit(changes);
    } catch (error) {
      failed();
      throw error;
    }
  }
}

/** Traffic rests on the target from here on. */
export const promoted = ({ stage }: Rollout): boolean =>
  ["promoting", "draining", "finalizing", "succeeded"].includes(stage.kind);

type Journalled = Extract<Change, { readonly kind: "rollout" }>["entries"][number];
