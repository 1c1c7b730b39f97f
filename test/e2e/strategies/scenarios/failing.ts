/** A new version that fails, at each stage of its way: found out by what is there to find it, and taken back. */
import assert from "node:assert/strict";
import { EXIT } from "../../../../proto/contract/limits.ts";
import { HEALTHY_DEADLINE, limit, sequential, SERVICE, STRATEGIES, strategyOf } from "../documents.ts";
import type { Strategy, StrategyName } from "../documents.ts";
import { PROMPT_MIX } from "../scene.ts";
import type { End, Scenario, Scene } from "../scene.ts";

type Ending = Pick<End, "why"> & Partial<End>;

/** Deploys what misbehaves; it must be rolled back by itself, for the reason given. */
async function takenBack(scene: Scene, behaviour: string, changes: Strategy, ending: Ending): Promise<End> {
  const rollout = await scene.deploy({ behaviour, strategy: strategyOf(scene.strategy, changes) });
  await scene.until(rollout, "it ends", (view) => view.ended);
  return { rollout, stage: "RolledBack", exitCode: EXIT.failed, ...ending };
}

/** A sentence with the counts of both versions and the e-value, as the sequential test says it. */
const BY_EVIDENCE = /e-value [\d.]+(e\d+)? ≥ [\d.]+ \(.*α [\d.]+\)/;
const BY_FIXED_LIMIT = /answered 5xx to \d+ of \d+ requests \([\d.]+ %; (maxErrorRate is 5\.0 %|plainly broken.*)\)/;

/** Judged by what the analysis says, not by the fixed limit that is there without one. */
const NO_FIXED_LIMIT = { maxErrorRate: 1 };

/** Steps at which the canary stays long enough to be judged. */
const slowly = (weight: number, duration: string): Strategy => ({
  steps: [{ setWeight: weight }, { pause: { duration } }],
});
const background = (metric: Strategy): Strategy => ({ analysis: { metrics: [metric] } });

/** What lets each strategy find out a version that errs: what it does by itself, where that is so. */
const ERRORS: Readonly<Record<StrategyName, { readonly changes: Strategy; readonly why: RegExp }>> = {
  "rolling surge": { changes: {}, why: BY_FIXED_LIMIT },
  "rolling in place": { changes: {}, why: BY_FIXED_LIMIT },
  "canary weighted": { changes: {}, why: BY_EVIDENCE },
  "canary hosts": { changes: background(limit("errorRate", "result <= 0.05")), why: /metric errorRate failed: .*\d/ },
  blueGreen: { changes: NO_FIXED_LIMIT, why: /analysis postPromotion failed: metric errorRate failed: .*\d/ },
};

const P99 = limit("p99", "result < 200");

/** A test that looks at one host in three needs its time: half a minute shows that it is no bad spell. */
const SLOW: Readonly<Record<StrategyName, { readonly changes: Strategy; readonly why: RegExp }>> = {
  "rolling surge": { changes: { ...background(sequential("latency")), firstHostTime: "90s" }, why: BY_EVIDENCE },
  "rolling in place": { changes: { ...background(P99), firstHostTime: "20s" }, why: /metric p99 failed: .*\d/ },
  "canary weighted": { changes: { ...background(sequential("latency")), ...slowly(20, "30s") }, why: BY_EVIDENCE },
  "canary hosts": { changes: { ...background(P99), ...slowly(33, "20s") }, why: /metric p99 failed: .*\d/ },
  blueGreen: {
    changes: { postPromotionAnalysis: { duration: "10s", metrics: [P99] } },
    why: /analysis postPromotion failed: metric p99 failed: .*\d/,
  },
};

/** Requests a second that an instance of it can bear: more than a tenth of a host's traffic, less than most of it. */
const ONLY_UNDER_LOAD = "max-rate=11";
const LOAD: Readonly<Record<StrategyName, { readonly changes: Strategy; readonly why: RegExp }>> = {
  "rolling surge": { changes: {}, why: BY_FIXED_LIMIT },
  "rolling in place": { changes: {}, why: BY_FIXED_LIMIT },
  "canary weighted": {
    changes: {
      analysis: { metrics: [limit("errorRate", "result <= 0.1")] },
      steps: [{ setWeight: 10 }, { pause: { duration: "4s" } }, { setWeight: 70 }, { pause: { duration: "10s" } }],
    },
    why: /metric errorRate failed: .*\d/,
  },
  "canary hosts": { changes: background(limit("errorRate", "result <= 0.05")), why: /errorRate failed|plainly broken/ },
  blueGreen: { changes: NO_FIXED_LIMIT, why: /errorRate failed|plainly broken/ },
};

export const failing: readonly Scenario[] = [
  {
    name: "never ready",
    on: STRATEGIES,
    play: (scene) =>
      takenBack(scene, "never-ready", {}, { why: new RegExp(`was not ready within ${HEALTHY_DEADLINE}`) }),
  },
  {
    name: "crash at start",
    on: STRATEGIES,
    play: (scene) => {
      const why = /exited 2 times before it was ready \(exit code 3/;
      return takenBack(scene, "crash-at-start", {}, { why });
    },
  },
  {
    name: "crash while it takes a share",
    on: STRATEGIES,
    quick: ["canary weighted"],
    play: async (scene) => {
      const changes = scene.strategy === "canary weighted" ? slowly(20, "30s") : {};
      const end = await takenBack(scene, "crash-after-requests=12", changes, {
        why: /exited while it served \(exit code 3/,
      });
      return { ...end, crashed: end.rollout.version };
    },
  },
  {
    name: "errors",
    on: STRATEGIES,
    quick: STRATEGIES,
    play: (scene) => {
      const { changes, why } = ERRORS[scene.strategy];
      const longer = scene.strategy === "canary weighted" ? slowly(20, "30s") : {};
      return takenBack(scene, "errors=30%", { ...longer, ...changes }, { why, appErrors: true });
    },
  },
  {
    name: "errors, in a program too short for the test: not promoted",
    on: ["canary weighted"],
    play: async (scene) => {
      const steps = [{ setWeight: 20 }, { pause: { duration: "2s" } }];
      const changes = { ...background(sequential("errors", 0.01)), steps, progressDeadline: "15s" };
      const rollout = await scene.deploy({ behaviour: "errors=30%", strategy: strategyOf(scene.strategy, changes) });
      const waited = await rollout.cli;
      assert.equal(waited.exitCode, EXIT.inconclusive, waited.said);
      const view = await scene.rig.rollout(rollout.rollout);
      assert.equal(view.split?.weight, 2_000, "it has not got more than its step gave it");
      assert.match(view.message, /Paused \(Inconclusive\): metric errors: v\d+ failed \d+ of \d+ requests/);
      assert.match(view.message, /`baton rollout promote \S+` goes on all the same/);
      const cli = scene.rig.baton("rollout", "abort", SERVICE, "--reason", "it errs", "--wait");
      return {
        ...{ rollout: { ...rollout, cli }, stage: "RolledBack", exitCode: EXIT.failed },
        ...{ why: /it errs/, appErrors: true },
      };
    },
  },
  {
    name: "slow",
    on: STRATEGIES,
    mix: PROMPT_MIX,
    play: (scene) =>
      takenBack(scene, "slow=30%:500ms", SLOW[scene.strategy].changes, { why: SLOW[scene.strategy].why }),
  },
  {
    name: "slow, by the test at α = 0.05",
    on: ["canary weighted"],
    mix: PROMPT_MIX,
    play: (scene) => {
      const changes = { ...background(sequential("latency", 0.05)), ...slowly(30, "120s") };
      return takenBack(scene, "slow=30%:500ms", changes, { why: BY_EVIDENCE });
    },
  },
  {
    name: "only under load",
    on: STRATEGIES,
    play: async (scene) => {
      const { changes, why } = LOAD[scene.strategy];
      const end = await takenBack(scene, ONLY_UNDER_LOAD, changes, { why, appErrors: true });
      if (scene.strategy !== "canary weighted") return end;
      const { transitions } = await scene.rig.rollout(end.rollout.rollout);
      const weights = transitions.filter((one) => one.reason === "StepBegun" && /setWeight/.test(one.message));
      assert.deepEqual(
        weights.map((one) => one.message.replace(/.*: /, "")),
        ["setWeight 10 %", "setWeight 70 %"],
        "it bears a tenth, and not the most of it",
      );
      return end;
    },
  },
];
