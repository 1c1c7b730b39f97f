/** What has to be true once a rollout is over and its trouble is past. */
import type { World } from "./world.ts";
import { placed } from "../../../control/desired/placement.ts";

/** One sentence for each thing that is not as it should be. */
export function atRest(world: World): readonly string[] {
  const { controller } = world;
  const { stable } = controller.service;
  const last = controller.past.at(-1);
  // Wherever the stable version can't be had, every host keeps what is ready there.
  if (last?.stage.kind === "failed") return [];
  const hosts = stable === 0 ? [] : placed(controller.revision(stable).spec, controller.hosts);
  const found: string[] = [];
  for (const agent of world.agents) {
    const sync = controller.fleet.agent(agent.name)?.sync(world.now);
    if (sync?.sync !== "SYNCED")
      found.push(`at rest ${agent.name} is ${sync?.sync ?? "unknown"}: ${sync?.reason ?? ""}`);
    if (agent.role !== "host") continue;
    const there = agent.instances.map((one) => `r${one.revision} ${one.mode} ${one.weight}`).join(", ");
    const expected = hosts.includes(agent.name) ? `r${stable} serving 10000` : "";
    if (there !== expected) found.push(`at rest ${agent.name} has "${there}" in place of "${expected}"`);
  }
  for (const gateway of world.agents.filter((one) => one.role === "gateway")) {
    const to = (gateway.service?.endpoints ?? []).map((one) => `${one.host} ${one.mode}`).sort();
    const expected = hosts.map((host) => `${host} serving`).sort();
    if (stable !== 0 && to.join() !== expected.join()) {
      found.push(`at rest ${gateway.name} sends to ${to.join(", ")} in place of ${expected.join(", ")}`);
    }
  }
  return found;
}
