/**
 * Time as a port: the only way that Baton's code learns the time or waits. Tests pass a clock that stands still
 * (test/support/fake-clock.ts); roots pass proto/runtime/system-clock.ts.
 *
 * Units   milliseconds. `now` is wall time since the epoch, `monotonic` never goes back and has no meaning beyond
 *         differences: deadlines use it, so that a stepped wall clock moves none of them.
 */
export type Millis = number;

export interface Timer {
  /** Stops the timer; stopping it twice, or after it fired, does nothing. */
  cancel(): void;
}

export interface Clock {
  now(): Millis;
  monotonic(): Millis;
  /** Calls `fn` once after `delay`. The timer alone does not keep a process alive when `background` is set. */
  after(delay: Millis, fn: () => void, options?: { readonly background?: boolean }): Timer;
  /** Calls `fn` every `period` until cancelled; the period is counted from call to call. */
  every(period: Millis, fn: () => void, options?: { readonly background?: boolean }): Timer;
}

/** Resolves after `delay`, or at once when `signal` aborts; it never rejects, so the caller asks the signal. */
export function sleep(clock: Clock, delay: Millis, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const done = (): void => {
      timer.cancel();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = clock.after(delay, done);
    signal?.addEventListener("abort", done, { once: true });
  });
}
