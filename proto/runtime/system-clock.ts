/** The real clock, for composition roots. */
import { performance } from "node:perf_hooks";
import type { Clock, Timer } from "../kernel/clock.ts";
import type { Random } from "../kernel/random.ts";

function timer(handle: NodeJS.Timeout, background: boolean | undefined): Timer {
  if (background === true) handle.unref();
  return { cancel: () => clearTimeout(handle) };
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (delay, fn, options) => timer(setTimeout(fn, delay), options?.background),
  every: (period, fn, options) => timer(setInterval(fn, period), options?.background),
};

export const systemRandom: Random = { next: () => Math.random() };
