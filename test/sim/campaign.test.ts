/** A short part of the simulation, always the same; all of it is `node test/sim/main.ts --seeds 1000 --rollouts 100`. */
import { expect, test } from "vitest";
import { runCampaign } from "./model/campaign.ts";

const SEEDS = 16;
const ROLLOUTS = 8;

test("rollouts of every strategy, with faults: no invariant broken, none stuck or silent", { timeout: 120_000 }, () => {
  const ends = new Set<string>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { found, outcomes } = runCampaign({ seed, rollouts: ROLLOUTS, largest: 8 });
    expect(found, `node test/sim/main.ts --seed ${seed} --rollouts ${ROLLOUTS} --largest 8 --tell`).toEqual([]);
    for (const end of Object.keys(outcomes)) ends.add(end);
  }
  for (const kind of ["first", "rolling", "canary (weighted)", "canary (hosts)", "blueGreen"]) {
    expect(ends).toContain(`${kind} succeeded`);
  }
});

test("a fleet of fifty, as the small ones", { timeout: 120_000 }, () => {
  const { found, rollouts } = runCampaign({ seed: 7, rollouts: 2, largest: 1_000, hosts: 50 });
  expect(found).toEqual([]);
  expect(rollouts).toBeGreaterThanOrEqual(2);
});

test("a seed is one history: the same rollouts, the same ends, event by event", () => {
  const options = { seed: 4_711, rollouts: 4, largest: 8 };
  expect(runCampaign(options)).toEqual(runCampaign(options));
});
