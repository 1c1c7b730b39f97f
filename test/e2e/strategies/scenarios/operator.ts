/** What an operator, or a newer revision, does in mid-rollout. */
import assert from "node:assert/strict";
import { EXIT } from "../../../../proto/contract/limits.ts";
import type { RolloutView } from "../../../../proto/gen/baton/v1/operator.ts";
import { STRATEGIES, strategyOf } from "../documents.ts";
import type { Strategy, StrategyName } from "../documents.ts";
import type { Deployment } from "../rig.ts";
import type { Scenario, Scene } from "../scene.ts";

/** The moment "in mid-step": the new version takes part in the traffic, and the rollout is not over. */
const MIDWAY: Readonly<Record<StrategyName, (view: RolloutView) => boolean>> = {
  "rolling surge": (view) => view.hosts.some((host) => host.stage === "done"),
  "rolling in place": (view) => view.hosts.some((host) => host.stage === "done"),
  "canary weighted": (view) => view.reason === "Pausing" && (view.split?.weight ?? 0) === 6_000,
  "canary hosts": (view) => view.reason === "Pausing" && view.hosts.some((host) => host.stage === "done"),
  blueGreen: (view) => view.reason === "Pausing",
};
/** Pauses that end when they are told to, not while the test looks elsewhere. */
const LONG: Readonly<Record<StrategyName, Strategy>> = {
  "rolling surge": {},
  "rolling in place": {},
  "canary weighted": { steps: [{ setWeight: 60 }, { pause: { duration: "60s" } }] },
  "canary hosts": { steps: [{ setWeight: 33 }, { pause: { duration: "60s" } }] },
  blueGreen: { autoPromotionSeconds: 60 },
};

async function midway(scene: Scene, more: Strategy = {}): Promise<Deployment> {
  const rollout = await scene.deploy({ strategy: strategyOf(scene.strategy, { ...LONG[scene.strategy], ...more }) });
  await scene.until(rollout, "it is half way", MIDWAY[scene.strategy]);
  return rollout;
}

export const operator: readonly Scenario[] = [
  {
    name: "abort in mid-step",
    on: STRATEGIES,
    play: async (scene) => {
      const rollout = await midway(scene);
      await scene.rig.abort("changed my mind");
      return { rollout, stage: "RolledBack", exitCode: EXIT.failed, why: /aborted: changed my mind/ };
    },
  },
  {
    name: "promote: a long pause is not waited out",
    on: ["canary weighted", "canary hosts", "blueGreen"],
    play: async (scene) => {
      const rollout = await midway(scene);
      await scene.rig.promote();
      return { rollout, stage: "Succeeded", exitCode: EXIT.done };
    },
  },
  {
    name: "it waits for approval, over a killed controller",
    on: ["blueGreen"],
    play: async (scene) => {
      const strategy = strategyOf("blueGreen", { autoPromotionEnabled: false, autoPromotionSeconds: undefined });
      const rollout = await scene.deploy({ strategy });
      const waits = await rollout.cli;
      assert.equal(waits.exitCode, EXIT.paused, waits.said);
      await scene.rig.killController();
      const view = await scene.until(rollout, "it still waits", (one) => one.reason === "AwaitingApproval");
      assert.match(view.message, /is ready, and waits to be switched to; `baton rollout promote \S+` approves/);
      const cli = scene.rig.promoted();
      return { rollout: { ...rollout, cli }, stage: "Succeeded", exitCode: EXIT.done };
    },
  },
  {
    name: "the weight by hand, up and down",
    on: ["canary weighted"],
    play: async (scene) => {
      const rollout = await midway(scene);
      for (const weight of [9_000, 500, 3_000]) {
        await scene.rig.weigh(weight);
        await scene.until(rollout, `${weight / 100} % is applied, and no host is waited for`, (view) => {
          const target = view.versions.find((version) => version.version === rollout.version);
          const applied = target?.weightAsked === weight && target.weightApplied === weight;
          return applied && view.hosts.every((host) => host.message === "");
        });
      }
      await scene.rig.promote();
      return { rollout, stage: "Succeeded", exitCode: EXIT.done };
    },
  },
  {
    name: "superseded in mid-rollout: retarget",
    on: STRATEGIES,
    play: async (scene) => {
      const first = await midway(scene);
      const rollout = await scene.deploy();
      assert.equal((await first.cli).exitCode, EXIT.superseded);
      assert.equal((await scene.rig.rollout(first.rollout)).stage, "Superseded");
      return { rollout, stage: "Succeeded", exitCode: EXIT.done };
    },
  },
  {
    name: "superseded in mid-rollout: rollBackFirst",
    on: STRATEGIES,
    play: async (scene) => {
      const first = await midway(scene, { onSupersede: "rollBackFirst" });
      const rollout = await scene.deploy();
      assert.equal((await first.cli).exitCode, EXIT.failed);
      const back = await scene.rig.rollout(first.rollout);
      assert.equal(back.stage, "RolledBack");
      const view = await scene.until(rollout, "it ends", (one) => one.ended);
      assert.equal(view.fromVersion, back.fromVersion);
      return { rollout, stage: "Succeeded", exitCode: EXIT.done };
    },
  },
];
