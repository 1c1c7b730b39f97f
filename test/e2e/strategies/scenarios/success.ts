/** What goes well: a good version by each strategy, and back to the one before. */
import assert from "node:assert/strict";
import { EXIT } from "../../../../proto/contract/limits.ts";
import { STRATEGIES, strategyOf } from "../documents.ts";
import type { Scenario } from "../scene.ts";

export const success: readonly Scenario[] = [
  {
    name: "success",
    on: STRATEGIES,
    quick: STRATEGIES,
    play: async (scene) => {
      const rollout = await scene.deploy();
      const view = await scene.until(rollout, "it ends", (one) => one.ended);
      assert.equal(view.fastTrack, false);
      return { rollout, stage: "Succeeded", exitCode: EXIT.done, why: /is stable now/ };
    },
  },
  {
    name: "undo after success",
    on: STRATEGIES,
    play: async (scene) => {
      const before = scene.rig.stable;
      const there = await scene.deploy();
      assert.equal((await there.cli).exitCode, EXIT.done);
      const rollout = await scene.undo();
      assert.equal(rollout.version, before);
      return { rollout, stage: "Succeeded", exitCode: EXIT.done };
    },
  },
  {
    name: "undo within the rollback window: no steps",
    on: ["canary weighted", "blueGreen"],
    play: async (scene) => {
      const strategy = strategyOf(scene.strategy, { rollbackWindow: { revisions: 3 } });
      // The revision that is gone back to must say so as well: it is its own strategy that leads there.
      assert.equal((await (await scene.deploy({ strategy })).cli).exitCode, EXIT.done);
      assert.equal((await (await scene.deploy({ strategy })).cli).exitCode, EXIT.done);
      const rollout = await scene.undo();
      const view = await scene.until(rollout, "it ends", (one) => one.ended);
      assert.equal(view.fastTrack, true);
      assert.deepEqual(view.analyses, []);
      return { rollout, stage: "Succeeded", exitCode: EXIT.done };
    },
  },
];
