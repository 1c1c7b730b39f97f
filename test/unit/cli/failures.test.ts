import { expect, test } from "vitest";
import { rolloutBlock } from "../../../control/cli/render/rollout.ts";
import { InstanceView, RolloutHost, RolloutView } from "../../../proto/gen/baton/v1/operator.ts";

const shown = (instance: Partial<InstanceView>): string => {
  const nothing = new Uint8Array();
  const one = { ...InstanceView.decode(nothing), id: "web-1-r2-0", version: "v2", ...instance };
  const host = { ...RolloutHost.decode(nothing), host: "web-1", instances: [one] };
  return rolloutBlock({ ...RolloutView.decode(nothing), service: "web", hosts: [host] }, 0);
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
