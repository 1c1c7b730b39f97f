/** The rhythm of reports. */
import type { Clock, Millis, Timer } from "../../../proto/kernel/clock.ts";
import type { Random } from "../../../proto/kernel/random.ts";

/** From a moment of our own on: a whole fleet that is told at once is not to report at once for ever after. */
export function reportsEvery(
  { clock, random }: { readonly clock: Clock; readonly random: Random },
  period: Millis,
  report: () => void,
): Timer {
  let timer = clock.after(random.next() * period, () => {
    report();
    timer = clock.every(period, report);
  });
  return { cancel: () => timer.cancel() };
}
