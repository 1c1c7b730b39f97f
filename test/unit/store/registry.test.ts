import { expect, test } from "vitest";
import { Registry, StoreFailed, eventChange } from "../../../control/registry.ts";
import type { Committed, Store, StoredState } from "../../../control/store/store.ts";
import { entry, host, rollout } from "../../support/samples.ts";

const empty: StoredState = {
  ...{ epoch: 3, services: [], revisions: [], retirements: [], hosts: [], rollouts: [], ledgers: [], counts: [] },
};

/** A store whose answers are given; storage itself is what these tests let fail. */
function setup(answer: () => Promise<Committed>, state = empty, journal: Store["journal"] = () => Promise.resolve([])) {
  let epoch = state.epoch;
  const store: Store = {
    description: "test",
    load: () => Promise.resolve(state),
    commit: answer,
    raiseEpoch: (to) => {
      if (to <= epoch) return Promise.resolve({ kind: "taken", epoch });
      epoch = to;
      return Promise.resolve({ kind: "ok" });
    },
    journal,
    events: () => Promise.resolve([]),
    follow: () => () => undefined,
    position: 0,
    close: () => Promise.resolve(),
  };
  return { registry: new Registry(store, state), takenElsewhere: (to: number) => (epoch = to) };
}

test("a full disk changes nothing in memory, and is told until something is stored again", async () => {
  let full = true;
  const { registry } = setup(() =>
    full ? Promise.reject(new Error("database or disk is full")) : Promise.resolve({ kind: "ok", events: [] }),
  );
  const told: unknown[] = [];
  registry.follow((event) => told.push(event));
  const failed = registry.commit([{ kind: "host", host: host("host-1") }]);
  await expect(failed).rejects.toBeInstanceOf(StoreFailed);
  await expect(failed).rejects.toMatchObject({ fenced: false });
  expect(registry.hosts()).toEqual([]);
  expect(registry.trouble).toBe("database or disk is full");
  expect(told).toEqual([]);
  full = false;
  await registry.commit([{ kind: "host", host: host("host-1") }]);
  expect(registry.trouble).toBe("");
  expect(registry.hosts()).toHaveLength(1);
});

test("a controller that another has followed is told so, and must not go on", async () => {
  for (const answer of [
    { kind: "fenced", epoch: 9 },
    { kind: "conflict", message: "rollout x is at change 4, not at 3" },
  ] as const) {
    const { registry } = setup(() => Promise.resolve(answer));
    await expect(registry.commit([eventChange({ atMs: 1, kind: "k", message: "m" })])).rejects.toMatchObject({
      fenced: true,
    });
  }
});

test("an epoch is above the stored one, above what was seen, and above one that was taken meanwhile", async () => {
  const { registry, takenElsewhere } = setup(() => Promise.resolve({ kind: "ok", events: [] }));
  expect(await registry.raiseEpoch(0)).toBe(4);
  expect(await registry.raiseEpoch(10)).toBe(11);
  takenElsewhere(40);
  expect(await registry.raiseEpoch(0)).toBe(41);
  expect(registry.epoch).toBe(41);
});

test("a journal that is read while its rollout moves on has the newest entry", async () => {
  const first = rollout();
  const second = rollout({ change: 1 });
  const stored = [entry(first)];
  const release: (() => void)[] = [];
  const { registry } = setup(
    () => Promise.resolve({ kind: "ok", events: [] }),
    { ...empty, rollouts: [first] },
    // What it had when it was asked, told later.
    () => {
      const had = [...stored];
      return new Promise((resolve) => release.push(() => resolve(had)));
    },
  );
  const reading = registry.journal(first.id);
  stored.push(entry(second));
  await registry.commit([{ kind: "rollout", rollout: second, expect: 0, entries: [entry(second)] }]);
  release.shift()?.();
  await Promise.resolve();
  await Promise.resolve();
  release.shift()?.();
  expect((await reading).map((e) => e.change)).toEqual([0, 1]);
});
