/** Records that no server has any more, and what a controller that knew them makes of it (control/store/nats/memory.ts). */
import type { JetStreamManager } from "nats";
import { expect, test } from "vitest";
import { recordKey } from "../../../control/store/nats/keys.ts";
import { Memory } from "../../../control/store/nats/memory.ts";
import type { Change } from "../../../control/store/store.ts";
import type { NatsLink } from "../../../proto/contract/nats-link.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import type { NatsServers } from "../../support/nats.ts";
import { startNats } from "../../support/nats.ts";
import { until } from "../../support/processes.ts";
import { entry, host, revision, rollout, track } from "../../support/samples.ts";
import { FaultyLink, open, storeOn } from "./kit.ts";

const RECORDS = "KV_baton_baton_store";
const on = (name: string): Change => ({ kind: "host", host: host(name) });
const counts = (name: string): Change => ({
  kind: "counts",
  counts: { host: name, role: "host", boot: "b", incidentSeq: 0, services: {} },
});
const event = (message: string): Change => ({
  kind: "event",
  event: { atMs: 1, kind: "told", service: "", rollout: "", host: "", actor: "", message },
});
const began = rollout({ hosts: [track("a"), track("b")] });
const ALL: readonly Change[] = [
  { kind: "service", service: { name: "shop", stable: 1, previous: 0, newest: 1 } },
  { kind: "revision", revision: revision(1) },
  ...["a", "b"].flatMap((name) => [on(name), counts(name)]),
  { kind: "rollout", rollout: began, expect: -1, entries: [entry(began)] },
];

/** A controller that has led, and its memory; `said`: what it tells of records, and how; `told`: all that it tells. */
async function led(nats: NatsServers) {
  const [link, memory, said] = [await nats.link(), new Memory(), [] as (readonly [string, readonly string[]])[]];
  const told: string[] = [];
  const say = (level: string) => (fields: unknown, message: string) => {
    told.push(message);
    const { records } = fields as { readonly records?: readonly string[] };
    if (records !== undefined) said.push([level, records]);
  };
  const log = { ...silentLog, warn: say("warn"), error: say("error") };
  const again = (through: NatsLink = link) => storeOn(through, "baton", log, memory);
  const store = await again();
  await store.raiseEpoch(1);
  await store.load();
  await store.commit(1, ALL);
  await store.commit(1, [on("settles")]);
  const whole = await store.load();
  await store.close();
  const manager = await link.connection.jetstreamManager();
  return { said, told, again, whole, manager, link };
}

/** Another controller leads, and commits these one by one. */
async function meanwhile(nats: NatsServers, ...changes: readonly Change[]): Promise<void> {
  const other = await open(nats, "baton");
  await other.raiseEpoch(2);
  await other.load();
  for (const change of changes) await other.commit(2, [change]);
  await other.close();
}

async function lose(manager: JetStreamManager, ...records: readonly string[]): Promise<void> {
  for (const record of records) {
    const { seq } = await manager.streams.getMessage(RECORDS, { last_by_subj: `$KV.baton_baton_store.${record}` });
    expect(await manager.streams.deleteMessage(RECORDS, seq)).toBe(true);
  }
}

const EACH = {
  "a service": [recordKey("service", "shop")],
  "a revision": [recordKey("revision", "shop", 1)],
  hosts: [recordKey("host", "a"), recordKey("host", "b")],
  counts: [recordKey("counts", "b")],
  "a rollout": [recordKey("rollout", began.id)],
  "the hosts of a rollout": [recordKey("tracks", began.id, 0)],
};
// A rollout has its hosts with it.
const ALL_RECORDS = Object.entries(EACH).flatMap(([what, records]) =>
  what === "the hosts of a rollout" ? [] : records,
);

test.each([...Object.entries(EACH), ["all of them", ALL_RECORDS] as const])(
  "%s: had from the memory of who led before, and written again",
  async (_, records) => {
    await using nats = await startNats();
    const { again, whole, manager, said } = await led(nats);
    await lose(manager, ...records);
    const store = await again();
    await store.raiseEpoch(2);
    expect(await store.load()).toEqual({ ...whole, epoch: 2 });
    expect(said).toEqual([["warn", expect.arrayContaining([...records])]]);
    expect(said[0]?.[1]).toHaveLength(records.length);
    expect(await store.commit(2, [on("settles what was remembered")])).toMatchObject({ kind: "ok" });
    expect(await store.commit(2, [on("settles")])).toMatchObject({ kind: "ok" });
    await store.close();
    const other = await open(nats, "baton");
    const stored = await other.load();
    expect(stored.hosts.map(({ name }) => name)).toContain("settles what was remembered");
    expect({ ...stored, hosts: [] }).toEqual({ ...whole, epoch: 2, hosts: [] });
    await other.close();
  },
);

test("records that end before the head says they do, for good, are had from memory, and whole from then on", async () => {
  await using nats = await startNats();
  const { again, whole, manager, said, link } = await led(nats);
  const head = "$KV.baton_baton_store_head.head";
  const { data } = await manager.streams.getMessage("KV_baton_baton_store_head", { last_by_subj: head });
  // As servers look of which the one that leads has lost the newest (nats-server 2.9.10, seen).
  const ahead = Buffer.from(data)
    .toString("utf8")
    .replace(/"records":\d+/, '"records":1000000');
  await link.connection.jetstream().publish(head, ahead);
  await lose(manager, recordKey("revision", "shop", 1));
  const store = await again();
  await store.raiseEpoch(2);
  expect(await store.load()).toEqual({ ...whole, epoch: 2 });
  expect(said).toEqual([["warn", [recordKey("revision", "shop", 1)]]]);
  for (const name of ["settles what was remembered", "settles"]) await store.commit(2, [on(name)]);
  await store.close();
  const other = await open(nats, "baton");
  expect((await other.load()).revisions).toEqual([revision(1)]);
  await other.close();
});

test("an epoch that servers have forgotten is not raised to again", async () => {
  await using nats = await startNats();
  const { again, manager, link } = await led(nats);
  const head = "$KV.baton_baton_store_head.head";
  const before = await manager.streams.getMessage("KV_baton_baton_store_head", { last_by_subj: head });
  const store = await again();
  expect(await store.raiseEpoch(7)).toEqual({ kind: "ok" });
  await store.close();
  // As servers look that have lost it (nats-server 2.9.10 after a full disk, seen).
  const forget = () => link.connection.jetstream().publish(head, before.data);
  await forget();
  const next = await again();
  expect(await next.raiseEpoch(2)).toEqual({ kind: "taken", epoch: 7 });
  expect(await next.raiseEpoch(8)).toEqual({ kind: "ok" });
  await next.close();
  // Nor one that it has only loaded under.
  const other = await open(nats, "baton");
  await other.raiseEpoch(20);
  await other.close();
  const follower = await again();
  await follower.load();
  await forget();
  expect(await follower.raiseEpoch(9)).toEqual({ kind: "taken", epoch: 20 });
  await follower.close();
});

test("what a commit has not written yet is in the head, and not taken to be lost", async () => {
  await using nats = await startNats();
  const { again, link, said } = await led(nats);
  const faulty = new FaultyLink(link);
  const writer = await again(faulty);
  await writer.load();
  faulty.passes = (key) => key !== recordKey("host", "late");
  await writer.commit(1, [on("late")]);
  await until("its record is held back", () => faulty.held.length > 0);
  const store = await again();
  expect((await store.load()).hosts.map(({ name }) => name)).toContain("late");
  expect(said).toEqual([]);
  for (const go of faulty.release) go();
  await writer.close();
  await store.close();
});

test("what another took away meanwhile is not brought back", async () => {
  await using nats = await startNats();
  const { again, manager, said } = await led(nats);
  await meanwhile(nats, { kind: "forget-service", service: "shop" });
  await lose(manager, recordKey("host", "b"));
  const store = await again();
  await store.raiseEpoch(3);
  expect(await store.load()).toMatchObject({ services: [], revisions: [], rollouts: [] });
  expect(said).toEqual([["warn", [recordKey("host", "b")]]]);
  await store.close();
});

test("epochs that were raised in vain since do not make it forget", async () => {
  await using nats = await startNats();
  const { again, whole, manager } = await led(nats);
  const other = await open(nats, "baton");
  for (const epoch of [2, 3, 4]) await other.raiseEpoch(epoch);
  await other.close();
  await lose(manager, recordKey("service", "shop"));
  const store = await again();
  await store.raiseEpoch(5);
  expect(await store.load()).toEqual({ ...whole, epoch: 5 });
  await store.close();
});

test("where others have committed since, only what never changes is had from memory, and hosts", async () => {
  await using nats = await startNats();
  const { again, manager, said } = await led(nats);
  await meanwhile(nats, on("c"), on("d"), on("e"));
  const [service, v1, b] = [recordKey("service", "shop"), recordKey("revision", "shop", 1), recordKey("host", "b")];
  await lose(manager, service, v1, b);
  const store = await again();
  await store.raiseEpoch(3);
  await expect(store.load()).rejects.toThrow("has lost records; another controller may remember them, and lead");
  const { services, revisions, hosts } = await store.load();
  expect(services).toEqual([]);
  expect(revisions).toEqual([revision(1)]);
  expect(hosts.map(({ name }) => name)).toEqual(["a", "b", "c", "d", "e", "settles"]);
  expect(said.slice(0, 2)).toEqual([
    ["warn", [v1, b]],
    ["error", [service]],
  ]);
  await store.close();
});

test("hosts of a rollout that nobody has any more: it is gone, and somebody can lead", async () => {
  await using nats = await startNats();
  const { whole, manager } = await led(nats);
  await lose(manager, recordKey("tracks", began.id, 0));
  const store = await open(nats, "baton");
  await store.raiseEpoch(2);
  await expect(store.load()).rejects.toThrow("has lost records; another controller may remember them, and lead");
  expect(await store.load()).toEqual({ ...whole, epoch: 2, rollouts: [], ledgers: [] });
  expect(await store.commit(2, [on("settles")])).toMatchObject({ kind: "ok" });
  expect(await store.commit(2, [on("settles")])).toMatchObject({ kind: "ok" });
  await store.close();
  const other = await open(nats, "baton");
  expect((await other.load()).rollouts).toEqual([]);
  await other.close();
});

test("of buckets that were deleted and made anew nothing is remembered", async () => {
  await using nats = await startNats();
  const { again, manager, said } = await led(nats);
  for (const stream of [RECORDS, `${RECORDS}_head`]) await manager.streams.delete(stream);
  const store = await again();
  await store.raiseEpoch(2);
  expect(await store.load()).toMatchObject({ services: [], hosts: [], rollouts: [] });
  expect(said).toEqual([]);
  await store.close();
});

/** The servers have a head again that was there before, as after a loss of all commits since (nats-server 2.9.10, seen). */
async function goBack(manager: JetStreamManager, link: NatsLink): Promise<() => Promise<void>> {
  const head = "$KV.baton_baton_store_head.head";
  const { data } = await manager.streams.getMessage("KV_baton_baton_store_head", { last_by_subj: head });
  return async () => {
    await link.connection.jetstream().publish(head, data);
  };
}

test("commits that all servers have lost: whoever knows them leads on from them, and stores them again", async () => {
  await using nats = await startNats();
  const { again, manager, said, told, link } = await led(nats);
  const back = await goBack(manager, link);
  let store = await again();
  await store.raiseEpoch(2);
  await store.load();
  for (const name of ["c", "d", "e"]) await store.commit(2, [on(name), counts(name), event(name)]);
  const whole = await store.load();
  const events = await store.events({ afterSeq: 0, service: "", limit: 100 });
  await back();
  await lose(manager, recordKey("host", "a"), recordKey("host", "d"), recordKey("events", "0"));
  // Who leads finds another head than it has set, and loads anew.
  expect(await store.commit(2, [on("late")])).toMatchObject({ kind: "conflict" });
  await store.close();
  store = await again();
  expect(await store.raiseEpoch(2)).toEqual({ kind: "taken", epoch: 2 });
  expect(await store.raiseEpoch(3)).toEqual({ kind: "ok" });
  expect(await store.load()).toEqual({ ...whole, epoch: 3 });
  expect(said).toEqual([]);
  expect(told.at(-1)).toMatch(/have lost \d commits; this controller remembers what they led to/);
  expect(await store.commit(3, [on("f")])).toMatchObject({ kind: "ok" });
  expect(await store.commit(3, [on("settles")])).toMatchObject({ kind: "ok" });
  const after = await store.load();
  expect(after.hosts.map(({ name }) => name)).toEqual(["a", "b", "c", "d", "e", "f", "settles"]);
  await store.close();
  const other = await open(nats, "baton");
  expect(await other.load()).toEqual(after);
  expect(await other.events({ afterSeq: 0, service: "", limit: 100 })).toEqual(events);
  expect(await other.journal(began.id)).toEqual([entry(began)]);
  await other.close();
});

test("commits that all servers have lost: who follows goes on with what it knows, until another leads who does not", async () => {
  await using nats = await startNats();
  const { again, manager, link } = await led(nats);
  const back = await goBack(manager, link);
  await meanwhile(nats, on("c"), on("d"), on("e"), on("f"), on("g"), on("h"));
  const store = await again();
  const gaps: string[] = [];
  store.follow({ committed: () => undefined, gap: (why) => void gaps.push(why) });
  const whole = await store.load();
  await back();
  await new Promise((wait) => setTimeout(wait, 5_000));
  expect(gaps).toEqual([]);
  expect(await store.load()).toEqual(whole);
  const other = await open(nats, "baton");
  await other.raiseEpoch(3);
  await other.load();
  await other.commit(3, [on("i")]);
  await until("it is told", () => gaps.length > 0);
  expect(gaps).toEqual([
    expect.stringMatching(/^servers have lost commits, and another controller goes on from commit/),
  ]);
  expect((await store.load()).hosts.map(({ name }) => name)).toContain("i");
  await Promise.all([store.close(), other.close()]);
});
