/**
 * As PID 1 of a container the keeper is given every orphan, and Node can't reap them: libuv waits for the children that
 * it started itself, and JavaScript has no wait(-1). The groups of apps are ended with them, so orphans are few; they
 * stay as zombies until the container ends. What can be done here is to say so, and what helps: an init before us.
 */
import type { Clock } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";
import { allProcesses } from "./proc.ts";

const LOOK_EVERY_MS = 60_000;
/** Our own ended children are zombies too, for the instant until libuv takes them. */
const FEW = 8;

export function warnOfZombies(clock: Clock, log: Log): void {
  let told = FEW;
  clock.every(
    LOOK_EVERY_MS,
    () => {
      const zombies = allProcesses().filter((one) => one.parent === process.pid && one.state === "Z").length;
      if (zombies < told) return;
      told = zombies * 2;
      log.warn({ zombies }, "orphans can't be reaped by Node as PID 1: run the container with an init (docker --init)");
    },
    { background: true },
  );
}
