/**
 * An endpoint's second door, for copies of requests alone: their connections are counted and pooled apart, so that no
 * request is refused, delayed or handed a broken connection on a copy's account.
 */
import { Pool } from "../pool.ts";

/** What runs through it. */
export interface Running {
  /** Nobody waits for it any more. */
  drop(): void;
}

export class Shadow extends Pool {
  readonly running = new Set<Running>();

  close(): void {
    for (const copy of [...this.running]) copy.drop();
    this.closeIdle();
  }
}
