/**
 * What is wrong with one request, by the version's behaviour: asked once as it arrives, answered at once. Shares are
 * spread evenly and not by chance, so that 20 % of 50 requests are 10 in every run.
 *
 * Units  milliseconds, of a monotonic clock that the caller reads.
 */
import type { Behaviour } from "./behaviour.ts";

export type Fault =
  | { readonly kind: "none"; readonly delayMs: number }
  /** The answer in place of the right one, after the same delay. */
  | { readonly kind: "error"; readonly delayMs: number; readonly status: 500 | 503; readonly why: string }
  | { readonly kind: "crash" };

export class Faults {
  readonly #behaviour: Behaviour;
  /** Taken within the last second, oldest first; kept only where a rate is watched. */
  readonly #recent: number[] = [];
  #seen = 0;

  constructor(behaviour: Behaviour) {
    this.#behaviour = behaviour;
  }

  /** App requests so far. */
  get seen(): number {
    return this.#seen;
  }

  /** `inFlight` counts this one too; `header` reads one of its fields. */
  of(nowMs: number, inFlight: number, header: (name: string) => boolean): Fault {
    const { crashAfterRequests, errorShare, delayMs, slowShare, slowMs, maxPerSecond, maxInFlight, errorsFor } =
      this.#behaviour;
    this.#seen += 1;
    if (crashAfterRequests !== null && this.#seen >= crashAfterRequests) return { kind: "crash" };
    const delay = delayMs + (this.#falls(slowShare) ? slowMs : 0);
    const error = (status: 500 | 503, why: string): Fault => ({ kind: "error", delayMs: delay, status, why });
    if (errorsFor !== "" && header(errorsFor)) return error(500, `this version fails for ${errorsFor}`);
    if (inFlight > maxInFlight) return error(503, `overloaded: ${inFlight} at once, ${maxInFlight} are too many`);
    if (!this.#room(nowMs)) return error(503, `overloaded: more than ${maxPerSecond} in a second`);
    if (this.#falls(errorShare)) return error(500, `this version fails ${errorShare * 100} % of requests`);
    return { kind: "none", delayMs: delay };
  }

  /** Is the present request one of the `share`: does the count of those grow with it? */
  #falls(share: number): boolean {
    return Math.floor(this.#seen * share) > Math.floor((this.#seen - 1) * share);
  }

  /** Is one more within the rate? One that is refused is no work, and takes up no room. */
  #room(nowMs: number): boolean {
    const { maxPerSecond } = this.#behaviour;
    if (maxPerSecond === Infinity) return true;
    while ((this.#recent[0] ?? Infinity) <= nowMs - 1_000) this.#recent.shift();
    if (this.#recent.length >= maxPerSecond) return false;
    this.#recent.push(nowMs);
    return true;
  }
}
