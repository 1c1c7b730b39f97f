/** Three servers, of which some are lost while commits go on. Their elections take seconds, on a busy machine tens of them. */
import { expect, test } from "vitest";
import type { NatsConnection } from "nats";
import type { RolloutLedger } from "../../../control/ledger/types.ts";
import { recordKey } from "../../../control/store/nats/keys.ts";
import type { Change, StoredState } from "../../../control/store/store.ts";
import { StoreUnsure } from "../../../control/store/store.ts";
import type { NatsLink } from "../../../proto/contract/nats-link.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import type { NatsServers } from "../../support/nats.ts";
import { startNats } from "../../support/nats.ts";
import { until } from "../../support/processes.ts";
import { host, revision, rollout } from "../../support/samples.ts";
import { listen } from "../../support/store-contract.ts";
import { altered, consuming, open, reading, storeOn } from "./kit.ts";

const told = (message: string): Change => ({
  kind: "event",
  event: { atMs: 1, kind: "test", service: "", rollout: "", host: "", actor: "", message },
});
const PATIENCE_MS = 120_000;
const STREAM = "KV_baton_baton_store_head";

test(
  "the server that leads the bucket is killed during commits: none that was told is lost, none is there twice",
  { timeout: PATIENCE_MS },
  async () => {
    await using nats = await startNats({ servers: 3 });
    const [store, reader] = [await open(nats, "baton"), await open(nats, "baton")];
    await store.raiseEpoch(1);
    await store.load();
    const heard = listen(reader);
    await reader.load();
    const [committed, unsure]: [string[], string[]] = [[], []];
    let n = 0;
    const commits = async (count: number): Promise<void> => {
      for (const until = committed.length + count; committed.length < until;) {
        const message = `event ${String(++n)}`;
        try {
          expect((await store.commit(1, [told(message)])).kind).toBe("ok");
          committed.push(message);
        } catch (error) {
          if (error instanceof StoreUnsure) unsure.push(message);
          await store.load().catch(() => undefined);
        }
      }
    };
    await commits(20);
    const leader = await nats.leaderOf(STREAM);
    const killed = new AbortController();
    const going = (async () => {
      while (!killed.signal.aborted) await commits(1);
      await commits(20);
    })();
    await until("commits go on", () => committed.length > 30, PATIENCE_MS);
    await leader.kill();
    killed.abort();
    await going;
    await leader.restart();
    await commits(10);

    const state = await open(nats, "baton");
    const stored = (await state.events({ afterSeq: 0, service: "", limit: 1_000 })).map(({ message }) => message);
    expect(stored.filter((message) => !unsure.includes(message))).toEqual(committed);
    expect(new Set(stored).size).toBe(stored.length);
    // The follower heard them all, or was told that it did not.
    await until(
      "the follower is up to date",
      async () => {
        if (heard.gaps.length > 0) await reader.load();
        const known = (await reader.events({ afterSeq: 0, service: "", limit: 1_000 })).map(({ message }) => message);
        return known.length === stored.length && known.every((message, i) => message === stored[i]);
      },
      PATIENCE_MS,
    );
    for (const one of [store, reader, state]) await one.close();
  },
);

test(
  "without a majority commits reject within a bounded time, and go in again once it is back",
  { timeout: PATIENCE_MS },
  async () => {
    await using nats = await startNats({ servers: 3 });
    const store = await open(nats, "baton");
    await store.raiseEpoch(1);
    await store.load();
    await store.commit(1, [told("before")]);
    const [first, second] = nats.servers;
    await Promise.all([first!.kill(), second!.kill()]);
    const failed = await store.commit(1, [told("during")]).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(Error);
    expect((failed as Error).message).toMatch(/most of its servers must run|is tried again|does not answer|connection/);
    await Promise.all([first!.restart(), second!.restart()]);
    await until(
      "it can be loaded",
      () =>
        store.load().then(
          () => true,
          () => false,
        ),
      PATIENCE_MS,
    );
    await until(
      "a commit goes in",
      () =>
        store.commit(1, [told("after")]).then(
          () => true,
          () => false,
        ),
      PATIENCE_MS,
    );
    const stored = (await store.events({ afterSeq: 0, service: "", limit: 9 })).map(({ message }) => message);
    expect(stored.filter((message) => message !== "during")).toEqual(["before", "after"]);
    await store.close();
  },
);

const ledger: RolloutLedger = {
  ...{ rollout: rollout().id, service: "shop", baseline: {}, end: null },
  ...{ unexplained: 0, pending: [], evidence: [], notes: [] },
};
const RECORDS = "KV_baton_baton_store";
const subject = (...names: Parameters<typeof recordKey>): string => `$KV.baton_baton_store.${recordKey(...names)}`;
const V1 = subject("revision", "shop", 1);
const SHOP: readonly Change[] = [
  { kind: "service", service: { name: "shop", stable: 1, previous: 0, newest: 1 } },
  { kind: "revision", revision: revision(1) },
];

/** A store with all of these batches, whose records are written. Closed; answers what it held. */
async function settled(nats: NatsServers, ...batches: readonly (readonly Change[])[]): Promise<StoredState> {
  const store = await open(nats, "baton");
  await store.raiseEpoch(1);
  await store.load();
  for (const batch of batches) await store.commit(1, batch);
  await store.commit(1, [told("settles what was before")]);
  const held = await store.load();
  await store.close();
  return held;
}

/** As servers look of which the one that leads the records has lost one (nats-server 2.9.10 after a full disk, seen). */
async function losing(link: NatsLink, record: string): Promise<NatsLink> {
  const { connection } = link;
  let moved = false;
  const lost = (): boolean => !moved;
  const request: NatsConnection["request"] = async (subject, ...rest) => {
    const answer = await connection.request(subject, ...rest);
    moved ||= subject === `$JS.API.STREAM.LEADER.STEPDOWN.${RECORDS}`;
    return answer;
  };
  const manager = await connection.jetstreamManager();
  const info: typeof manager.streams.info = async (name, options) => {
    const said = await manager.streams.info(name, options);
    const { [record]: _, ...others } = said.state.subjects ?? {};
    return lost() ? { ...said, state: { ...said.state, subjects: others } } : said;
  };
  const jetstreamManager = () => Promise.resolve(altered(manager, { streams: altered(manager.streams, { info }) }));
  const heard = reading(link, (message) => (lost() && message.subject === record ? null : message));
  return altered(heard, { connection: altered(heard.connection, { request, jetstreamManager }) });
}

/** As nats-server 2.9.10 counts when a record is written while the server with the consumer lags (seen on a busy machine). */
const counting = (link: NatsLink): NatsLink =>
  reading(link, (message) => altered(message, { info: altered(message.info, { pending: message.info.pending + 1 }) }));

test("a pass comes to its end though servers say that one more record is pending", async () => {
  await using nats = await startNats();
  await settled(nats, SHOP);
  const store = await storeOn(counting(await nats.link()), "baton");
  expect((await store.load()).revisions).toEqual([revision(1)]);
  await store.close();
});

test("a consumer that servers do not let begin is made again", async () => {
  await using nats = await startNats();
  await settled(nats, SHOP);
  let begun = 0;
  const link = consuming(
    await nats.link(),
    (real) => (how) => (++begun === 1 ? new Promise(() => undefined) : real(how)),
  );
  const store = await storeOn(link, "baton");
  expect((await store.load()).revisions).toEqual([revision(1)]);
  expect(begun).toBe(2);
  await store.close();
});

const COUNTS = { role: "host", boot: "b", incidentSeq: 0, services: {} } as const;

test.each([
  ["a revision", V1],
  ["a host", subject("host", "a")],
  ["a service", subject("service", "shop")],
  ["a rollout", subject("rollout", "shop-r1-000001")],
])(
  "%s that the server that leads has lost is had from another one, which leads from then on, and all is written once more",
  { timeout: PATIENCE_MS },
  async (_, record) => {
    await using nats = await startNats({ servers: 3 });
    const whole = await settled(
      nats,
      [
        ...SHOP,
        { kind: "host", host: host("a") },
        { kind: "counts", counts: { host: "a", ...COUNTS } },
        { kind: "rollout", rollout: rollout(), expect: -1, entries: [] },
        { kind: "ledger", ledger },
      ],
      // Not the last record of all.
      [{ kind: "host", host: host("b") }],
    );
    const link = await nats.link();
    const manager = await link.connection.jetstreamManager({ timeout: PATIENCE_MS });
    const leader = async (): Promise<string> => (await manager.streams.info(RECORDS)).cluster?.leader ?? "";
    const oldest = async (): Promise<number> => (await manager.streams.info(RECORDS)).state.first_seq;
    const newest = async (): Promise<number> => (await manager.streams.info(RECORDS)).state.last_seq;
    const [first, written] = [await leader(), await newest()];
    const store = await storeOn(await losing(link, record), "baton");
    await store.raiseEpoch(2);
    expect(await store.load()).toEqual({ ...whole, epoch: 2 });
    expect(await leader()).not.toBe(first);
    expect(await store.commit(2, [told("settles what was found")])).toMatchObject({ kind: "ok" });
    await store.close();
    expect(await oldest()).toBeGreaterThan(written);
  },
);

test("what no server has any more is told, and is no reason to lead nobody", { timeout: PATIENCE_MS }, async () => {
  await using nats = await startNats({ servers: 3 });
  await settled(nats, SHOP);
  const link = await nats.link();
  const manager = await link.connection.jetstreamManager({ timeout: PATIENCE_MS });
  const { seq } = await manager.streams.getMessage(RECORDS, { last_by_subj: V1 });
  await manager.streams.deleteMessage(RECORDS, seq);
  const said: string[] = [];
  const error = (_: unknown, message: string): void => void said.push(message);
  const store = await storeOn(link, "baton", { ...silentLog, error });
  await store.raiseEpoch(2);
  await expect(store.load()).rejects.toThrow(
    "baton_baton_store has lost records; another controller may remember them",
  );
  expect(await store.load()).toMatchObject({ services: [{ name: "shop", stable: 1 }], revisions: [] });
  expect(new Set(said)).toEqual(new Set(["no server of baton_baton_store has these records any more"]));
  expect(await store.commit(2, [{ kind: "revision", revision: revision(1) }])).toMatchObject({ kind: "ok" });
  expect((await store.load()).revisions).toEqual([revision(1)]);
  await store.close();
});
