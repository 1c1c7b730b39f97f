/**
 * Deadlines for the request path: one timer for all of them, and a coarse clock that is read for nothing.
 *
 * Units   milliseconds of the monotonic clock; a deadline fires up to one tick late, never early.
 * R2      the loop may be late, and come to its timers before it reads: so deadlines are looked at once what had come by
 *         then has been read (`settled`), and no request is found late that was in time.
 * Cost    pushing a deadline further out, or taking it back, is one store: it stays in its old place and is looked at
 *         again when that comes up. Only one that comes nearer is moved.
 */
import type { Clock, Millis, Timer } from "../../proto/kernel/clock.ts";

export interface Expiring {
  onDeadline(deadline: Deadline): void;
}

const SLOTS = 512;
const NEVER = Number.POSITIVE_INFINITY;

export class Deadline {
  readonly owner: Expiring;
  /** When it fires; NEVER when disarmed. */
  at = NEVER;
  /** The tick under which it is filed, -1: nowhere. */
  tick = -1;
  previous: Deadline | null = null;
  next: Deadline | null = null;

  constructor(owner: Expiring) {
    this.owner = owner;
  }

  get armed(): boolean {
    return this.at !== NEVER;
  }
}

export class Wheel {
  /** The monotonic time of the last tick. */
  now: Millis;
  /** The tick before that. What is read now came after it: the loop has been through everything older since. */
  before: Millis;
  readonly #tickMs: Millis;
  readonly #clock: Clock;
  readonly #start: Millis;
  readonly #slots: (Deadline | null)[] = new Array<Deadline | null>(SLOTS).fill(null);
  readonly #timer: Timer;
  /** Ticks done. */
  #ticks = 0;
  #closed = false;

  /** `settled` calls back after what can be read was read. */
  constructor(clock: Clock, settled: (then: () => void) => void, tickMs: Millis = 25) {
    this.#clock = clock;
    this.#tickMs = tickMs;
    this.#start = this.now = this.before = clock.monotonic();
    this.#timer = clock.every(tickMs, () => settled(() => this.#turn()), { background: true });
  }

  arm(deadline: Deadline, delay: Millis): void {
    this.armAt(deadline, this.now + delay);
  }

  armAt(deadline: Deadline, at: Millis): void {
    deadline.at = at;
    const tick = Math.max(this.#ticks + 1, Math.ceil((at - this.#start) / this.#tickMs));
    if (deadline.tick !== -1) {
      if (deadline.tick <= tick) return;
      this.#unlink(deadline);
    }
    this.#link(deadline, tick);
  }

  disarm(deadline: Deadline): void {
    deadline.at = NEVER;
  }

  /** Forgets it for good: its owner is gone. */
  remove(deadline: Deadline): void {
    deadline.at = NEVER;
    if (deadline.tick !== -1) this.#unlink(deadline);
  }

  close(): void {
    this.#closed = true;
    this.#timer.cancel();
  }

  #turn(): void {
    if (this.#closed) return;
    this.before = this.now;
    this.now = this.#clock.monotonic();
    const due = Math.floor((this.now - this.#start) / this.#tickMs);
    // After a long stall every slot is looked at once, not once for each tick missed.
    if (due - this.#ticks > SLOTS) this.#ticks = due - SLOTS;
    while (this.#ticks < due) {
      this.#ticks += 1;
      this.#expire(this.#ticks % SLOTS);
    }
  }

  #expire(slot: number): void {
    const due: Deadline[] = [];
    for (let deadline = this.#slots[slot] ?? null; deadline !== null; deadline = deadline.next) due.push(deadline);
    this.#slots[slot] = null;
    // Unfiled first, all of them: an owner that is called may arm or remove any other one of the list.
    for (const deadline of due) {
      deadline.previous = deadline.next = null;
      deadline.tick = -1;
    }
    for (const deadline of due) {
      if (deadline.tick !== -1 || deadline.at === NEVER) continue;
      if (deadline.at > this.now) this.armAt(deadline, deadline.at);
      else {
        deadline.at = NEVER;
        deadline.owner.onDeadline(deadline);
      }
    }
  }

  #link(deadline: Deadline, tick: number): void {
    // Beyond the wheel's reach: filed at its far end, and filed again from there.
    const filed = Math.min(tick, this.#ticks + SLOTS - 1);
    const slot = filed % SLOTS;
    deadline.tick = filed;
    deadline.previous = null;
    deadline.next = this.#slots[slot] ?? null;
    if (deadline.next !== null) deadline.next.previous = deadline;
    this.#slots[slot] = deadline;
  }

  #unlink(deadline: Deadline): void {
    const slot = deadline.tick % SLOTS;
    if (deadline.previous === null) this.#slots[slot] = deadline.next;
    else deadline.previous.next = deadline.next;
    if (deadline.next !== null) deadline.next.previous = deadline.previous;
    deadline.previous = deadline.next = null;
    deadline.tick = -1;
  }
}
