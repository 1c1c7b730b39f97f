/** What every engine behind the Store port must do. Call it from a test file with a way to open the same store again. */
import { expect, test } from "vitest";
import type { Change, NewEvent, Store } from "../../control/store/store.ts";
import type { HostTrack } from "../../control/model/rollout.ts";
import { entry, host, revision, rollout } from "./samples.ts";

export interface Subject {
  /** A store on nothing, and a way to see what a new process would: closes nothing by itself. */
  fresh(): Promise<{ readonly store: Store; readonly reopen: () => Promise<Store> }>;
}

const shop: Change = { kind: "service", service: { name: "shop", stable: 0, previous: 0, newest: 1 } };
const event = (message: string, service = "shop"): Change => {
  const base: NewEvent = { atMs: 1, kind: "test", service, rollout: "", host: "", actor: "ann", message };
  return { kind: "event", event: base };
};

const track = (name: string): HostTrack => ({
  ...{ host: name, way: "surge", stage: "waiting", towards: 1, goal: 1, home: 0, revisions: [], routed: true },
  ...{ sinceMs: 1, drainSinceMs: 0, servesSinceMs: 0, healthyAtMs: 0, healthyMark: 0, unhealthyAtMs: 0 },
  ...{ exitsAllowed: 0, cutAllowed: false, waitingFor: "" },
});

export function storeContract(name: string, subject: Subject): void {
  test(`${name}: what was committed is there after closing and opening again`, async () => {
    const { store, reopen } = await subject.fresh();
    const began = rollout();
    await store.raiseEpoch(1);
    const done = await store.commit(1, [
      shop,
      { kind: "revision", revision: revision(1) },
      { kind: "host", host: host("host-1", { ports: { "shop/0": 8080 } }) },
      { kind: "rollout", rollout: began, expect: -1, entries: [entry(began)] },
      {
        kind: "ledger",
        ledger: {
          rollout: began.id,
          service: "shop",
          baseline: {},
          end: null,
          unexplained: 0,
          pending: [],
          evidence: [],
          notes: [],
        },
      },
      { kind: "counts", counts: { host: "host-1", role: "host", boot: "b", incidentSeq: 3, services: {} } },
      { kind: "retirement", retirement: { service: "old", stage: "hosts", sinceMs: 7 } },
      event("hello"),
    ]);
    expect(done).toMatchObject({ kind: "ok", events: [{ message: "hello", actor: "ann" }] });
    await store.close();

    const again = await reopen();
    expect(await again.load()).toEqual({
      epoch: 1,
      services: [{ name: "shop", stable: 0, previous: 0, newest: 1 }],
      revisions: [revision(1)],
      retirements: [{ service: "old", stage: "hosts", sinceMs: 7 }],
      hosts: [host("host-1", { ports: { "shop/0": 8080 } })],
      rollouts: [began],
      ledgers: [
        {
          rollout: began.id,
          service: "shop",
          baseline: {},
          end: null,
          unexplained: 0,
          pending: [],
          evidence: [],
          notes: [],
        },
      ],
      counts: [{ host: "host-1", role: "host", boot: "b", incidentSeq: 3, services: {} }],
    });
    expect(await again.journal(began.id)).toEqual([entry(began)]);
    await again.close();
  });

  test(`${name}: a writer below the stored epoch changes nothing`, async () => {
    const { store } = await subject.fresh();
    expect(await store.raiseEpoch(5)).toEqual({ kind: "ok" });
    expect(await store.commit(4, [shop])).toEqual({ kind: "fenced", epoch: 5 });
    expect((await store.load()).services).toEqual([]);
    expect(await store.raiseEpoch(5)).toEqual({ kind: "taken", epoch: 5 });
    expect(await store.commit(5, [shop])).toMatchObject({ kind: "ok" });
    await store.close();
  });

  test(`${name}: a batch is taken whole or not at all`, async () => {
    const { store } = await subject.fresh();
    await store.commit(1, [shop, { kind: "revision", revision: revision(1) }]);
    const twice = await store.commit(1, [
      { kind: "host", host: host("host-1") },
      { kind: "revision", revision: revision(1, { version: "other" }) },
    ]);
    expect(twice.kind).toBe("conflict");
    const state = await store.load();
    expect(state.hosts).toEqual([]);
    expect(state.revisions).toEqual([revision(1)]);
    await store.close();
  });

  test(`${name}: a rollout is written by compare-and-set, so a late writer can't undo a newer change`, async () => {
    const { store } = await subject.fresh();
    const first = rollout();
    const second = rollout({ change: 1, stage: { kind: "preparing" } });
    const put = (of: typeof first, expect: number): Change => {
      return { kind: "rollout", rollout: of, expect, entries: [entry(of)] };
    };
    await store.commit(1, [shop, put(first, -1)]);
    expect(await store.commit(1, [put(second, 0)])).toMatchObject({ kind: "ok" });
    expect(await store.commit(1, [put(rollout({ change: 1, stage: { kind: "promoting" } }), 0)])).toMatchObject({
      kind: "conflict",
    });
    expect((await store.load()).rollouts).toEqual([second]);
    expect((await store.journal(first.id)).map((e) => e.change)).toEqual([0, 1]);
    await store.close();
  });

  test(`${name}: a rollout's hosts are there as last committed, whichever changed, came, went or were taken back`, async () => {
    const { store, reopen } = await subject.fresh();
    let open = store;
    let now = rollout({ hosts: [track("a"), track("b"), track("c")] });
    await open.commit(1, [shop, { kind: "rollout", rollout: now, expect: -1, entries: [] }]);
    const put = async (hosts: readonly HostTrack[], spoilt = false): Promise<void> => {
      const next = { ...now, hosts, change: now.change + 1 };
      const change: Change = { kind: "rollout", rollout: next, expect: now.change, entries: [] };
      // Refused after it was written: the whole batch is taken back, and so is what is known of the rows.
      const late: Change = { kind: "rollout", rollout: now, expect: 99, entries: [] };
      const answer = await open.commit(1, spoilt ? [change, late] : [change]);
      expect(answer.kind).toBe(spoilt ? "conflict" : "ok");
      if (!spoilt) now = next;
      expect((await open.load()).rollouts).toEqual([now]);
    };
    const [a, b, c] = now.hosts as [HostTrack, HostTrack, HostTrack];
    const moved = { ...b, stage: "starting" } as const;
    await put([a, moved, c], true);
    await put([a, moved, c]);
    await put([a, moved, c, track("d")]);
    await put([moved, a], true);
    await put([moved, a]);
    await put([moved, { ...a, waitingFor: "to report" }]);
    await open.close();
    open = await reopen();
    expect((await open.load()).rollouts).toEqual([now]);
    await put([now.hosts[0]!, { ...a, stage: "done" }]);
    await put([]);
    await open.close();
  });

  test(`${name}: events are read from a point on, by service, the newest so many, in order`, async () => {
    const { store } = await subject.fresh();
    await store.commit(1, [event("a"), event("b", "other"), event("c"), event("d")]);
    const messages = async (query: Parameters<Store["events"]>[0]): Promise<string[]> =>
      (await store.events(query)).map((e) => e.message);
    expect(await messages({ afterSeq: 0, service: "", limit: 100 })).toEqual(["a", "b", "c", "d"]);
    expect(await messages({ afterSeq: 0, service: "shop", limit: 2 })).toEqual(["c", "d"]);
    expect(await messages({ afterSeq: 2, service: "", limit: 100 })).toEqual(["c", "d"]);
    await store.close();
  });

  test(`${name}: forgetting a service takes its revisions and rollouts with it, and no one else's`, async () => {
    const { store } = await subject.fresh();
    const other = rollout({ id: "other-r1-1", service: "other" });
    await store.commit(1, [
      shop,
      { kind: "service", service: { name: "other", stable: 0, previous: 0, newest: 1 } },
      { kind: "revision", revision: revision(1) },
      { kind: "revision", revision: revision(1, { service: "other" }) },
      { kind: "rollout", rollout: rollout(), expect: -1, entries: [entry(rollout())] },
      { kind: "rollout", rollout: other, expect: -1, entries: [entry(other)] },
    ]);
    await store.commit(1, [{ kind: "forget-service", service: "shop" }]);
    const state = await store.load();
    expect(state.services.map((s) => s.name)).toEqual(["other"]);
    expect(state.revisions.map((r) => r.service)).toEqual(["other"]);
    expect(state.rollouts).toEqual([other]);
    expect(await store.journal(rollout().id)).toEqual([]);
    await store.close();
  });

  test(`${name}: old rollouts of a service go, a running one never`, async () => {
    const { store } = await subject.fresh();
    await store.commit(1, [shop]);
    const id = (n: number): string => `shop-r1-${n}`;
    const running = rollout({ id: id(0), startedAtMs: 1 });
    await store.commit(1, [{ kind: "rollout", rollout: running, expect: -1, entries: [] }]);
    for (let n = 1; n <= 105; n++) {
      const ended = rollout({ id: id(n), startedAtMs: n, endedAtMs: n + 1 });
      await store.commit(1, [{ kind: "rollout", rollout: ended, expect: -1, entries: [] }]);
    }
    const kept = (await store.load()).rollouts.map((r) => r.id);
    expect(kept).toHaveLength(101);
    expect(kept[0]).toBe(id(0));
    expect(kept.at(-1)).toBe(id(105));
    await store.close();
  });
}
