/**
 * What every engine behind the Store port must do: call `storeContract` from a test file with a way to open the same store
 * again; and `severalWriters` where several may have it open at once.
 */
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import type { Batch, Change, NewEvent, Store } from "../../control/store/store.ts";
import type { HostTrack, Rollout } from "../../control/model/rollout.ts";
import { until } from "./processes.ts";
import { entry, host, revision, rollout, track } from "./samples.ts";

export interface Subject {
  /** A store on nothing, and a way to see what a new process would: closes nothing by itself. */
  fresh(): Promise<{ readonly store: Store; readonly reopen: () => Promise<Store> }>;
}

const shop: Change = { kind: "service", service: { name: "shop", stable: 0, previous: 0, newest: 1 } };
/** What the rollouts of these tests go to: a store without it is one that has lost something. */
const v1: Change = { kind: "revision", revision: revision(1) };
const event = (message: string, service = "shop"): Change => {
  const base: NewEvent = { atMs: 1, kind: "test", service, rollout: "", host: "", actor: "ann", message };
  return { kind: "event", event: base };
};

/** The records of hosts that a rollout moves: as with `v1`, a store without them has lost something. */
const hostsOf = ({ hosts }: Rollout): readonly Change[] =>
  hosts.map((one) => ({ kind: "host", host: host(one.host) }) as const);

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
    await store.commit(1, [shop, v1, put(first, -1)]);
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
    const later: Change = { kind: "host", host: host("d") };
    await open.commit(1, [
      ...hostsOf(now),
      later,
      shop,
      v1,
      { kind: "rollout", rollout: now, expect: -1, entries: [] },
    ]);
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
    await store.commit(1, [shop, v1]);
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

  test(`${name}: a batch of several MiB that nothing compresses is there whole, and can be changed again`, async () => {
    const { store, reopen } = await subject.fresh();
    const noise = (bytes: number): string => randomBytes(bytes).toString("base64");
    const ledger = (evidence: string): Change => ({
      kind: "ledger",
      ledger: {
        ...{
          rollout: rollout().id,
          service: "shop",
          baseline: {},
          end: null,
          unexplained: 0,
          pending: [],
          evidence: [],
        },
        notes: [{ atMs: 1, host: "h", cause: "connect_failed", count: 1, explanation: evidence }],
      },
    });
    const explanations = async (of: Store): Promise<(string | undefined)[]> =>
      (await of.load()).ledgers.map(({ notes }) => notes[0]?.explanation);
    const [long, longer] = [noise(2 << 20), noise(3 << 20)];
    await store.commit(1, [shop, v1, { kind: "rollout", rollout: rollout(), expect: -1, entries: [] }, ledger(long)]);
    expect(await explanations(store)).toEqual([long]);
    await store.commit(1, [ledger(longer)]);
    await store.close();
    const again = await reopen();
    expect(await explanations(again)).toEqual([longer]);
    await again.commit(1, [ledger("short")]);
    await again.commit(1, [event("after")]);
    expect(await explanations(again)).toEqual(["short"]);
    await again.close();
  });

  test(`${name}: a journal is read whole and in order, however long it is, while it grows and after opening again`, async () => {
    const { store, reopen } = await subject.fresh();
    let open = store;
    let now = rollout({ id: "shop-r1 ö.*>/=" });
    const said: string[] = [];
    await open.commit(1, [shop, v1, { kind: "rollout", rollout: now, expect: -1, entries: [] }]);
    for (const count of [1, 62, 1, 1, 200, 0, 3]) {
      const entries = Array.from({ length: count }, (_, i) => {
        return entry(now, { change: now.change + 1 + i, message: `entry ${said.length + i}` });
      });
      said.push(...entries.map(({ message }) => message));
      const next = { ...now, change: now.change + Math.max(1, count) };
      await open.commit(1, [{ kind: "rollout", rollout: next, expect: now.change, entries }]);
      now = next;
      expect((await open.journal(now.id)).map(({ message }) => message)).toEqual(said);
      await open.close();
      open = await reopen();
      expect((await open.journal(now.id)).map(({ message }) => message)).toEqual(said);
    }
    expect(await open.journal("none")).toEqual([]);
    await open.close();
  });

  test(`${name}: the newest events are kept, and no number is used again`, async () => {
    const { store, reopen } = await subject.fresh();
    const many = (from: number, count: number): Change[] =>
      Array.from({ length: count }, (_, i) => event(`event ${from + i}`));
    for (let from = 1; from <= 10_500; from += 1_500) await store.commit(1, many(from, 1_500));
    await store.close();
    const again = await reopen();
    expect(await again.commit(1, many(10_501, 1))).toMatchObject({ kind: "ok", events: [{ seq: 10_501 }] });
    const kept = await again.events({ afterSeq: 0, service: "", limit: 20_000 });
    expect(kept).toHaveLength(10_000);
    expect([kept[0]?.message, kept.at(-1)?.message]).toEqual(["event 502", "event 10501"]);
    expect(kept.every(({ seq }, i) => seq === 502 + i)).toBe(true);
    await again.close();
  });

  test(`${name}: a service that is forgotten and stored again has nothing of what it had`, async () => {
    const { store, reopen } = await subject.fresh();
    const began: Change = { kind: "rollout", rollout: rollout(), expect: -1, entries: [entry(rollout())] };
    await store.commit(1, [shop, { kind: "revision", revision: revision(1) }, began]);
    const [v2, second] = [revision(1, { version: "v2" }), rollout({ id: "shop-r1-second", hosts: [track("a")] })];
    await store.commit(1, [
      { kind: "forget-service", service: "shop" },
      ...hostsOf(second),
      shop,
      { kind: "revision", revision: v2 },
      { kind: "rollout", rollout: second, expect: -1, entries: [entry(second)] },
    ]);
    await store.close();
    const again = await reopen();
    const state = await again.load();
    expect([state.revisions, state.rollouts]).toEqual([[v2], [second]]);
    expect(await again.journal(rollout().id)).toEqual([]);
    expect(await again.journal(second.id)).toEqual([entry(second)]);
    await again.close();
  });

  test(`${name}: what names something that is not stored is refused, and nothing of its batch is kept`, async () => {
    const { store } = await subject.fresh();
    const page: Change = { kind: "host", host: host("host-1") };
    await expect(store.commit(1, [page, { kind: "revision", revision: revision(1) }])).rejects.toThrow();
    expect((await store.load()).hosts).toEqual([]);
    await store.close();
  });
}

/** A subject that several may have open at once, each on a connection of its own. */
export interface SharedSubject {
  fresh(): Promise<() => Promise<Store>>;
}

/** What a follower was told. */
export function listen(store: Store): {
  readonly batches: Batch[];
  readonly gaps: string[];
  readonly stop: () => void;
} {
  const heard = { batches: [] as Batch[], gaps: [] as string[] };
  const stop = store.follow({
    committed: (batch) => void heard.batches.push(batch),
    gap: (why) => void heard.gaps.push(why),
  });
  return { ...heard, stop };
}

export function severalWriters(name: string, subject: SharedSubject): void {
  const hostChange = (of: string, software = "test"): Change => ({ kind: "host", host: host(of, { software }) });

  test(`${name}: once another has raised the epoch, the writer before changes nothing, though it was not told`, async () => {
    const open = await subject.fresh();
    const [first, second] = [await open(), await open()];
    expect(await first.raiseEpoch(1)).toEqual({ kind: "ok" });
    await first.load();
    expect(await first.commit(1, [hostChange("a")])).toMatchObject({ kind: "ok" });
    expect(await second.raiseEpoch(2)).toEqual({ kind: "ok" });
    expect(await first.commit(1, [hostChange("b")])).toEqual({ kind: "fenced", epoch: 2 });
    expect((await second.load()).hosts.map((h) => h.name)).toEqual(["a"]);
    expect(await second.commit(2, [hostChange("c")])).toMatchObject({ kind: "ok" });
    expect(await first.commit(1, [hostChange("b")])).toEqual({ kind: "fenced", epoch: 2 });
    expect((await first.load()).hosts.map((h) => h.name)).toEqual(["a", "c"]);
    for (const store of [first, second]) await store.close();
  });

  test(`${name}: of many that raise the epoch to one number, one does`, async () => {
    const open = await subject.fresh();
    const stores = await Promise.all([open(), open(), open(), open()]);
    for (let to = 1; to <= 5; to++) {
      const answers = await Promise.all(stores.map((store) => store.raiseEpoch(to)));
      expect(answers.filter(({ kind }) => kind === "ok")).toHaveLength(1);
      expect(answers.filter(({ kind }) => kind === "taken")).toEqual(
        Array.from({ length: 3 }, () => ({ kind: "taken", epoch: to })),
      );
    }
    await Promise.all(stores.map((store) => store.close()));
  });

  test(`${name}: a follower is told every batch of the others', whole, in order, once, and none of its own`, async () => {
    const open = await subject.fresh();
    const [writer, reader] = [await open(), await open()];
    await writer.raiseEpoch(1);
    await writer.load();
    await writer.commit(1, [shop, v1, hostChange("early"), hostChange("a"), hostChange("b")]);
    const heard = listen(reader);
    await reader.load();
    const at = reader.position;
    const began = rollout({ hosts: [track("a"), track("b")] });
    const moved = { ...began, change: 1, hosts: [began.hosts[0]!, { ...began.hosts[1]!, stage: "starting" as const }] };
    await writer.commit(1, [{ kind: "rollout", rollout: began, expect: -1, entries: [entry(began)] }, event("one")]);
    await writer.commit(1, [event("two"), { kind: "rollout", rollout: moved, expect: 0, entries: [] }, event("three")]);
    for (let n = 0; n < 50; n++) await writer.commit(1, [hostChange("h", String(n))]);
    await writer.commit(1, [hostChange("huge", randomBytes(1_500_000).toString("base64"))]);
    await until("all is heard", () => heard.batches.length === 53);

    expect(heard.batches.map(({ seq }) => seq)).toEqual(Array.from({ length: 53 }, (_, i) => at + 1 + i));
    expect(heard.batches[0]).toMatchObject({ epoch: 1, events: [{ message: "one" }] });
    expect(heard.batches[0]?.changes[0]).toEqual({
      kind: "rollout",
      rollout: began,
      expect: -1,
      entries: [entry(began)],
    });
    expect(heard.batches[1]?.events.map(({ message }) => message)).toEqual(["two", "three"]);
    expect(heard.batches[1]?.changes).toEqual([
      event("two"),
      { kind: "rollout", rollout: moved, expect: 0, entries: [] },
      event("three"),
    ]);
    expect(heard.batches.slice(2, 52).map(({ changes }) => changes)).toEqual(
      Array.from({ length: 50 }, (_, n) => [hostChange("h", String(n))]),
    );
    expect((await reader.events({ afterSeq: 0, service: "", limit: 10 })).map(({ message }) => message)).toEqual([
      "one",
      "two",
      "three",
    ]);
    expect(await reader.journal(began.id)).toEqual([entry(began)]);

    // It takes over: what it knows from hearing is what it writes on.
    expect(await reader.raiseEpoch(2)).toEqual({ kind: "ok" });
    expect(
      await reader.commit(2, [{ kind: "rollout", rollout: { ...moved, change: 2 }, expect: 1, entries: [] }]),
    ).toMatchObject({ kind: "ok" });
    expect(heard.batches).toHaveLength(53);
    expect(heard.gaps).toEqual([]);
    const third = await open();
    expect((await third.load()).rollouts).toEqual([{ ...moved, change: 2 }]);
    expect((await third.load()).hosts).toHaveLength(5);
    for (const store of [writer, reader, third]) await store.close();
  });

  test(`${name}: what one loads while another commits all the while is one moment's state, and goes on from there`, async () => {
    const open = await subject.fresh();
    const [writer, reader] = [await open(), await open()];
    await writer.raiseEpoch(1);
    await writer.load();
    let now = rollout({ hosts: Array.from({ length: 200 }, (_, i) => track(`host-${i}`)) });
    await writer.commit(1, [...hostsOf(now), shop, v1, { kind: "rollout", rollout: now, expect: -1, entries: [] }]);
    const stop = new AbortController();
    const writing = (async () => {
      for (let n = 1; !stop.signal.aborted; n++) {
        // Each change is told on two hosts and in the service: a mixture of two moments shows.
        const hosts = now.hosts.map((t, i) => (i === n % 200 || i === (n + 100) % 200 ? { ...t, sinceMs: n } : t));
        const next = { ...now, hosts, change: n };
        const service: Change = { kind: "service", service: { name: "shop", stable: 0, previous: 0, newest: n } };
        const answer = await writer.commit(1, [
          service,
          { kind: "rollout", rollout: next, expect: n - 1, entries: [] },
        ]);
        expect(answer.kind).toBe("ok");
        now = next;
      }
    })();
    const heard = listen(reader);
    for (let n = 0; n < 10; n++) {
      heard.batches.length = 0;
      const state = await reader.load();
      const change = state.rollouts[0]?.change ?? -1;
      expect(state.services[0]?.newest).toBe(change === 0 ? 1 : change);
      expect(Math.max(...(state.rollouts[0]?.hosts ?? []).map(({ sinceMs }) => sinceMs))).toBe(Math.max(1, change));
      await until("it is told what comes next", () => heard.batches.length > 0);
      expect(heard.batches[0]?.changes[1]).toMatchObject({ kind: "rollout", expect: change });
    }
    stop.abort();
    await writing;
    expect(heard.gaps).toEqual([]);
    for (const store of [writer, reader]) await store.close();
  });
}
