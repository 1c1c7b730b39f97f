/**
 * Virtual time: a heap of what is to happen, in the order of its moment and then of its planning. Nothing passes between
 * two events, so a quiet minute costs nothing, and one seed gives one history.
 *
 * Units  milliseconds, whole.
 */
import type { Clock, Timer } from "../../../proto/kernel/clock.ts";

interface Event {
  readonly at: number;
  readonly order: number;
  readonly fn: () => void;
  cancelled: boolean;
}

export class Timeline implements Clock {
  #now: number;
  #order = 0;
  readonly #heap: Event[] = [];
  /** Events that have happened. */
  happened = 0;

  constructor(startsAt: number) {
    this.#now = startsAt;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  after(delay: number, fn: () => void): Timer {
    const event: Event = { at: this.#now + Math.max(0, Math.round(delay)), order: this.#order++, fn, cancelled: false };
    this.#push(event);
    return { cancel: () => void (event.cancelled = true) };
  }

  every(period: number, fn: () => void): Timer {
    let stopped = false;
    const again = (): void => {
      if (stopped) return;
      fn();
      this.after(period, again);
    };
    this.after(period, again);
    return { cancel: () => void (stopped = true) };
  }

  /** Until `ms` have passed, or `until` says so after an event; answers what `until` says at the end. */
  run(ms: number, until: () => boolean = () => false): boolean {
    const end = this.#now + ms;
    if (until()) return true;
    for (let next = this.#heap[0]; next !== undefined && next.at <= end; next = this.#heap[0]) {
      this.#pop();
      if (next.cancelled) continue;
      this.#now = next.at;
      this.happened += 1;
      next.fn();
      if (until()) return true;
    }
    this.#now = end;
    return until();
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent]!;
      if (!before(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

const before = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);
