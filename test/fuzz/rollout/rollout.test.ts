/**
 * The engine against a world that is late, forgetful and hostile. Oracles: I1–I6 judged from what is true in the world
 * (test/sim/model/oracle.ts), liveness (every run ends once the trouble has passed, or says what it waits for), and that
 * no request is lost where nothing broke that could have served it.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { CountOrPercent } from "../../../proto/contract/units.ts";
import { GOOD, STRATEGY, World, type WorldOptions } from "../../sim/model/world.ts";

const RUNS = Number(process.env["FUZZ_RUNS"] ?? 150);

const count = (max: number): fc.Arbitrary<CountOrPercent> =>
  fc.oneof(
    fc.record({ kind: fc.constant("count" as const), value: fc.integer({ min: 0, max }) }),
    fc.record({ kind: fc.constant("percent" as const), value: fc.constantFrom(0, 25, 34, 50) }),
  );

const behaviour = fc.oneof(
  { weight: 4, arbitrary: fc.constant(GOOD) },
  { weight: 1, arbitrary: fc.constant({ ...GOOD, readyAfterMs: 2_500 }) },
  { weight: 1, arbitrary: fc.constant({ ...GOOD, readyAfterMs: null }) },
  { weight: 1, arbitrary: fc.constant({ ...GOOD, readyAfterMs: null, exitsAfterMs: 200 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1_200, max: 9_000 }).map((exitsAfterMs) => ({ ...GOOD, exitsAfterMs })) },
  { weight: 1, arbitrary: fc.constant({ ...GOOD, errors: 0.4 }) },
);

const KINDS = [
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
type Kind = (typeof KINDS)[number];
interface Event {
  readonly kind: Kind;
  readonly at: number;
  readonly forMs: number;
  readonly who: number;
}

const event: fc.Arbitrary<Event> = fc.record({
  kind: fc.constantFrom(...KINDS),
  at: fc.integer({ min: 0, max: 20_000 }),
  forMs: fc.integer({ min: 100, max: 6_000 }),
  who: fc.nat({ max: 6 }),
});

const options: fc.Arbitrary<WorldOptions> = fc.record({
  seed: fc.integer({ min: 1, max: 1_000_000 }),
  hosts: fc.integer({ min: 1, max: 4 }),
  gateways: fc.integer({ min: 0, max: 2 }),
  strategy: fc
    .record({
      maxSurge: count(2),
      maxUnavailable: count(2),
      minHealthyMs: fc.constantFrom(0, 500, 1_500),
      autoRevert: fc.boolean(),
      onPartition: fc.constantFrom("pause" as const, "continue" as const),
    })
    .map((part) => ({ ...STRATEGY, ...part })),
  onTimeout: fc.constantFrom("cut" as const, "pause" as const),
  behaviours: fc.record({ 2: behaviour, 3: behaviour }),
  latencyMs: fc.constantFrom(1, 100, 700),
  lossy: fc.constantFrom(0, 0.1, 0.3),
  longRequests: fc.boolean(),
});

/** Does `event` to the world; the answer undoes it. */
function strike(world: World, { kind, who }: Event): (() => void) | undefined {
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

function play(setup: WorldOptions, first: boolean, events: readonly Event[]): World {
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
function finish(world: World): void {
  const { controller } = world;
  for (let round = 0; round < 60 && controller.rollout !== null; round++) {
    world.run(5_000, () => controller.rollout === null);
    const pause = controller.rollout?.pause;
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

function verdict(world: World, first: boolean, events: readonly Event[]): void {
  expect(world.violations).toEqual([]);
  const { controller } = world;
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
  const good = (n: number): boolean => world.options.behaviours[n]?.exitsAfterMs == null;
  if (!first && good(2) && good(3) && !events.some((one) => BREAKS.has(one.kind))) expect(world.lost).toBe(0);
}

test(
  "no order of events breaks an invariant, and every rollout ends or says what it waits for",
  { timeout: 600_000 },
  () => {
    fc.assert(
      fc.property(options, fc.boolean(), fc.array(event, { maxLength: 8 }), (setup, first, events) => {
        const world = play(setup, first, events);
        finish(world);
        verdict(world, first, events);
      }),
      { numRuns: RUNS },
    );
  },
);
