/**
 * Exponential backoff with equal jitter, as a value: ask for the next delay, reset after success.
 *
 * Source  "Exponential Backoff And Jitter", AWS Architecture Blog 2015: equal jitter keeps half of each
 *         delay, so that a peer which fails at once is never hammered by a run of small numbers.
 */
import type { Millis } from "./clock.ts";
import type { Random } from "./random.ts";

export interface BackoffOptions {
  readonly baseMs: Millis;
  readonly maxMs: Millis;
}

export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: Random;
  #attempt = 0;

  constructor(options: BackoffOptions, random: Random) {
    this.#options = options;
    this.#random = random;
  }

  get attempts(): number {
    return this.#attempt;
  }

  /** The next delay: uniform in [ceiling/2, ceiling], the ceiling doubling from base to max. */
  next(): Millis {
    const ceiling = Math.min(this.#options.maxMs, this.#options.baseMs * 2 ** Math.min(this.#attempt, 30));
    this.#attempt += 1;
    return ceiling / 2 + (this.#random.next() * ceiling) / 2;
  }

  reset(): void {
    this.#attempt = 0;
  }
}
