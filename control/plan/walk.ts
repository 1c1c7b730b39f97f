/**
 * Runs a rollout to its end in a fleet in which all goes well: the real engine on the real compiler's assignments, with
 * time that jumps to whatever is waited for. An operator is taken to promote each step that waits for one; analyses are
 * taken to succeed when they are over at the earliest.
 *
 * Errors  none: a rollout that does not come to its end is told as far as it comes, with what the engine says of it.
 * Cost    a compilation a change of state: hosts × hosts for a rolling update, 0.3 s of a core for 50 hosts, 2 s for 100.
 *         A generator, so that the caller decides how much of it is done at a stretch and when it is enough.
 */
import { compile } from "../desired/compile.ts";
import { groupsOf } from "../desired/placement.ts";
import type { Rollout } from "../model/rollout.ts";
import type { Service } from "../model/service.ts";
import type { FleetView } from "../model/view.ts";
import { describe, ended, stageName } from "../rollout/describe.ts";
import { begin, command, desires, step } from "../rollout/engine.ts";
import type { Context } from "../rollout/types.ts";
import { momentOf } from "./capacity.ts";
import { IdealFleet } from "./ideal.ts";
import type { Assigned } from "./ideal.ts";
import { leastMs } from "./least.ts";
import { narrate, operatorWait } from "./narrate.ts";
import { PlanRecord } from "./record.ts";
import type { Plan, PlanInput } from "./types.ts";
import { warningsOf } from "./warnings.ts";

/** @param enough asked before each decision: yes ends the telling there */
export function* walk(input: PlanInput, enough: () => boolean): Generator<undefined, Plan> {
  const world = new World(input);
  const { from, to, now: start } = input.beginning;
  const before = momentOf(world.settle(null), input.service.name);
  const record = new PlanRecord(before, from?.revision ?? 0, to.revision);
  let rollout = begin(input.beginning).rollout;
  let outcome = "";
  while (outcome === "") {
    yield undefined;
    const assigned = world.settle(rollout);
    record.see(momentOf(assigned, input.service.name));
    const decision = step(rollout, world.context(rollout));
    const after = succeed(decision.rollout, world);
    if (after !== rollout) {
      narrate(record, { before: rollout, after, journal: decision.journal, atMs: world.now - start, to, from });
      rollout = after;
      world.follow(rollout);
    } else if (operatorWait(rollout)) {
      record.waits(`an operator: \`baton rollout promote ${input.service.name}\``);
      rollout = promoted(rollout, world.context(rollout));
    } else if (decision.wakeAtMs !== null && rollout.pause === null) {
      world.now = Math.max(world.now + 1, decision.wakeAtMs);
    } else {
      outcome = `stops: ${describe(rollout, world.context(rollout))}`;
    }
    if (ended(rollout)) outcome = endOf(rollout, world.context(rollout));
    else if (outcome === "" && enough()) outcome = "told no further: what is left goes on in the same way";
  }
  record.see(momentOf(world.settle(rollout), input.service.name));
  const { steps, minCapacityPercent, maxInstances, maxHostsOut } = record;
  const told = { steps, outcome, lastsMs: world.now - start, minCapacityPercent, maxInstances, maxHostsOut };
  return { ...told, warnings: warningsOf(input, told) };
}

/** What is stored and what is asked, and the fleet that does it. */
class World {
  now: number;
  readonly #input: PlanInput;
  readonly #fleet: IdealFleet;
  #service: Service;
  #assigned: Assigned = new Map();
  #view: FleetView;

  constructor(input: PlanInput) {
    this.#input = input;
    this.#service = input.service;
    this.now = input.beginning.now;
    this.#fleet = new IdealFleet(input.service.name, input.hosts);
    this.#view = this.#fleet.view(this.#assigned, 0, this.now);
  }

  /** What every agent is asked now, done by all. */
  settle(rollout: Rollout | null): Assigned {
    const { hosts, revisions } = this.#input;
    const rolling = rollout === null || ended(rollout) ? [] : [rollout];
    this.#assigned = compile({
      services: [this.#service],
      revisions,
      rollouts: rolling,
      desires: new Map(rolling.map((one) => [one.service, desires(one)])),
      hosts,
      views: new Map([[this.#service.name, this.#view]]),
      previous: this.#assigned,
    });
    this.#view = this.#fleet.view(this.#assigned, rollout?.change ?? 0, this.now);
    return this.#assigned;
  }

  context(rollout: Rollout): Context {
    const { from, to, hosts, fromHosts, epoch } = this.#input.beginning;
    const groups = groupsOf(to.spec, this.#input.hosts);
    const cluster = { hosts, fromHosts: from === null ? [] : (fromHosts ?? hosts), groups };
    const view = { ...this.#view, change: rollout.change };
    return { from, to, cluster, view, now: this.now, epoch, measurements: [] };
  }

  /** As the controller does when traffic rests on the target. */
  follow({ stage, to, from }: Rollout): void {
    if (stage.kind === "promoting") this.#service = { ...this.#service, stable: to, previous: from };
  }
}

/** Analyses end well, as soon as they can; the one in the background has nothing to object at any time. */
function succeed(rollout: Rollout, world: World): Rollout {
  if (!rollout.analyses.some((run) => run.phase === "running")) return rollout;
  const analyses = rollout.analyses.map((run) => {
    if (run.phase !== "running") return run;
    if (run.id !== "background") world.now += leastMs(run.spec);
    return { ...run, phase: "successful" as const, message: "", endedAtMs: world.now };
  });
  return { ...rollout, analyses };
}

function promoted(rollout: Rollout, context: Context): Rollout {
  const answer = command(rollout, { kind: "promote", actor: "an operator", full: false }, context);
  return "kind" in answer ? rollout : answer.rollout;
}

function endOf(rollout: Rollout, context: Context): string {
  const stage = stageName(rollout.stage);
  return stage === "Succeeded" ? stage : `${stage}: ${describe(rollout, context)}`;
}
