/** What a writer leaves half done when it stops between its head and its records, and what it may still do when it goes on. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Change } from "../../../control/store/store.ts";
import type { NatsServers } from "../../support/nats.ts";
import { startNats } from "../../support/nats.ts";
import { until } from "../../support/processes.ts";
import { entry, host, revision, rollout } from "../../support/samples.ts";
import { listen } from "../../support/store-contract.ts";
import { FaultyLink, fleet, open, storeOn } from "./kit.ts";

let nats: NatsServers;
beforeAll(async () => {
  nats = await startNats();
});
afterAll(async () => {
  await nats[Symbol.asyncDispose]();
});

const shop = { kind: "service", service: { name: "shop", stable: 0, previous: 0, newest: 1 } } as const;
const on = (name: string, software: string): Change => ({ kind: "host", host: host(name, { software }) });

/** A writer of epoch 1 whose link can be made to fail. */
async function faulty(cluster: string) {
  const link = new FaultyLink(await nats.link());
  const store = await storeOn(link, cluster);
  await store.raiseEpoch(1);
  await store.load();
  return { link, store };
}

test("a commit of which only the head was written is there whole, for readers at once and for the next writer", async () => {
  const cluster = fleet();
  const { link, store } = await faulty(cluster);
  const [old, began] = [rollout({ id: "old" }), rollout()];
  const oldOne: Change = { kind: "rollout", rollout: old, expect: -1, entries: [entry(old)] };
  await store.commit(1, [shop, { kind: "service", service: { ...shop.service, name: "gone" } }, oldOne]);
  await store.commit(1, [on("a", "before")]);
  await store.commit(1, []);
  link.passes = (key) => key === "head";
  const committed = await store.commit(1, [
    on("a", "after"),
    on("b", "after"),
    { kind: "revision", revision: revision(1) },
    { kind: "forget-service", service: "gone" },
    { kind: "rollout", rollout: began, expect: -1, entries: [entry(began), entry(began, { change: 1 })] },
    { kind: "event", event: { atMs: 1, kind: "t", service: "", rollout: "", host: "", actor: "", message: "told" } },
  ]);
  expect(committed.kind).toBe("ok");
  await until("its records are held back", () => link.held.length >= 6);

  const next = await open(nats, cluster);
  const check = async (of: typeof next): Promise<void> => {
    const state = await of.load();
    expect(state.hosts.map(({ name, software }) => [name, software])).toEqual([
      ["a", "after"],
      ["b", "after"],
    ]);
    expect(state.services.map(({ name }) => name)).toEqual(["shop"]);
    expect([state.revisions, state.rollouts]).toEqual([[revision(1)], [old, began]]);
    expect(await of.journal(began.id)).toHaveLength(2);
    expect(await of.journal(old.id)).toEqual([entry(old)]);
    expect((await of.events({ afterSeq: 0, service: "", limit: 9 })).map(({ message }) => message)).toEqual(["told"]);
  };
  await check(next);
  expect(await next.raiseEpoch(2)).toEqual({ kind: "ok" });
  await check(next);
  // The head's place is taken: from now on the records alone hold it.
  expect(await next.commit(2, [])).toMatchObject({ kind: "ok" });
  expect(await next.commit(2, [])).toMatchObject({ kind: "ok" });
  await check(next);
  const third = await open(nats, cluster);
  await check(third);
  for (const one of [next, third]) await one.close();
});

test("a writer that was stopped in mid-commit and goes on after another took over changes nothing any more", async () => {
  const cluster = fleet();
  const { link, store } = await faulty(cluster);
  await store.commit(1, [on("a", "first"), on("b", "first"), on("c", "first")]);
  await store.commit(1, []);
  link.passes = (key) => key === "head";
  const gone: Change = { kind: "service", service: { name: "gone", stable: 0, previous: 0, newest: 0 } };
  expect((await store.commit(1, [on("a", "late"), on("b", "late"), gone])).kind).toBe("ok");
  await until("its records are held back", () => link.held.length >= 3);

  const next = await open(nats, cluster);
  await next.raiseEpoch(2);
  await next.load();
  await next.commit(2, [on("a", "newer"), { kind: "forget-service", service: "gone" }]);
  await next.commit(2, []);
  link.passes = () => true;
  for (const send of link.release.splice(0)) send();
  expect(await store.commit(1, [on("c", "late")])).toEqual({ kind: "fenced", epoch: 2 });

  const state = await (await open(nats, cluster)).load();
  expect(state.hosts.map(({ name, software }) => `${name} ${software}`)).toEqual(["a newer", "b late", "c first"]);
  expect(state.services).toEqual([]);
  // And what it did meanwhile disturbs nobody.
  for (const software of ["1", "2"]) expect(await next.commit(2, [on("b", software)])).toMatchObject({ kind: "ok" });
  for (const one of [store, next]) await one.close();
});

test("parts of a large commit whose head was never set are swept out by the next writer", async () => {
  const cluster = fleet();
  const { link, store } = await faulty(cluster);
  const large = (): Change => on("a", randomBytes(2_000_000).toString("base64"));
  link.passes = (key) => key !== "head";
  void store.commit(1, [large()]).catch(() => undefined);
  await until("its head is held back", () => link.held.includes("head"));

  const jsm = await (await nats.link()).connection.jetstreamManager();
  const parts = async (): Promise<number> => {
    const filter = { subjects_filter: `$KV.baton_${cluster}_store.part.>` };
    return Object.keys((await jsm.streams.info(`KV_baton_${cluster}_store`, filter)).state.subjects ?? {}).length;
  };
  expect(await parts()).toBeGreaterThan(1);
  const next = await open(nats, cluster);
  await next.raiseEpoch(2);
  await next.load();
  await next.commit(2, [large()]);
  await next.commit(2, []);
  await until("no part is left", async () => (await parts()) === 0);
  await next.close();
});

test("a commit that a server refused is told to no follower", async () => {
  const cluster = fleet();
  const { link, store } = await faulty(cluster);
  const reader = await open(nats, cluster);
  const heard = listen(reader);
  await reader.load();
  link.passes = (key) => key !== "head";
  const late = store.commit(1, [on("a", "late")]).catch((error: unknown) => error);
  await until("its head is held back", () => link.held.includes("head"));
  const next = await open(nats, cluster);
  await next.raiseEpoch(2);
  await next.load();
  await next.commit(2, [on("a", "newer")]);
  link.passes = () => true;
  for (const send of link.release.splice(0)) send();
  expect(await late).toEqual({ kind: "fenced", epoch: 2 });
  await next.commit(2, [on("a", "newest")]);
  await until("the others' commits are heard", () => heard.batches.length === 3);
  expect(heard.batches.map(({ epoch, changes }) => ({ epoch, changes }))).toEqual([
    { epoch: 2, changes: [] },
    { epoch: 2, changes: [on("a", "newer")] },
    { epoch: 2, changes: [on("a", "newest")] },
  ]);
  for (const one of [store, next, reader]) await one.close();
});

test("a follower whose connection was lost while others committed is told of a gap, and goes on after loading", async () => {
  await using own = await startNats();
  const cluster = fleet();
  const writer = await open(own, cluster);
  await writer.raiseEpoch(1);
  await writer.load();
  const link = await own.link();
  const reader = await storeOn(link, cluster);
  const heard = listen(reader);
  await reader.load();
  await writer.commit(1, [on("a", "1")]);
  await until("it is heard", () => heard.batches.length === 1);

  // Both come back after the restart; that one has committed before the other listens.
  await own.servers[0]!.restart();
  await until("the connections are there again", () => link.connected);
  await until("a commit goes in", () =>
    writer.commit(1, [on("a", "2")]).then(
      () => true,
      () => false,
    ),
  );
  await writer.commit(1, [on("a", "3")]);
  await until("what came after it is told, or that it was missed", async () => {
    if (heard.gaps.length === 0) return heard.batches.length >= 3;
    return (await reader.load()).hosts[0]?.software === "3";
  });
  heard.batches.length = 0;
  await writer.commit(1, [on("a", "4")]);
  await until("the next is heard", () => heard.batches.length === 1);
  for (const store of [writer, reader]) await store.close();
});

test("a head that no server repeated is found missing, and told as a gap", async () => {
  const cluster = fleet();
  const writer = await open(nats, cluster);
  await writer.raiseEpoch(1);
  await writer.load();
  const link = new FaultyLink(await nats.link());
  const reader = await storeOn(link, cluster);
  const heard = listen(reader);
  await reader.load();
  link.deaf = true;
  await writer.commit(1, [on("a", "1")]);
  await until("the gap is told", () => heard.gaps.length === 1);
  expect(heard.gaps[0]).toMatch(/commit 2 of another controller was not heard/);
  expect(heard.batches).toEqual([]);
  for (const store of [writer, reader]) await store.close();
});

test("a writer that is overtaken while its commit waits for the one before is told that it is fenced off", async () => {
  const cluster = fleet();
  const { link, store } = await faulty(cluster);
  link.passes = (key) => key === "head";
  expect(await store.commit(1, [on("a", "first")])).toMatchObject({ kind: "ok" });
  await until("its record is held back", () => link.held.length >= 1);
  const waiting = store.commit(1, [on("b", "first")]);
  const next = await open(nats, cluster);
  const before = store.position;
  await next.raiseEpoch(2);
  await until("the raise is heard", () => store.position > before);
  link.passes = () => true;
  for (const send of link.release) send();
  expect(await waiting).toEqual({ kind: "fenced", epoch: 2 });
  expect((await next.load()).hosts.map(({ name }) => name)).toEqual(["a"]);
  for (const one of [store, next]) await one.close();
});
