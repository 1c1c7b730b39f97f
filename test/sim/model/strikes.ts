/** What can befall a rollout: an operator's words, the fleet's accidents. Each has a moment, a length and a victim. */
import type { Command } from "../../../control/model/rollout.ts";
import { GOOD } from "./agent.ts";
import type { World } from "./world.ts";

export const KINDS = [
  "pause",
  "resume",
  "promote",
  "full",
  "abort",
  "weight",
  "deploy",
  "undeploy",
  "drain",
  "undrain",
  "partition",
  "kill",
  "core",
  "reject",
  "restart",
  "crash",
  "crash-old",
  "rot",
  "loss",
  "add-host",
] as const;
export type Kind = (typeof KINDS)[number];

export interface Strike {
  readonly kind: Kind;
  readonly at: number;
  readonly forMs: number;
  readonly who: number;
}

/** Revisions that a deployment in mid-rollout goes to: something newer, and something that was there before. */
export interface Targets {
  readonly newer: number;
  readonly older: number;
}

/** Does `strike` to the world; the answer undoes it. */
export function strike(world: World, { kind, who, forMs }: Strike, targets: Targets): (() => void) | undefined {
  const { controller } = world;
  const agent = world.agents[who % world.agents.length]!;
  const say = (command: Command): void => void controller.say(command);
  switch (kind) {
    case "pause":
      say({ kind: "pause", actor: "ops", reason: "" });
      return undefined;
    case "resume":
      if (controller.rollout?.pause?.reason === "FleetPartitioned") world.accept("without");
      say({ kind: "resume", actor: "ops" });
      return undefined;
    case "promote":
    case "full":
      world.accept("cut");
      say({ kind: "promote", actor: "ops", full: kind === "full" });
      return undefined;
    case "abort":
      say({ kind: "abort", actor: "ops", reason: "" });
      return undefined;
    case "weight":
      say({ kind: "weight", actor: "ops", weight: (who * 1_700) % 10_001 });
      return undefined;
    case "deploy":
    case "undeploy":
      {
        const to = kind === "deploy" ? targets.newer : targets.older;
        if (controller.alive && to !== 0) controller.deploy(to);
      }
      return undefined;
    case "drain":
      controller.admin(agent.name, "drain");
      return () => controller.admin(agent.name, "ready");
    case "undrain":
      controller.admin(agent.name, "ready");
      return undefined;
    case "partition":
      world.partition(agent.name);
      return () => world.heal(agent.name);
    case "kill":
      world.kill(agent.name);
      return () => world.boot(agent.name);
    case "core":
      world.restartCore(agent.name);
      return undefined;
    case "reject":
      agent.rejecting = true;
      return () => agent.mended();
    case "restart":
      world.restartController(who % 2 === 0 ? 0 : forMs);
      return undefined;
    case "crash":
      for (const instance of agent.instances) agent.crash(instance);
      return undefined;
    case "crash-old":
      for (const instance of agent.instances)
        if (instance.revision === controller.service.stable) agent.crash(instance);
      return undefined;
    case "rot": {
      // What has served for long does not start any more: a disk is full, a secret has expired.
      const { stable } = controller.service;
      world.behaviours.set(stable, { ...GOOD, readyAfterMs: null });
      for (const instance of agent.instances) if (instance.revision === stable) agent.crash(instance);
      return () => {
        world.behaviours.set(stable, GOOD);
        for (const one of world.agents) one.tryAgain(stable);
      };
    }
    case "loss":
      controller.counts.unexplainedLosses += 1;
      return undefined;
    case "add-host":
      if (world.agents.length < world.options.hosts + world.options.gateways + 3) {
        world.addAgent(`host-${world.agents.length + 1}`, "host");
      }
      return undefined;
  }
}

/** After these, something that could have served was broken on purpose. */
export const BREAKS: ReadonlySet<Kind> = new Set(["kill", "crash", "crash-old", "rot", "drain", "reject"]);

/** Plays them in order, each undone after its time, while virtual time goes on. Ends when the last is undone. */
export function playStrikes(world: World, strikes: readonly Strike[], targets: Targets): void {
  const began = world.now;
  let left = strikes.length;
  for (const one of strikes) {
    world.time.after(one.at, () => {
      const undo = strike(world, one, targets);
      world.time.after(undo === undefined && one.kind !== "restart" ? 0 : one.forMs, () => {
        undo?.();
        left -= 1;
      });
    });
  }
  const last = Math.max(0, ...strikes.map((one) => one.at + one.forMs));
  world.run(last + 1);
  if (left > 0) throw new Error(`${left} strikes of ${strikes.length} are not over at ${world.now - began}`);
}
