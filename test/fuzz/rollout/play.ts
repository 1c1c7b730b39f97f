/** One run of the fuzz test: strikes at their times, then peace, then the verdict. */
import { expect } from "vitest";
import type { Rollout } from "../../../control/model/rollout.ts";
import { resolveCount } from "../../../proto/contract/units.ts";
import { World, type WorldOptions } from "../../sim/model/world.ts";

export const KINDS = [
  "pause",
  "resume",
  "promote",
  "full",
  "abort",
  "deploy",
  "undeploy",
  "drain",
  "undrain",
  "partition",
  "kill",
  "reject",
  "restart",
  "crash",
  "loss",
] as const;
export type Kind = (typeof KINDS)[number];
export interface Strike {
  readonly kind: Kind;
  readonly at: number;
  readonly forMs: number;
  readonly who: number;
}

/** Does `strike` to the world; the answer undoes it. */
function strike(world: World, { kind, who }: Strike): (() => void) | undefined {
  const { controller } = world;
  const agent = world.agents[who % world.agents.length]!;
  const admin = (adminState: "ready" | "drain"): void => {
    controller.hosts = controller.hosts.map((host) => (host.name === agent.name ? { ...host, adminState } : host));
  };
  switch (kind) {
    case "pause":
      controller.say({ kind: "pause", actor: "ops", reason: "" }, world.now);
      return undefined;
    case "resume":
      if (controller.rollout?.pause?.reason === "FleetPartitioned") world.accept("without");
      controller.say({ kind: "resume", actor: "ops" }, world.now);
      return undefined;
    case "promote":
    case "full":
      world.accept("cut");
      controller.say({ kind: "promote", actor: "ops", full: kind === "full" }, world.now);
      return undefined;
    case "abort":
      controller.say({ kind: "abort", actor: "ops", reason: "" }, world.now);
      return undefined;
    case "deploy":
      controller.deploy(3, world.now);
      return undefined;
    case "undeploy":
      controller.deploy(1, world.now);
      return undefined;
    case "drain":
      admin("drain");
      return () => admin("ready");
    case "undrain":
      admin("ready");
      return undefined;
    case "partition":
      agent.partitioned = true;
      return () => (agent.partitioned = false);
    case "kill":
      world.kill(agent.name);
      return () => world.boot(agent.name);
    case "reject":
      agent.rejecting = true;
      return () => (agent.rejecting = false);
    case "restart":
      controller.restart(world.now);
      return undefined;
    case "crash":
      for (const instance of agent.instances) agent.crash(instance, world.now, (one) => world.cut(one));
      return undefined;
    case "loss":
      controller.unexplained += 1;
      return undefined;
  }
}

export function play(setup: WorldOptions, first: boolean, events: readonly Strike[]): World {
  const world = new World(setup);
  if (first) world.run(1_000);
  else world.settle();
  world.controller.deploy(first ? 1 : 2, world.now);
  const began = world.now;
  const todo = events.toSorted((a, b) => a.at - b.at);
  const undo: { at: number; fn: () => void }[] = [];
  while (todo.length > 0 || undo.length > 0) {
    world.tick();
    const at = world.now - began;
    while (todo.length > 0 && todo[0]!.at <= at) {
      const next = todo.shift()!;
      const fn = strike(world, next);
      if (fn !== undefined) undo.push({ at: at + next.forMs, fn });
    }
    for (const due of undo.filter((entry) => entry.at <= at)) {
      undo.splice(undo.indexOf(due), 1);
      due.fn();
    }
  }
  return world;
}

/** The trouble is over: an operator who answers pauses sees it end, and the fleet on one version. */
export function finish(world: World): void {
  const { controller } = world;
  for (let round = 0; round < 60 && controller.rollout !== null; round++) {
    world.run(5_000, () => controller.rollout === null);
    // `run` has moved it: what was known of it a line above is not any more.
    const pause = (controller.rollout as Rollout | null)?.pause;
    if (pause === undefined || pause === null) continue;
    expect(pause.message).not.toBe("");
    world.accept("cut");
    const said =
      pause.reason === "DrainTimeout" ? ({ kind: "promote", full: false } as const) : ({ kind: "resume" } as const);
    controller.say({ ...said, actor: "ops" }, world.now);
    // It goes on failing: an operator with autoRevert off gives up at some time.
    if (round > 30) controller.say({ kind: "abort", actor: "ops", reason: "" }, world.now);
  }
  if (controller.rollout !== null) throw new Error(`never ends: ${world.describe()}`);
  world.run(15_000);
}

const BREAKS: ReadonlySet<Kind> = new Set(["kill", "crash", "drain", "reject"]);

export function verdict(world: World, first: boolean, events: readonly Strike[]): void {
  const { controller } = world;
  const history = controller.journal
    .slice(-25)
    .map((entry) => `${entry.atMs} ${entry.stage} ${entry.reason}: ${entry.message}`);
  if (world.violations.length > 0) throw new Error([...world.violations, ...history].join("\n"));
  const stable = controller.service.stable;
  const last = controller.past.at(-1)!;
  for (const agent of world.agents) {
    if (agent.role !== "host") continue;
    const named = agent.instances.map((instance) => [instance.revision, instance.mode]);
    // Neither both nor none, wherever the stable version can run at all.
    if (last.stage.kind !== "failed") {
      expect({ agent: agent.name, named }).toEqual({
        agent: agent.name,
        named: stable === 0 ? [] : [[stable, "serving"]],
      });
    }
  }
  // All hosts out at once, in place: holding requests meanwhile (R13) is the agents' part.
  const { strategy, hosts } = world.options;
  const allOut = resolveCount(strategy.maxUnavailable, hosts, "down") >= hosts;
  const good = (n: number): boolean => world.options.behaviours[n]?.exitsAfterMs == null;
  if (!first && !allOut && good(2) && good(3) && !events.some((one) => BREAKS.has(one.kind)))
    expect(world.lost).toBe(0);
}
