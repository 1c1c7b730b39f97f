/**
 * Keep-alive connections, rested on purpose: part of them lie idle for a random time before they carry the next
 * request, so that requests meet every idle timeout on the way just as it fires (RACES R1, R2).
 *
 * A connection whose rest is over is taken first, the longest overdue of them, so that the rest it was given is what it
 * really got. Only when all are resting and the pool is full is a rest cut short.
 *
 * Cost  one pass over at most `size` entries a request.
 */
import type { Clock, Millis } from "../../proto/kernel/clock.ts";
import type { Random } from "../../proto/kernel/random.ts";
import { HttpConnection } from "./connection.ts";
import type { Target } from "./connection.ts";
import type { Ledger } from "./ledger.ts";

export interface PoolOptions {
  readonly target: Target;
  readonly clock: Clock;
  readonly random: Random;
  readonly ledger: Ledger;
  readonly timeoutMs: Millis;
  /** The longest rest. */
  readonly idlePauseMs: Millis;
  /** The share of exchanges after which a connection rests, 0..1. */
  readonly idleShare: number;
  /** Connections that lie idle at once. */
  readonly size: number;
}

export class Pool {
  readonly #options: PoolOptions;
  readonly #resting = new Map<HttpConnection, Millis>();

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** A connection that has carried others, when there is one, else a new one. */
  take(): HttpConnection {
    const now = this.#options.clock.monotonic();
    let first: HttpConnection | undefined;
    let due = Infinity;
    for (const [connection, at] of this.#resting) {
      if (at < due) [first, due] = [connection, at];
    }
    if (first === undefined || (due > now && this.#resting.size < this.#options.size)) return this.open();
    this.#resting.delete(first);
    this.#options.ledger.count("reused");
    return first;
  }

  /** A connection of its own, for a request that wants a new one. */
  open(): HttpConnection {
    const { target, clock, timeoutMs, ledger } = this.#options;
    ledger.count("connections");
    return new HttpConnection(target, clock, timeoutMs, {
      idleClosed: (connection) => {
        this.#resting.delete(connection);
        ledger.count("idleClosed");
      },
      stray: (connection) => {
        this.#resting.delete(connection);
        ledger.count("violations");
      },
    });
  }

  /** Back after an answer; one that is closed is forgotten. */
  give(connection: HttpConnection): void {
    if (connection.closed) return;
    const { clock, random, idleShare, idlePauseMs } = this.#options;
    const rest = random.next() < idleShare ? random.next() * idlePauseMs : 0;
    this.#resting.set(connection, clock.monotonic() + rest);
  }

  close(): void {
    for (const connection of this.#resting.keys()) connection.destroy();
    this.#resting.clear();
  }
}
