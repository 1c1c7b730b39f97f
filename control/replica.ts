/**
 * The desk of a controller that follows: the same registry, fleet, books and views as the leader's, fed by what the
 * leader stores and by what every agent says; it decides and sends nothing. Reads and watches are answered here, what
 * changes something is passed to the leader (api/forward.ts).
 *
 * Counts of a ledger are as the leader stored them last, some two seconds ago at most.
 */
import type { Token } from "./api/auth.ts";
import type { OperatorContext } from "./api/context.ts";
import { controlMetrics } from "./api/metrics.ts";
import { operatorService } from "./api/operator.ts";
import type { OperatorServer } from "./api/service.ts";
import type { Desk, Ground } from "./desk.ts";
import { Fleet } from "./fleet/fleet.ts";
import type { FleetNews } from "./fleet/fleet.ts";
import type { SessionOptions } from "./fleet/session.ts";
import { forwarding } from "./api/forward.ts";
import type { Forward } from "./api/forward.ts";
import { Books } from "./ledger/books.ts";
import { Loop } from "./loop.ts";
import { Operations } from "./operations.ts";
import { Registry } from "./registry.ts";
import { Serial } from "./serial.ts";
import type { Batch, Store } from "./store/store.ts";
import type { OtherSessions } from "./term.ts";

export interface ReplicaOptions {
  readonly ground: Ground;
  readonly store: Store;
  readonly forward: Forward;
  /** Hears the agents, and says nothing to them. */
  sessions(session: SessionOptions & { readonly epoch: () => number }): OtherSessions;
  /** It may have missed something: another is to be opened. */
  gap(why: string): void;
}

export async function openReplica(options: ReplicaOptions): Promise<Desk> {
  const { ground, store } = options;
  const { clock, random, log, leaseMs, reportEveryMs } = ground;
  const now = (): number => ground.now();
  const follower = new Early((why) => options.gap(why));
  const unfollow = store.follow(follower);
  try {
    const state = await store.load();
    const registry = new Registry(store, state);
    const books = new Books(state, clock.monotonic(), clock.now());
    const serial = new Serial();
    const silent = { event: () => undefined, report: () => undefined, lost: () => undefined };
    const news: FleetNews = { ...silent, changed: () => loop.heard() };
    const fleet = new Fleet(
      { clock, log, leaseMs, reportEveryMs, news, asks: false },
      state.hosts.map((host) => host.name),
    );
    const metrics = controlMetrics({ registry, fleet, books, clock }, false);
    const loop = new Loop({
      ...{ registry, fleet, books, serial, clock, log, now, acts: false },
      measurements: () => [],
      measured: (ms) => metrics.round(ms),
    });
    const operations = new Operations({ registry, fleet, books, loop, serial, clock, random, now });
    const over = new AbortController();
    const context: OperatorContext = {
      ...{ operations, loop, registry, fleet, books, clock, log, ground, role: "follower", stopping: over.signal },
    };
    const passing = { forward: options.forward, clock, caughtUp: (seq: number) => follower.at(seq) };
    const withToken = (token: Token): OperatorServer =>
      forwarding(operatorService(context, token), { ...passing, token });
    follower.begin((batch) => {
      registry.take(batch);
      for (const change of batch.changes) {
        if (change.kind === "counts" || change.kind === "ledger") books.follow(change);
        else if (change.kind === "forget-service") books.forget(change.service);
      }
      loop.heard();
    }, store.position);
    const others = options.sessions({
      ...{ fleet, clock, random, log, event: silent.event },
      epochFor: () => Promise.resolve(registry.epoch),
      epoch: () => registry.epoch,
    });
    loop.start();

    const stop = async (reason: string): Promise<void> => {
      unfollow();
      follower.end();
      await loop.stop();
      await others.stop(reason);
      over.abort();
    };
    let stopped: Promise<void> | undefined;
    return {
      ...{ role: "follower", metrics, operators: withToken(ground.operatorToken), trusted: withToken(null) },
      get epoch() {
        return registry.epoch;
      },
      get position() {
        return store.position;
      },
      notReady: () => (over.signal.aborted ? "stopping" : ""),
      stop: (reason) => (stopped ??= stop(reason)),
    };
  } catch (error) {
    unfollow();
    throw error;
  }
}

/** Batches that come while the state is still being loaded wait; those that it holds already are dropped. */
class Early {
  readonly gap: (why: string) => void;
  #waiting: Batch[] = [];
  #take: ((batch: Batch) => void) | null = null;
  #seq = 0;
  #ended = false;
  readonly #asked = new Set<() => void>();

  constructor(gap: (why: string) => void) {
    this.gap = gap;
  }

  readonly committed = (batch: Batch): void => {
    if (this.#take === null) {
      this.#waiting.push(batch);
      return;
    }
    if (batch.seq <= this.#seq) return;
    if (batch.seq !== this.#seq + 1) {
      this.gap(`batch ${String(this.#seq + 1)} was not heard`);
      return;
    }
    this.#seq = batch.seq;
    this.#take(batch);
    for (const look of this.#asked) look();
  };

  begin(take: (batch: Batch) => void, loaded: number): void {
    this.#take = take;
    this.#seq = loaded;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const batch of waiting) this.committed(batch);
  }

  /** Nothing more is taken. The desk after this one begins with all that is stored: whoever waits here is let go. */
  end(): void {
    this.#ended = true;
    for (const look of this.#asked) look();
  }

  /** Resolves when this batch has been taken, or never will be. */
  at(seq: number): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.#seq < seq && !this.#ended) return;
        this.#asked.delete(look);
        resolve();
      };
      this.#asked.add(look);
      look();
    });
  }
}
