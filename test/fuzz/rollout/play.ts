/** One run of the fuzz test: strikes at their times, then peace, then the verdict. */
import { expect } from "vitest";
import { resolveCount } from "../../../proto/contract/units.ts";
import { atRest } from "../../sim/model/ending.ts";
import { seeThrough } from "../../sim/model/operator.ts";
import { BREAKS, playStrikes, type Strike } from "../../sim/model/strikes.ts";
import { World, type WorldOptions } from "../../sim/model/world.ts";

export function play(setup: WorldOptions, first: boolean, events: readonly Strike[]): World {
  const world = new World(setup);
  if (first) world.run(2_000);
  else world.settle();
  world.controller.deploy(first ? 1 : 2);
  playStrikes(world, events, { newer: 3, older: 1 });
  return world;
}

/** The trouble is over: an operator who answers pauses sees it end, and the fleet on one version. */
export function finish(world: World): void {
  if (!seeThrough(world)) throw new Error(`never ends: ${world.describe()}`);
  world.run(15_000);
}

export function verdict(world: World, first: boolean, events: readonly Strike[]): void {
  const history = world.controller.journal
    .slice(-30)
    .map((entry) => `${entry.atMs} ${entry.stage} ${entry.reason}: ${entry.message}`);
  const found = [...world.violations, ...atRest(world)];
  if (found.length > 0) throw new Error([...found, ...history].join("\n"));
  // All hosts out at once, in place: holding requests meanwhile (R13) is the agents' part.
  const { strategy, hosts } = world.options;
  const allOut = resolveCount(strategy.maxUnavailable, hosts, "down") >= hosts;
  const good = (n: number): boolean => world.options.behaviours[n]?.exitsAfterMs == null;
  if (!first && !allOut && good(2) && good(3) && !events.some((one) => BREAKS.has(one.kind)))
    expect(world.lost).toBe(0);
}
