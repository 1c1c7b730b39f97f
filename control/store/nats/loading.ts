/**
 * The state as of the newest head, read in one pass while others go on writing.
 *
 * A record may be of any batch up to now; so the batches from the head that stood before the pass to the one that stood
 * after it are applied over what was read, in order. The first head says how far the pass has to come: the server that
 * it runs on may lag. And it must bring as many records as the stream's leader counts: who knows only a part of what the
 * fleet runs would take the rest away. A server that leads may itself have lost records (nats-server 2.9 after a full disk,
 * seen): when it is told of what is not there, another one is asked to lead, and all that one has is written once more.
 * What none of them has this controller may remember (memory.ts), also when they have gone back to an older head. The
 * rest is gone: whoever serves it is held (fleet/hold.ts), and says what to do; a rollout of which a part is gone is
 * gone, and its hosts are brought to what is stable.
 *
 * Errors  rejects when the bucket holds no head, or nothing whole could be read in `TRIES` tries.
 * Cost    one message a record; 10,000 hosts with their counts take about a second.
 */
import type { Clock, Millis } from "../../../proto/kernel/clock.ts";
import { sleep } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import { PartsGone, unpack } from "./batches.ts";
import { Unended } from "./bucket.ts";
import type { Bucket } from "./bucket.ts";
import { decode, readManifest, readSlice } from "./codec.ts";
import { EMPTY, readHead } from "./head.ts";
import type { Head, StoredBatch } from "./head.ts";
import { HEAD, sliced } from "./keys.ts";
import { everyKey } from "./memory.ts";
import type { Memory } from "./memory.ts";
import { Records } from "./records.ts";
import { State } from "./state.ts";
import type { Applied } from "./state.ts";

const TRIES = 4;
/** Changes of leader: of three servers two may be asked in turn. */
const MOVES = 4;
const PAUSE_MS: Millis = 100;
/** Heads that were committed during the pass are on their way. */
const HEARD_MS: Millis = 1_000;

export interface Heard {
  readonly head: Head;
  readonly batch: StoredBatch;
}

export interface Loaded {
  readonly state: State;
  readonly records: Records;
  readonly head: Head;
  /** The head's batch, whose records may not all be written. */
  readonly newest: Applied;
  /** Keys that some server had lost: found with another one, or with none and remembered here; or gone. */
  readonly found: readonly string[];
  readonly remembered: readonly string[];
  readonly lost: readonly string[];
  /** The servers' head is one that was there before: so many commits later is what this controller remembers. */
  readonly behind: number;
}

interface Read extends Omit<Loaded, "found" | "lost"> {
  /** Fewer records came than the stream's leader counts; all that matters was remembered. */
  readonly short: boolean;
  /** They do not come to the newest revision that the head speaks of: the same. */
  readonly unended: boolean;
  /** Keys of hosts of rollouts. Who has a part of them can't go on with it: those rollouts are not in the state. */
  readonly lacking: readonly string[];
}

interface Unread {
  readonly why: string;
  /** Something is not there; else others were too fast. */
  readonly hole: boolean;
}

export interface Buckets {
  readonly head: Bucket;
  readonly records: Bucket;
}

/** The head is not there: the bucket was emptied by hand. */
export class NoHead extends Error {}

export async function readNewest(bucket: Bucket): Promise<Head> {
  const entry = await bucket.get(HEAD);
  if (entry?.value == null) {
    throw new NoHead(`the bucket ${bucket.name} has lost its head: it was deleted or emptied while Baton ran`);
  }
  return readHead(bucket.name, entry.revision, entry.value);
}

/** `heard` holds, and goes on to hold, every batch that was told since before this was called. */
export async function load(from: Buckets, clock: Clock, heard: readonly Heard[], memory: Memory): Promise<Loaded> {
  const missed = new Set<string>();
  let holes = false;
  for (let moved = 0; ; moved++) {
    const loaded = await whole(from, clock, heard, memory);
    const lost = "why" in loaded ? [] : [...loaded.state.lost(), ...loaded.lacking];
    const lacks = "why" in loaded ? [] : [...lost, ...loaded.remembered];
    const hole = "why" in loaded ? loaded.hole : !loaded.unended && (loaded.short || lacks.length > 0);
    if (hole && moved < MOVES && (await from.records.anotherLeader())) {
      for (const key of lacks) missed.add(key);
      holes ||= lacks.length === 0;
      continue;
    }
    if ("why" in loaded) throw new Error(`${from.records.name} could not be read as a whole: ${loaded.why}`);
    const { state, records, remembered } = loaded;
    for (const key of remembered) missed.delete(key);
    const found = [...missed].filter((key) => state.record(key) !== undefined);
    // Of what such a server has lost not all is missed: whatever is written anew, it gets.
    const damaged = holes || loaded.short || loaded.unended || found.length + remembered.length > 0;
    const anew = damaged ? [...records.live(), ...remembered] : [];
    const newest = { ...loaded.newest, touched: new Set([...loaded.newest.touched, ...anew]) };
    return { ...loaded, newest, found, lost };
  }
}

export function tellLost(log: Log, bucket: string, { found, remembered, lost, behind }: Loaded): void {
  if (behind > 0) {
    log.warn({}, `the servers of ${bucket} have lost ${behind} commits; this controller remembers what they led to`);
  }
  if (found.length > 0) {
    log.warn({ records: found }, `a server of ${bucket} had lost records; another one has them, and leads it now`);
  }
  if (remembered.length > 0) {
    log.warn(
      { records: remembered },
      `no server of ${bucket} has these records any more; this controller remembers them`,
    );
  }
  if (lost.length > 0) log.error({ records: lost }, `no server of ${bucket} has these records any more`);
}

async function whole(from: Buckets, clock: Clock, heard: readonly Heard[], memory: Memory): Promise<Read | Unread> {
  let read: Read | Unread = late("");
  for (let tried = 0; tried < TRIES; tried++) {
    if (tried > 0) await sleep(clock, PAUSE_MS);
    try {
      read = await once(from, clock, heard, memory);
      if (!("why" in read) && !read.short && read.lacking.length === 0) return read;
    } catch (error) {
      // It has been waited for already.
      if (error instanceof Unended) return hole(error.message);
      if (!(error instanceof PartsGone)) throw error;
      read = late(error.message);
    }
  }
  return read;
}

const hole = (why: string): Unread => ({ why, hole: true });
const late = (why: string): Unread => ({ why, hole: false });

async function once(
  { head: heads, records: bucket }: Buckets,
  clock: Clock,
  heard: readonly Heard[],
  memory: Memory,
): Promise<Read | Unread> {
  const first = await readNewest(heads);
  const ahead = memory.ahead(first.meta);
  if (ahead !== null) return await recalled(bucket, clock, first, ahead, memory.epoch);
  const firstBatch = await unpack(bucket, first);
  const state = new State();
  const records = new Records(bucket, clock);
  const found = new Map<string, Uint8Array>();
  const came = new Set<string>();
  // None that count: all that was ever committed is in the head.
  const expected = first.meta.records === 0 ? 0 : await bucket.size();
  const recalls = memory.isWhole(first.meta);
  let unended = false;
  try {
    await bucket.pass(true, first.meta.records, (entry) => {
      came.add(entry.key);
      records.note(entry);
      if (entry.value === null) found.delete(entry.key);
      else found.set(entry.key, entry.value);
    });
  } catch (error) {
    if (!(error instanceof Unended) || !recalls) throw error;
    unended = true;
  }
  // A server whose disk was full may come to the end, and have left out what it can't read.
  const short = !unended && came.size < expected;
  if (short && !recalls) return hole(`${String(expected - came.size)} of ${String(expected)} records did not come`);
  const torn = absorb(state, found);
  state.assemble();
  const remembered = new Set(recalls ? memory.giveAll(state) : []);

  const last = await readNewest(heads);
  const batches = new Map([[first.meta.seq, { head: first, batch: firstBatch }]]);
  const gather = (): boolean => {
    for (const one of heard) batches.set(one.head.meta.seq, one);
    for (let seq = first.meta.seq; seq <= last.meta.seq; seq++) if (!batches.has(seq)) return false;
    return true;
  };
  if (last.meta.seq > first.meta.seq) batches.set(last.meta.seq, { head: last, batch: await unpack(bucket, last) });
  for (let waited = 0; !gather(); waited += PAUSE_MS) {
    if (waited >= HEARD_MS) return late("others commit faster than it is read");
    await sleep(clock, PAUSE_MS);
  }
  let newest: Applied | undefined;
  for (let seq = first.meta.seq; seq <= last.meta.seq; seq++) {
    const one = batches.get(seq);
    // A raised epoch repeats the batch before.
    if (one === undefined || (one.head.meta.raised && seq > first.meta.seq)) continue;
    if (one.head.meta.anew && seq > first.meta.seq) return late("the buckets were emptied meanwhile");
    newest = state.apply(one.batch);
    for (const key of newest.touched) {
      torn.delete(key);
      // It may not have been written yet.
      remembered.delete(key);
    }
  }
  if (!recalls && memory.knows(first.meta)) {
    for (const key of memory.giveLasting(state, state.lost())) remembered.add(key);
  }
  const lacking = state.dropPartial();
  for (const key of torn) if (state.record(key) === undefined) return hole(`the record ${key} is not whole`);
  const { meta } = last;
  state.seq = meta.seq;
  state.epoch = meta.epoch;
  state.id = meta.id;
  state.events.newest = Math.max(state.events.newest, meta.events);
  const kept = [...remembered].filter((key) => state.record(key) !== undefined);
  return {
    ...{ state, records, head: last, newest: newest ?? state.apply(EMPTY), remembered: kept, behind: 0 },
    ...{ short, unended, lacking },
  };
}

/** All of it is written anew by whoever leads, and what is there besides goes. */
async function recalled(bucket: Bucket, clock: Clock, head: Head, state: State, epoch: number): Promise<Read> {
  const records = new Records(bucket, clock);
  try {
    await bucket.pass(false, 1, (entry) => records.note(entry));
  } catch (error) {
    // There is none any more.
    if (!(error instanceof Unended)) throw error;
  }
  state.epoch = Math.max(epoch, head.meta.epoch);
  const { appended } = state;
  const newest: Applied = { touched: new Set(everyKey(state)), changes: [], appended, dropped: [] };
  const behind = state.seq - head.meta.seq;
  return { state, records, head, newest, remembered: [], behind, short: false, unended: false, lacking: [] };
}

/** Answers the records that were sliced and could not be put together. */
function absorb(state: State, found: ReadonlyMap<string, Uint8Array>): Set<string> {
  const torn = new Set<string>();
  for (const [key, bytes] of found) {
    if (sliced(key) !== undefined) continue;
    const whole = joined(key, bytes, found);
    if (whole === undefined) torn.add(key);
    else state.absorb(key, decode(whole));
  }
  return torn;
}

function joined(key: string, bytes: Uint8Array, found: ReadonlyMap<string, Uint8Array>): Uint8Array | undefined {
  const manifest = readManifest(bytes);
  if (manifest === undefined) return bytes;
  const pieces: Uint8Array[] = [];
  for (let n = 0; n < manifest.slices; n++) {
    const piece = readSlice(found.get(`more/${String(n)}/${key}`) ?? new Uint8Array());
    if (piece.gen !== manifest.gen) return undefined;
    pieces.push(piece.bytes);
  }
  return Buffer.concat(pieces);
}
