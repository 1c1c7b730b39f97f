/**
 * A controller that comes back, measured: every agent finds its way to it at once. Killed with SIGKILL, and
 *
 *   take-over  (several on NATS) another one leads; then all are SYNCED there
 *   restart    all controllers are started again on their ports; then all are SYNCED
 *
 * SYNCED is the leading controller's word: an agent has confirmed in a session with it what this controller asks.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../support/processes.ts";
import type { ControllerProcess } from "./controllers.ts";
import type { Rig } from "./rig.ts";

export interface StormFigures {
  /** Until a controller leads, and until all are SYNCED at it; from the kill on (take-over), or from the start on. */
  readonly ledAfterMs: number;
  readonly syncedAfterMs: number;
  /** Of the one that leads then: percent of a core over the worst half second, and seconds of a core in all. */
  readonly cpuPeakPercent: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
}

const SAMPLE_MS = 500;
const LOOK_MS = 100;
const PATIENCE_MS = 300_000;

export async function takeOver(rig: Rig): Promise<StormFigures> {
  const before = rig.leader;
  const next = rig.controllers.find((one) => one !== before);
  if (next === undefined) throw new Error("there is no other controller to lead");
  await before.kill();
  const figures = await follow(rig, next);
  await before.start();
  return figures;
}

export async function restart(rig: Rig): Promise<StormFigures> {
  for (const controller of rig.controllers) await controller.kill();
  for (const controller of rig.controllers) await controller.start();
  return await follow(rig, null);
}

/** `next`: who is to lead; null while that is open. */
async function follow(rig: Rig, next: ControllerProcess | null): Promise<StormFigures> {
  const began = performance.now();
  const first = next?.usage().cpuSeconds ?? 0;
  const peak = { percent: 0 };
  const over = new AbortController();
  const sampling = sample(next ?? rig.controllers[0]!, peak, over.signal);
  try {
    await rig.led();
    const ledAfterMs = performance.now() - began;
    let last = 0;
    await until(
      "all agents are in sync",
      async () => {
        last = await rig.leader.synced();
        await sleep(LOOK_MS);
        return last === rig.all;
      },
      PATIENCE_MS,
    ).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}; at last ${last} of ${rig.all}`);
    });
    const { cpuSeconds, peakBytes } = rig.leader.usage();
    return {
      ...{ ledAfterMs, syncedAfterMs: performance.now() - began, peakBytes },
      ...{ cpuPeakPercent: peak.percent, cpuSeconds: cpuSeconds - first },
    };
  } finally {
    over.abort();
    await sampling;
  }
}

async function sample(of: ControllerProcess, peak: { percent: number }, over: AbortSignal): Promise<void> {
  let before = { cpu: of.usage().cpuSeconds, at: performance.now() };
  while (!over.aborted) {
    await sleep(SAMPLE_MS, undefined, { signal: over }).catch(() => undefined);
    const now = { cpu: of.usage().cpuSeconds, at: performance.now() };
    const share = ((now.cpu - before.cpu) / ((now.at - before.at) / 1_000)) * 100;
    // The kernel counts in hundredths of a second: of a short while it says nothing.
    if (now.at - before.at >= SAMPLE_MS / 2) peak.percent = Math.max(peak.percent, share);
    before = now;
  }
}
