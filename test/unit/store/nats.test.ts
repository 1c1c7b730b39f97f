/** The parts of the NATS store that need no server. */
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import {
  decode,
  encode,
  encodeManifest,
  encodeSlice,
  readManifest,
  readSlice,
  slices,
} from "../../../control/store/nats/codec.ts";
import { EventRing } from "../../../control/store/nats/event-ring.ts";
import { encodeHead, readHead } from "../../../control/store/nats/head.ts";
import type { StoredBatch } from "../../../control/store/nats/head.ts";
import { readKey, recordKey, sliced, sliceKey } from "../../../control/store/nats/keys.ts";
import { plan } from "../../../control/store/nats/plan.ts";
import { pooled } from "../../../control/store/nats/pool.ts";
import { State } from "../../../control/store/nats/state.ts";
import type { Change } from "../../../control/store/store.ts";
import { integer, seededRandom } from "../../../proto/kernel/random.ts";
import type { HostTrack, Rollout } from "../../../control/model/rollout.ts";
import { entry, host, revision, rollout } from "../../support/samples.ts";

test("every name fits a key, and comes back from it", () => {
  for (const name of ["shop", "a.b", "*", ">", "=", "=2e", "ö/ß", "with space", "\u{1f600}", "a/b"]) {
    const key = recordKey("revision", name, 7);
    expect(key).toMatch(/^[-/_=a-zA-Z0-9]+$/);
    expect(readKey(key)).toEqual({ kind: "revision", names: [name, "7"] });
    expect(sliced(sliceKey(key, 3))).toEqual({ key, n: 3 });
  }
  expect(sliced(recordKey("host", "more"))).toBeUndefined();
  expect(readKey("something/else")).toBeUndefined();
});

test("values come back as they were, small, large, and in slices", async () => {
  for (const text of ["", "x".repeat(2_000), randomBytes(200_000).toString("base64")]) {
    const bytes = await encode({ text });
    expect(decode(bytes)).toEqual({ text });
    const pieces = slices(bytes, 50_000).map((piece) => readSlice(encodeSlice("gen-1", piece)));
    expect(pieces.every(({ gen }) => gen === "gen-1")).toBe(true);
    expect(decode(Buffer.concat(pieces.map((piece) => piece.bytes)))).toEqual({ text });
  }
  expect(readManifest(encodeManifest({ slices: 3, gen: "g" }))).toEqual({ slices: 3, gen: "g" });
  expect(readManifest(await encode({}))).toBeUndefined();
});

test("a head of a newer schema, or of another program, is refused by name", () => {
  const meta = {
    seq: 1,
    epoch: 1,
    writer: "w",
    id: "i",
    events: 0,
    batch: 1,
    raised: false,
    anew: false,
    records: 0,
    of: "",
    parts: null,
  };
  const payload = Buffer.from("{}");
  expect(readHead("b", 9, encodeHead({ ...meta, baton: 1 }, payload))).toMatchObject({ revision: 9, meta, payload });
  expect(() => readHead("b", 9, encodeHead({ ...meta, baton: 2 }, payload))).toThrow(/b has schema 2/);
  for (const text of ["", "\n", "{", "{}\n", "[1]\nx", '{"baton":"1"}\n']) {
    expect(() => readHead("b", 9, Buffer.from(text))).toThrow(/did not write/);
  }
});

test("the ring keeps the newest events in place, and takes none twice", () => {
  const ring = new EventRing();
  const add = (seq: number): number =>
    ring.add({
      seq,
      atMs: 1,
      kind: "",
      service: seq % 2 === 0 ? "even" : "odd",
      rollout: "",
      host: "",
      actor: "",
      message: "",
    });
  const query = (afterSeq: number, service: string, limit: number): number[] =>
    ring.query({ afterSeq, service, limit }).map(({ seq }) => seq);
  expect(query(0, "", 9)).toEqual([]);
  for (let seq = 1; seq <= 25_049; seq++) add(seq);
  add(25_049);
  add(3);
  expect(ring.newest).toBe(25_049);
  expect(query(0, "", 20_000)).toHaveLength(10_000);
  expect(query(0, "", 20_000)[0]).toBe(15_050);
  expect(query(25_040, "even", 3)).toEqual([25_044, 25_046, 25_048]);
  expect(query(25_049, "", 3)).toEqual([]);
});

test("what fails in a pool is thrown once all that began has ended, and nothing more begins", async () => {
  const ended: number[] = [];
  const work = async (n: number): Promise<void> => {
    await Promise.resolve();
    if (n === 1) throw new Error("no");
    ended.push(n);
  };
  await expect(pooled([0, 1, 2, 3, 4, 5, 6, 7], 2, work)).rejects.toThrow("no");
  expect(ended).not.toContain(7);
});

/** Random batches of everything that can change. */
function history(seed: number, length: number): { readonly state: State; readonly batches: StoredBatch[] } {
  const random = seededRandom(seed);
  const below = (n: number): number => integer(random, n);
  const state = new State();
  const batches: StoredBatch[] = [];
  const track = (name: string): HostTrack => ({
    ...{ host: name, way: "surge", stage: "waiting", towards: 1, goal: 1, home: 0, revisions: [], routed: true },
    ...{ sinceMs: below(1_000), drainSinceMs: 0, servesSinceMs: 0, healthyAtMs: 0, healthyMark: 0, unhealthyAtMs: 0 },
    ...{ exitsAllowed: 0, cutAllowed: false, waitingFor: "" },
  });
  const moved = (now: Rollout): Change => {
    const count = below(4) === 0 ? below(200) : now.hosts.length;
    const hosts = Array.from({ length: count }, (_, i) =>
      below(8) === 0 ? track(`h${i}`) : (now.hosts[i] ?? track(`h${i}`)),
    );
    const next = { ...now, hosts, change: now.change + 1 };
    return { kind: "rollout", rollout: next, expect: now.change, entries: [entry(next)] };
  };
  for (let n = 0; n < length; n++) {
    const service = `s${below(3)}`;
    const running = state.rolloutsOf(service)[0]?.rollout;
    const changes: Change[] = [{ kind: "service", service: { name: service, stable: n, previous: 0, newest: n } }];
    if (below(3) === 0) changes.push({ kind: "host", host: host(`h${below(5)}`, { software: String(n) }) });
    if (below(3) === 0) changes.push({ kind: "revision", revision: revision(n + 1, { service }) });
    if (running !== undefined) changes.push(moved(running));
    else
      changes.push({
        kind: "rollout",
        rollout: rollout({ id: `r${n}`, service, startedAtMs: n }),
        expect: -1,
        entries: [],
      });
    if (below(12) === 0) changes.push({ kind: "forget-service", service });
    const planned = plan(state, 1, changes);
    if (planned.kind !== "ok") throw new Error(planned.message);
    batches.push(JSON.parse(JSON.stringify(planned.batch)) as StoredBatch);
    state.apply(planned.batch, changes);
  }
  return { state, batches };
}

test("batches applied over records of any moment between them lead to the one state", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = seededRandom(seed * 7);
    const { state, batches } = history(seed, 40);
    const from = integer(random, 30);
    // Each record as it was at some moment from `from` on: what a pass may find while others write.
    const moments: State[] = [];
    const running = new State();
    const keys = new Set<string>();
    for (const [i, batch] of batches.entries()) {
      for (const key of running.apply(batch).touched) keys.add(key);
      if (i >= from) moments.push(running);
      if (i < from) continue;
      moments[moments.length - 1] = replay(batches.slice(0, i + 1));
    }
    const read = new State();
    for (const key of keys) {
      const record = moments[integer(random, moments.length)]!.record(key);
      if (record !== undefined) read.absorb(key, JSON.parse(JSON.stringify(record)));
    }
    read.assemble();
    for (const batch of batches.slice(from)) read.apply(batch);
    expect(read.dropPartial(), `seed ${seed}`).toEqual([]);
    expect(read.stored(), `seed ${seed}`).toEqual(state.stored());
  }
});

function replay(batches: readonly StoredBatch[]): State {
  const state = new State();
  for (const batch of batches) state.apply(batch);
  return state;
}
