/** The controller killed with SIGKILL at each stage of a rollout, and another one started on the same store. */
import { EXIT } from "../../../../proto/contract/limits.ts";
import type { RolloutView } from "../../../../proto/gen/baton/v1/operator.ts";
import { STRATEGIES, strategyOf } from "../documents.ts";
import type { StrategyName } from "../documents.ts";
import type { Scenario } from "../scene.ts";

interface Moment {
  readonly name: string;
  readonly on: readonly StrategyName[];
  readonly quick?: readonly StrategyName[];
  readonly when: (view: RolloutView) => boolean;
  readonly changes?: Readonly<Record<string, unknown>>;
}

/** By the journal: a stage may be over before anyone looks, what was written stays. */
const noted =
  (reason: string, message = /./) =>
  (view: RolloutView): boolean =>
    view.transitions.some((one) => one.reason === reason && message.test(one.message));

const SPLIT: readonly StrategyName[] = ["canary weighted", "blueGreen"];
const CANARIES: readonly StrategyName[] = ["canary weighted", "canary hosts"];

const MOMENTS: readonly Moment[] = [
  { name: "starting", on: STRATEGIES, when: (view) => view.hosts.some((host) => host.stage === "starting") },
  { name: "out of routing", on: ["rolling in place"], when: noted("HostRemoving") },
  { name: "back into routing", on: ["rolling in place"], when: noted("HostRestoring") },
  { name: "both take part", on: SPLIT, when: noted("HostSplitting") },
  {
    name: "at the first weight",
    on: CANARIES,
    when: noted("StepBegun", /setWeight (20|33) %/),
    quick: ["canary weighted"],
  },
  { name: "at the second weight", on: CANARIES, when: noted("StepBegun", /setWeight (60|66) %/) },
  { name: "pausing", on: [...CANARIES, "blueGreen"], when: (view) => view.reason === "Pausing" },
  {
    name: "analysing",
    on: ["canary weighted"],
    when: (view) => view.reason === "Analyzing" && view.analyses.some((run) => run.phase === "running"),
    changes: {
      steps: [
        { setWeight: 50 },
        {
          analysis: {
            duration: "6s",
            metrics: [{ name: "errors", interval: "500ms", sequential: { of: "errors", minRequests: 20 } }],
          },
        },
      ],
    },
  },
  { name: "analysing after the switch", on: ["blueGreen"], when: (view) => view.reason === "Analyzing" },
  { name: "switching", on: SPLIT, when: noted("StepBegun", /setWeight 100 %/) },
  {
    name: "traffic turns",
    on: STRATEGIES,
    when: (view) => noted("HostShifting")(view) || noted("HostRestoring")(view),
  },
  { name: "draining", on: STRATEGIES, when: noted("HostDraining") },
  { name: "stopping", on: STRATEGIES, when: noted("HostStopping") },
];

export const controller: readonly Scenario[] = [
  ...MOMENTS.map(({ name, on, quick, when, changes }): Scenario => ({
    name: `controller killed: ${name}`,
    ...{ on, ...(quick === undefined ? {} : { quick }) },
    play: async (scene) => {
      const strategy = strategyOf(scene.strategy, changes);
      const rollout = await scene.deploy({ strategy });
      const struck = await scene.until(rollout, name, when);
      scene.note(`struck in ${struck.stage} ${struck.reason} [${struck.hosts.map((host) => host.stage).join(" ")}]`);
      await scene.rig.killController();
      return { rollout, stage: "Succeeded", exitCode: EXIT.done, why: /goes on with it/ };
    },
  })),
  {
    name: "controller killed: rolling back",
    on: STRATEGIES,
    play: async (scene) => {
      const rollout = await scene.deploy();
      await scene.until(
        rollout,
        "the new version serves",
        (view) => noted("HostShifting")(view) || noted("HostSplitting")(view) || noted("HostRestoring")(view),
      );
      await scene.rig.abort("changed my mind");
      const struck = await scene.until(rollout, "it rolls back", noted("RollingBack"));
      scene.note(`struck in ${struck.stage} ${struck.reason} [${struck.hosts.map((host) => host.stage).join(" ")}]`);
      await scene.rig.killController();
      return { rollout, stage: "RolledBack", exitCode: EXIT.failed, why: /changed my mind/ };
    },
  },
];
