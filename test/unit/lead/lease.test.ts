import { expect, test } from "vitest";
import { Lease } from "../../../control/lead/lease.ts";
import type { Held, Holder, LeaseRegister } from "../../../control/lead/lease.ts";
import { LEAD } from "../../../proto/contract/nats.ts";
import { sleep } from "../../../proto/kernel/clock.ts";
import { integer, seededRandom } from "../../../proto/kernel/random.ts";
import type { Random } from "../../../proto/kernel/random.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const NOBODY: Holder = { id: "", incarnation: "" };

/** The register, and how each controller reaches it. */
class World {
  readonly clock = new FakeClock();
  readonly random: Random;
  held: Held = { holder: NOBODY, revision: 0 };
  /** By controller: how it fares with its next calls. */
  readonly weather = new Map<string, "well" | "cut" | "answers-lost" | "slow">();
  readonly leases = new Map<string, Lease>();
  readonly told: string[] = [];
  /** By incarnation. */
  readonly troubles = new Map<string, string>();
  /** Time during which two led. */
  overlap = 0;

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  add(id: string, incarnation = `${id}-1`): Lease {
    const lease = new Lease({
      register: this.#register(id),
      me: { id, incarnation },
      clock: this.clock,
      random: this.random,
      news: {
        won: () => void this.told.push(`${id} leads`),
        lost: () => void this.told.push(`${id} lost`),
        leader: () => undefined,
        trouble: (why) => void this.troubles.set(incarnation, why),
      },
    });
    this.leases.set(id, lease);
    lease.start();
    return lease;
  }

  get leading(): string[] {
    return [...this.leases].filter(([, lease]) => lease.leading).map(([id]) => id);
  }

  async advance(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 50) {
      await this.clock.advance(50);
      if (this.leading.length > 1) this.overlap += 50;
    }
  }

  #register(id: string): LeaseRegister {
    const call = async <T>(act: () => T): Promise<T> => {
      const weather = this.weather.get(id) ?? "well";
      const ms = weather === "slow" ? 200 + integer(this.random, 2_500) : integer(this.random, 30);
      await sleep(this.clock, ms / 2);
      if (weather === "cut") throw new Error("cut off");
      const answer = act();
      await sleep(this.clock, ms / 2);
      if (weather === "answers-lost") throw new Error("no answer");
      return answer;
    };
    return {
      read: () => call(() => this.held),
      write: (holder, expected) =>
        call(() => {
          if (this.held.revision !== expected) return null;
          this.held = { holder, revision: this.held.revision + 1 };
          return this.held.revision;
        }),
    };
  }
}

test("one of three leads; when it is cut off, it stands down before another takes over, within five seconds", async () => {
  const world = new World(1);
  for (const id of ["a", "b", "c"]) world.add(id);
  await world.advance(2_000);
  const [first = ""] = world.leading;
  expect(world.leading).toHaveLength(1);
  world.weather.set(first, "cut");
  await world.advance(LEAD.standDownMs);
  expect(world.leading).toEqual([]);
  await world.advance(5_000 - LEAD.standDownMs);
  expect(world.leading).toHaveLength(1);
  expect(world.leading).not.toContain(first);
  expect(world.overlap).toBe(0);
});

test("one that stops gives it back: the next one leads at once", async () => {
  const world = new World(2);
  const a = world.add("a");
  await world.advance(1_000);
  world.add("b");
  await world.advance(1_000);
  expect(world.leading).toEqual(["a"]);
  const stopped = a.stop();
  await world.advance(500);
  await stopped;
  expect(world.leading).toEqual(["b"]);
});

test("one that stops in the middle of a renewal gives back what that renewal wrote", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const world = new World(seed);
    const lease = world.add("a");
    await world.advance(1_000);
    expect(world.leading).toEqual(["a"]);
    world.weather.set("a", "slow");
    await world.advance(1_500);
    const stopped = lease.stop();
    await world.advance(20_000);
    await stopped;
    expect([seed, world.held.holder]).toEqual([seed, NOBODY]);
  }
});

test("whoever resigns lets another have it first, and takes it again if there is no other", async () => {
  const world = new World(3);
  const a = world.add("a");
  await world.advance(1_000);
  const resigned = a.resign("its store can't be opened");
  await world.advance(1_000);
  await resigned;
  expect(world.leading).toEqual([]);
  world.add("b");
  await world.advance(500);
  expect(world.leading).toEqual(["b"]);
  void world.leases.get("b")?.stop();
  await world.advance(3_000);
  expect(world.leading).toEqual(["a"]);
});

test("a register that nobody can read makes nobody a leader, however long, and time that was not watched counts for nothing", async () => {
  const world = new World(4);
  world.add("a");
  await world.advance(1_000);
  const lease = world.add("b");
  await world.advance(1_000);
  world.weather.set("b", "cut");
  await world.advance(60_000);
  expect(lease.leading).toBe(false);
  world.weather.set("b", "well");
  world.weather.set("a", "cut");
  // Its last look was a minute ago: the silence of that minute is not the leader's.
  await world.advance(LEAD.takeOverMs - 500);
  expect(lease.leading).toBe(false);
  await world.advance(1_500);
  expect(world.leading).toEqual(["b"]);
});

test("a renewal whose answer is lost is found again under its own name", async () => {
  const world = new World(5);
  world.add("a");
  await world.advance(1_000);
  world.weather.set("a", "answers-lost");
  await world.advance(1_500);
  world.weather.set("a", "well");
  await world.advance(20_000);
  expect(world.told).toEqual(["a leads"]);
});

test("another life of a controller of the same name waits like anyone else", async () => {
  const world = new World(6);
  world.add("a", "first");
  await world.advance(1_000);
  world.weather.set("a", "cut");
  const other = new World(7);
  other.held = world.held;
  const again = other.add("a", "second");
  await other.advance(3_500);
  expect(again.leading).toBe(false);
  await other.advance(1_500);
  expect(again.leading).toBe(true);
});

test("two controllers of one name are told apart, and the one that follows says so; one that was killed is nobody's namesake", async () => {
  const world = new World(8);
  world.add("a", "first");
  await world.advance(1_000);
  world.add("a", "second");
  await world.advance(4_000);
  expect(world.told).toEqual(["a leads"]);
  expect(world.troubles.get("first")).toBe("");
  expect(world.troubles.get("second")).toMatch(/^another controller is called a too, and leads: give each a --name/);

  const after = new World(9);
  after.held = world.held;
  after.add("a", "third");
  await after.advance(3_000);
  expect(after.troubles.get("third")).toBe("");
});

test("whatever the weather, no two lead at a time, and in fair weather one does", async () => {
  for (let seed = 100; seed < 160; seed++) {
    const world = new World(seed);
    const ids = ["a", "b", "c"];
    for (const id of ids) world.add(id);
    const kinds = ["well", "well", "cut", "answers-lost", "slow"] as const;
    for (let n = 0; n < 30; n++) {
      const id = ids[integer(world.random, ids.length)] ?? "a";
      world.weather.set(id, kinds[integer(world.random, kinds.length)] ?? "well");
      if (integer(world.random, 10) === 0) void world.leases.get(id)?.resign("trouble of its own");
      await world.advance(200 + integer(world.random, 4_000));
    }
    expect(world.overlap, `seed ${String(seed)}`).toBe(0);
    for (const id of ids) world.weather.set(id, "well");
    await world.advance(12_000);
    expect(world.leading, `seed ${String(seed)}`).toHaveLength(1);
    const changes = world.told.filter((line) => line.endsWith("leads")).length;
    expect(changes - world.told.filter((line) => line.endsWith("lost")).length).toBe(1);
  }
});
