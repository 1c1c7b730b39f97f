/**
 * A clock that stands still until it is told to move. Timers fire in the order of their due times (ties in the order
 * they were set), each one at its own due time, and after each all promises and immediates that it woke run before the
 * next one fires: what a timer starts, or cancels, is seen by those after it, just as in real time.
 *
 * Units   milliseconds. `now` starts at a fixed wall time, `monotonic` at a number that is not it, so that code which
 *         mixes the two up fails its test.
 * Errors  what a callback throws comes out of `advance`; so does a second `advance` while one runs.
 */
import type { Clock, Millis, Timer } from "../../proto/kernel/clock.ts";

interface Entry {
  due: Millis;
  readonly order: number;
  /** null: once. */
  readonly period: Millis | null;
  readonly background: boolean;
  readonly fn: () => void;
}

/** 2026-01-01T00:00:00Z. */
export const FAKE_START = Date.UTC(2026, 0, 1);

export class FakeClock implements Clock {
  #wallOffset: Millis;
  #monotonic: Millis = 1_000;
  #order = 0;
  #advancing = false;
  readonly #entries = new Set<Entry>();

  constructor(start: Millis = FAKE_START) {
    this.#wallOffset = start - this.#monotonic;
  }

  now(): Millis {
    return this.#wallOffset + this.#monotonic;
  }

  monotonic(): Millis {
    return this.#monotonic;
  }

  after(delay: Millis, fn: () => void, options?: { readonly background?: boolean }): Timer {
    return this.#add(Math.max(0, delay), null, fn, options);
  }

  every(period: Millis, fn: () => void, options?: { readonly background?: boolean }): Timer {
    // As setInterval does: a period below 1 ms is 1 ms, or `advance` would never end.
    return this.#add(Math.max(1, period), Math.max(1, period), fn, options);
  }

  /** Timers that are set now: 0 at the end of a test says that nothing was left behind. */
  get pending(): number {
    return this.#entries.size;
  }

  /** Those of them that would keep a process alive. */
  get pendingForeground(): number {
    return [...this.#entries].filter((entry) => !entry.background).length;
  }

  /** When the next timer is due, from now; undefined when none is set. */
  get nextIn(): Millis | undefined {
    const next = this.#next();
    return next && next.due - this.#monotonic;
  }

  /** Lets `ms` pass: fires everything due within it, and lets all that it wakes run. `advance(0)` fires what is due. */
  async advance(ms: Millis): Promise<void> {
    if (this.#advancing) throw new Error("FakeClock: advance() is already running; await it first");
    if (!(ms >= 0)) throw new Error(`FakeClock: time does not go back (${String(ms)} ms)`);
    this.#advancing = true;
    try {
      const end = this.#monotonic + ms;
      await settle();
      for (let next = this.#next(); next !== undefined && next.due <= end; next = this.#next()) {
        this.#monotonic = Math.max(this.#monotonic, next.due);
        if (next.period === null) this.#entries.delete(next);
        else next.due += next.period;
        next.fn();
        await settle();
      }
      this.#monotonic = end;
    } finally {
      this.#advancing = false;
    }
  }

  /** Steps the wall clock alone, as an administrator or NTP does: no deadline may move by it. */
  stepWall(ms: Millis): void {
    this.#wallOffset += ms;
  }

  #add(delay: Millis, period: Millis | null, fn: () => void, options?: { readonly background?: boolean }): Timer {
    if (!Number.isFinite(delay)) throw new Error(`FakeClock: a delay of ${String(delay)} ms`);
    const entry: Entry = {
      due: this.#monotonic + delay,
      order: this.#order++,
      period,
      background: options?.background === true,
      fn,
    };
    this.#entries.add(entry);
    return { cancel: () => void this.#entries.delete(entry) };
  }

  #next(): Entry | undefined {
    let first: Entry | undefined;
    for (const entry of this.#entries) {
      if (!first || entry.due < first.due || (entry.due === first.due && entry.order < first.order)) first = entry;
    }
    return first;
  }
}

/** Lets promise chains of any length run, and immediates that they set: two turns of the event loop. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
}
