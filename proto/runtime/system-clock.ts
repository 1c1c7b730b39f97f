/** The real clock, for composition roots. Delays may be of any length; periods are at most 24.8 days, as Node's are. */
import { performance } from "node:perf_hooks";
import type { Clock, Timer } from "../kernel/clock.ts";
import type { Random } from "../kernel/random.ts";

function timer(handle: NodeJS.Timeout, background: boolean | undefined): Timer {
  if (background === true) handle.unref();
  return { cancel: () => clearTimeout(handle) };
}

/** Node fires a longer one at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** A timer of any length, in stretches that Node can hold. */
function long(delay: number, fn: () => void, background: boolean | undefined): Timer {
  let current = timer(
    setTimeout(
      () => (current = systemClock.after(delay - LONGEST_TIMER, fn, { background: background === true })),
      LONGEST_TIMER,
    ),
    background,
  );
  return { cancel: () => current.cancel() };
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (delay, fn, options) =>
    delay > LONGEST_TIMER ? long(delay, fn, options?.background) : timer(setTimeout(fn, delay), options?.background),
  every: (period, fn, options) => timer(setInterval(fn, period), options?.background),
};

export const systemRandom: Random = { next: () => Math.random() };
