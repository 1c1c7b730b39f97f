import { expect, test } from "vitest";
import { rolloutBlock } from "../../../control/cli/render/rollout.ts";
import { InstanceView, RolloutHost, RolloutView } from "../../../proto/gen/baton/v1/operator.ts";

const shown = (instance: Partial<InstanceView>, rollout: Partial<RolloutView> = {}): string => {
  const nothing = new Uint8Array();
  const one = { ...InstanceView.decode(nothing), id: "web-1-r2-0", revision: 2, version: "v2", ...instance };
  const host = { ...RolloutHost.decode(nothing), host: "web-1", instances: [one] };
  return rolloutBlock({ ...RolloutView.decode(nothing), service: "web", toRevision: 2, hosts: [host], ...rollout }, 0);
};

test("a start that never came to a program says why: its image can't be had, or is still being had", () => {
  const why = "image shop:nope can't be pulled: not found";
  expect(shown({ state: "failed", reason: why })).toContain(`web-1 web-1-r2-0 v2: failed, ${why}`);
  expect(shown({ state: "starting", reason: "pulling image shop:v2 42 %" })).toContain("pulling image shop:v2 42 %");
});

test("an app that is not ready yet, one that serves and one that was asked to stop are no failures", () => {
  for (const instance of [
    { state: "starting", reason: "readiness: 503" },
    { state: "serving", reason: "" },
    { state: "stopped", reason: "stopped" },
  ]) {
    expect(shown(instance)).not.toContain("web-1-r2-0 v2:");
  }
});

test("what failed under an earlier rollout is not told as this one's failure", () => {
  const failed = { state: "failed", reason: "exited with 7 after 0.2 s", output: ["last words"] };
  const said = (rollout: Partial<RolloutView>): boolean => shown(failed, rollout).includes("last words");
  expect(said({ toRevision: 2, stage: "Step" })).toBe(true);
  expect(said({ toRevision: 3, stage: "Step" })).toBe(false);
  expect(said({ toRevision: 3, fromRevision: 2, stage: "Step" })).toBe(false);
});

test("while a rollout goes back, what it goes back to can fail as well", () => {
  const failed = { state: "failed", reason: "exited with 7 after 0.2 s" };
  const back = { toRevision: 3, fromRevision: 2, stage: "RollingBack" };
  expect(shown(failed, back)).toContain("web-1-r2-0 v2: failed, exited with 7");
  expect(shown({ ...failed, id: "web-1-r3-0", revision: 3, version: "v3" }, back)).toContain("web-1-r3-0 v3: failed");
  expect(shown({ ...failed, revision: 1, version: "v1" }, back)).not.toContain("failed");
});
