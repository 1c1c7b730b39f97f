/**
 * The access log: records of finished exchanges, one in so many, and of every one that failed. Taken on the request
 * path as a plain object into a ring; written from a timer. When more come than the ring holds, they are counted and
 * not written: a request never waits for its record.
 */
import type { Clock, Millis, Timer } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";

export interface AccessRecord {
  readonly client: string;
  readonly service: string;
  readonly endpoint: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** completed, client_gone, or a loss or cut cause. */
  readonly outcome: string;
  readonly durationMs: Millis;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly attempts: number;
}

const RING = 1_024;
const EVERY_MS: Millis = 1_000;

export class AccessLog {
  readonly #log: Log | null;
  readonly #every: number;
  readonly #timer: Timer | null;
  #records: AccessRecord[] = [];
  #dropped = 0;
  #count = 0;

  constructor(log: Log | null, every: number, clock: Clock) {
    this.#log = log;
    this.#every = every;
    this.#timer = log === null ? null : clock.every(EVERY_MS, () => this.flush(), { background: true });
  }

  /** Whether this exchange is to be recorded. */
  wants(failed: boolean): boolean {
    if (this.#log === null) return false;
    return ++this.#count % this.#every === 0 || failed;
  }

  add(record: AccessRecord): void {
    if (this.#records.length < RING) this.#records.push(record);
    else this.#dropped += 1;
  }

  flush(): void {
    const records = this.#records;
    this.#records = [];
    for (const record of records) this.#log?.info({ ...record }, "request");
    if (this.#dropped > 0) this.#log?.warn({ dropped: this.#dropped }, "access records dropped");
    this.#dropped = 0;
  }

  close(): void {
    this.#timer?.cancel();
    this.flush();
  }
}
