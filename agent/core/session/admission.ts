/**
 * Over NATS an agent's assignment is at hand before any controller has let the agent in, and still is once it was turned
 * away: another machine may have its name. So what comes to one that nobody knows yet, or that was told to leave, waits for
 * a welcome; unless no controller is there to say it, for then nothing is to keep a host from what was asked of it last (C1).
 *
 * An agent that has a last good assignment was let in once.
 */
import type { Assignment } from "../../../proto/contract/assignment.ts";
import type { Clock, Millis, Timer } from "../../../proto/kernel/clock.ts";

export interface AdmissionOptions {
  readonly clock: Clock;
  readonly admitted: boolean;
  /** So long without a word of any controller, and none is there. */
  readonly silentMs: Millis;
  /** When one was last heard of, by the monotonic clock. */
  readonly heardAt: () => Millis;
  readonly offer: (assignment: Assignment) => void;
}

export class Admission {
  readonly #options: AdmissionOptions;
  #admitted: boolean;
  /** The newest. */
  #waiting: Assignment | null = null;
  #timer: Timer | undefined;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#admitted = options.admitted;
  }

  take(assignment: Assignment): void {
    this.#waiting = assignment;
    this.#look();
  }

  welcomed(): void {
    this.#admitted = true;
    this.#look();
  }

  turnedAway(): void {
    this.#admitted = false;
  }

  stop(): void {
    this.#waiting = null;
    this.#timer?.cancel();
  }

  #look(): void {
    const { clock, silentMs, heardAt, offer } = this.#options;
    this.#timer?.cancel();
    const waiting = this.#waiting;
    if (waiting === null) return;
    const leftMs = this.#admitted ? 0 : heardAt() + silentMs - clock.monotonic();
    if (leftMs > 0) {
      this.#timer = clock.after(leftMs, () => this.#look());
      return;
    }
    this.#waiting = null;
    this.#admitted = true; // until somebody says otherwise
    offer(waiting);
  }
}
