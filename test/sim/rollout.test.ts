import { expect, test } from "vitest";
import { GOOD, STRATEGY, World, type WorldOptions } from "./model/world.ts";

const calm: WorldOptions = {
  seed: 1,
  hosts: 3,
  gateways: 1,
  strategy: STRATEGY,
  onTimeout: "cut",
  behaviours: {},
  latencyMs: 100,
  lossy: 0,
  longRequests: false,
};

function roll(options: Partial<WorldOptions>, to = 2): World {
  const world = new World({ ...calm, ...options }).settle();
  world.controller.deploy(to);
  return world;
}
const over = (world: World) => (): boolean => world.controller.rollout === null;
const end = (world: World): string => world.controller.past.at(-1)?.stage.kind ?? world.describe();

test("a surge rollout moves every host and loses nothing", () => {
  const world = roll({});
  world.run(60_000, over(world));
  expect(world.violations).toEqual([]);
  expect(end(world)).toBe("succeeded");
  expect(world.lost).toBe(0);
  expect(world.controller.service.stable).toBe(2);
  world.run(5_000);
  for (const host of world.agents.filter((agent) => agent.role === "host")) {
    expect(host.instances.map((instance) => [instance.revision, instance.mode])).toEqual([[2, "serving"]]);
  }
});

test("in place, a host is out of every gateway before anything on it changes", () => {
  const strategy = {
    ...STRATEGY,
    maxSurge: { kind: "count", value: 0 },
    maxUnavailable: { kind: "count", value: 1 },
  } as const;
  const world = roll({ strategy, gateways: 2 });
  world.run(60_000, over(world));
  expect(world.violations).toEqual([]);
  expect(end(world)).toBe("succeeded");
  expect(world.lost).toBe(0);
});

test("a version that never gets ready is rolled back and takes no traffic at all", () => {
  const world = roll({ behaviours: { 2: { ...GOOD, readyAfterMs: null } } });
  world.run(60_000, over(world));
  expect(world.violations).toEqual([]);
  expect(end(world)).toBe("rolled-back");
  expect(world.lost).toBe(0);
  expect(world.controller.counts.traffic()["v2"]).toBeUndefined();
});

test("a version that is ready and then exits is rolled back from the one host it reached", () => {
  const world = roll({ behaviours: { 2: { ...GOOD, exitsAfterMs: 2_500 } } });
  const reached = new Set<string>();
  world.run(60_000, () => {
    for (const track of world.controller.rollout?.hosts ?? []) {
      if (track.servesSinceMs > 0 && track.towards === 2) reached.add(track.host);
    }
    return over(world)();
  });
  expect(world.violations).toEqual([]);
  expect(end(world)).toBe("rolled-back");
  expect(world.lost).toBe(0);
  expect(reached.size).toBeLessThanOrEqual(1);
  expect(world.describe()).toContain("exit code 3");
});

test("a version that answers 500 is rolled back with the numbers in the reason", () => {
  const strategy = { ...STRATEGY, minHealthyMs: 4_000 };
  const world = roll({ strategy, behaviours: { 2: { ...GOOD, errors: 0.5 } } });
  world.run(60_000, over(world));
  expect(world.violations).toEqual([]);
  expect(end(world)).toBe("rolled-back");
  expect(world.describe()).toMatch(/v2 answered 5xx to \d+ of \d+ requests/);
});

test("a first rollout starts every host; a broken one is taken out again and leaves nothing running", () => {
  const first = (behaviours: WorldOptions["behaviours"]): World => {
    const world = new World({ ...calm, behaviours });
    world.run(1_000);
    world.controller.deploy(1);
    world.run(60_000, over(world));
    expect(world.violations).toEqual([]);
    return world;
  };
  const good = first({});
  expect(end(good)).toBe("succeeded");
  expect(good.controller.service.stable).toBe(1);
  const bad = first({ 1: { ...GOOD, exitsAfterMs: 100, readyAfterMs: null } });
  expect(end(bad)).toBe("rolled-back");
  bad.run(5_000);
  expect(bad.agents.flatMap((agent) => agent.instances)).toEqual([]);
});

test("a controller that is killed every second still carries the rollout to its end", () => {
  const world = roll({});
  for (let i = 0; i < 100 && !over(world)(); i++) {
    world.run(1_000, over(world));
    world.restartController();
  }
  expect(world.violations).toEqual([]);
  expect(end(world)).toBe("succeeded");
  expect(world.lost).toBe(0);
});

test("a newer revision takes the hosts on in mid-rollout, and a bad one is not waited for", () => {
  const world = roll({ behaviours: { 2: { ...GOOD, readyAfterMs: null } } });
  world.run(2_000);
  world.controller.deploy(3);
  const began = world.now;
  world.run(60_000, over(world));
  expect(world.violations).toEqual([]);
  expect(world.controller.past.map((rollout) => rollout.stage.kind)).toEqual(["superseded", "succeeded"]);
  expect(world.lost).toBe(0);
  expect(world.now - began).toBeLessThan(20_000);
  world.run(5_000);
  expect(new Set(world.agents.flatMap((agent) => agent.instances.map((i) => i.revision)))).toEqual(new Set([3]));
});

test("a lost host halts the rollout, and it goes on by itself when the host is back", () => {
  const world = roll({});
  world.run(1_000);
  world.partition("host-2");
  world.run(6_000);
  expect(world.controller.rollout?.pause?.reason).toBe("FleetPartitioned");
  world.heal("host-2");
  world.run(60_000, over(world));
  expect(world.violations).toEqual([]);
  expect(end(world)).toBe("succeeded");
});

test("a host left behind is named at the end, and moved without a gap when it returns", () => {
  const world = roll({ strategy: { ...STRATEGY, onPartition: "continue" } });
  world.partition("host-3");
  world.run(60_000, over(world));
  expect(end(world)).toBe("succeeded");
  expect(world.describe()).toContain("host-3 was lost");
  world.heal("host-3");
  world.run(10_000);
  expect(world.violations).toEqual([]);
  expect(world.lost).toBe(0);
  expect(world.agent("host-3").instances.map((instance) => instance.revision)).toEqual([2]);
});
