/**
 * How long to wait before whatever died is started again: not at all after one that had been healthy (its death is news
 * of that process alone), nor the first time; then ever longer, with jitter, so that what can't start takes no host down.
 */
import { Backoff } from "../../proto/kernel/backoff.ts";
import type { Millis } from "../../proto/kernel/clock.ts";
import type { Random } from "../../proto/kernel/random.ts";
import { TIMES } from "./times.ts";

export class Restart {
  readonly #backoff: Backoff;
  #first = true;

  constructor(random: Random) {
    this.#backoff = new Backoff({ baseMs: TIMES.restartBaseMs, maxMs: TIMES.restartMaxMs }, random);
  }

  /** `healthyMs`: how long the one that ended had been up and well. */
  delay(healthyMs: Millis): Millis {
    if (healthyMs >= TIMES.stableMs) {
      this.#backoff.reset();
      this.#first = true;
    }
    if (!this.#first) return this.#backoff.next();
    this.#first = false;
    return 0;
  }
}
