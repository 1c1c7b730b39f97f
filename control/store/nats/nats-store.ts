/**
 * The store on JetStream: every controller of a fleet has one, and the one that leads writes.
 *
 *   commit   sets the head by compare-and-set (advance.ts): from then on it is stored. Its records are written after that,
 *            while the caller goes on: until they are, the head holds all of it, and whoever loads applies it. The next
 *            commit waits for them, since it takes the head's place.
 *   raise    sets the head with a higher epoch and the same batch: the writer before can commit no more, and what it left
 *            half done is still there. **Load after it**: nothing changes from then on but by the one who raised it.
 *   follow   the servers repeat each head as it is stored (feed.ts); a number that is missing, and a head that is found
 *            to be ahead of what was told, is a gap.
 *
 * Errors  Error: nothing was changed. StoreUnsure: it may have been; only `load` leads on from there.
 */
import { streamIsGone } from "../../../proto/contract/nats-errors.ts";
import type { NatsLink } from "../../../proto/contract/nats-link.ts";
import type { Clock, Millis, Timer } from "../../../proto/kernel/clock.ts";
import { sleep } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import type { JournalEntry } from "../../model/rollout.ts";
import { StoreUnsure, StoreUnusable } from "../store.ts";
import type { Change, Committed, EventQuery, Follower, Store, StoredEvent, StoredState } from "../store.ts";
import { advance } from "./advance.ts";
import { pack } from "./batches.ts";
import { BucketGone } from "./bucket.ts";
import type { Bucket } from "./bucket.ts";
import { Feed } from "./feed.ts";
import { SCHEMA } from "./head.ts";
import type { Head, Meta } from "./head.ts";
import { load, readNewest, tellLost } from "./loading.ts";
import type { Heard, Loaded } from "./loading.ts";
import type { Memory } from "./memory.ts";
import { plan } from "./plan.ts";
import { prepare } from "./preparing.ts";
import { Settling } from "./settling.ts";
import type { State } from "./state.ts";

/** A follower that hears nothing looks this often whether it missed something. */
const LOOK_MS: Millis = 2_000;
/** What is on its way is heard by then. */
const ON_ITS_WAY_MS: Millis = 500;
const RAISES = 20;
/** Servers that start are waited for so long. */
const OPEN_MS: Millis = 6_000;

export interface NatsStoreOptions {
  readonly link: NatsLink;
  readonly clock: Clock;
  readonly log: Log;
  readonly head: Bucket;
  readonly records: Bucket;
  readonly memory: Memory;
  /** This store's own name, no other's. */
  readonly writer: string;
}

export interface NatsBackedStore extends Store {
  /**
   * The buckets were not there, and were created, when this was opened or by the newest `load`: a first start, or all
   * that was stored is lost. What an empty controller may not do to a running fleet is told in control/DESIGN.md.
   */
  readonly created: boolean;
}

export class NatsStore implements NatsBackedStore {
  readonly description: string;
  created = false;
  readonly #o: NatsStoreOptions;
  readonly #settling: Settling;
  readonly #feed: Feed;
  readonly #followers = new Set<Follower>();
  readonly #undo: (() => void)[];
  readonly #timer: Timer;
  #state: State | null = null;
  /** The head that the state is the state after. */
  #head: Head | null = null;
  /** Why it must be loaded again before anything is committed; "" when it need not. */
  #lost = "";
  /** Others have committed since it was loaded, and nobody here was told. */
  #untold = false;
  /** Followers are told; from `load` to a gap. */
  #telling = false;
  /** What is heard while it is loaded. */
  #loading: Heard[] | null = null;
  #heardAt: Millis = 0;
  #commits = 0;
  #queue: Promise<unknown> = Promise.resolve();
  #closed = false;
  /** It has raised an epoch. */
  #leads = false;

  constructor(options: NatsStoreOptions) {
    const { head, records, link, clock } = options;
    this.#o = options;
    this.description = `nats ${records.name}`;
    this.#settling = new Settling(options);
    this.#feed = new Feed(head, records, {
      heard: (one) => this.#heard(one),
      gap: (why) => this.#gap(why),
      known: ({ meta }) => meta.writer === options.writer || (this.#loading === null && this.#passed(meta)),
    });
    this.#timer = clock.every(LOOK_MS, () => void this.#look(LOOK_MS), { background: true });
    this.#undo = [
      () => this.#feed.close(),
      () => this.#timer.cancel(),
      link.follow((connected) => {
        if (connected) void this.#look(0);
      }),
    ];
  }

  get position(): number {
    return this.#state?.seq ?? 0;
  }

  /** Sees to it that the bucket and its head are there. */
  async prepare(): Promise<void> {
    const { records: bucket, writer } = this.#o;
    try {
      // Of several that create a bucket at once on three servers, one may be told for a moment that there is none.
      await bucket.patiently(
        OPEN_MS,
        async () => {
          const id = `${writer}-${String(++this.#commits)}`;
          this.created = await prepare(this.#o, id);
        },
        (error) => streamIsGone(error) || error instanceof BucketGone,
      );
    } catch (error) {
      if (error instanceof StoreUnusable) throw error;
      throw new StoreUnusable(bucket.explain(`the bucket ${bucket.name}`, error), { cause: error });
    }
  }

  load(): Promise<StoredState> {
    return this.#serial(async () => {
      this.#telling = this.created = false;
      await this.prepare();
      const { state, lost } = await this.#load();
      if (this.#leads && this.#o.memory.newlyUnknown(lost)) {
        throw new Error(`${this.#o.records.name} has lost records; another controller may remember them, and lead`);
      }
      [this.#lost, this.#untold, this.#telling] = ["", false, true];
      // Whoever waits for this has it in hand before the first batch after it is told.
      const held: Heard[] = (this.#loading = []);
      setImmediate(() => this.#release(held));
      return state.stored();
    });
  }

  commit(epoch: number, changes: readonly Change[]): Promise<Committed> {
    return this.#serial(() => this.#commit(epoch, changes));
  }

  raiseEpoch(to: number): Promise<{ readonly kind: "ok" } | { readonly kind: "taken"; readonly epoch: number }> {
    return this.#serial(() => this.#raise(to));
  }

  async journal(rollout: string): Promise<readonly JournalEntry[]> {
    const state = await this.#known();
    const kept = state.rollouts.get(rollout);
    if (kept === undefined) return [];
    return this.#explained("reading a journal", () => {
      return this.#settling.journals.read(rollout, kept.entries, state.appended.get(rollout));
    });
  }

  async events(query: EventQuery): Promise<readonly StoredEvent[]> {
    return (await this.#known()).events.query(query);
  }

  follow(follower: Follower): () => void {
    this.#followers.add(follower);
    return () => void this.#followers.delete(follower);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const undo of this.#undo.splice(0)) undo();
    this.#followers.clear();
    await this.#queue.catch(() => undefined);
    await this.#settling.rest();
  }

  async #commit(epoch: number, changes: readonly Change[]): Promise<Committed> {
    if (this.#lost !== "") throw new StoreUnsure(`${this.#lost}; load again before committing`);
    if (this.#state === null) await this.#load();
    const [state, head] = [this.#state, this.#head];
    if (state === null || head === null) throw new StoreUnsure("others committed meanwhile; load again");
    if (epoch < state.epoch) return { kind: "fenced", epoch: state.epoch };
    if (this.#untold) return { kind: "conflict", message: "another controller has committed since this one loaded" };
    const planned = plan(state, epoch, changes);
    if (planned.kind === "conflict") return planned;
    const other = await this.#explained("a commit", () => this.#settling.settleOr(state, head));
    if (other !== null) return this.#overtaken(epoch, other);

    const { records, writer } = this.#o;
    const id = `${writer}-${String(++this.#commits)}`;
    const { batch } = planned;
    const { payload, parts } = await this.#explained("a commit", () => pack(records, batch, epoch, id));
    const events = batch.events.at(-1)?.seq ?? state.events.newest;
    const [seq, newest] = [state.seq + 1, this.#settling.newest];
    const meta: Meta = {
      ...{ baton: SCHEMA, seq, batch: seq, epoch: state.epoch, writer, id, events },
      ...{ raised: false, anew: false, records: newest, of: records.created, parts },
    };
    const set = await this.#advance(meta, payload, head.revision);
    if (set.kind === "other") return this.#overtaken(epoch, set.head);
    if (this.#state !== state || state.seq !== seq - 1) {
      // Two heads can't be set over one revision: what was heard meanwhile was no commit to the same bucket.
      throw this.#mustLoad("what others committed could not be followed while a commit went in");
    }
    const applied = state.apply(batch, changes);
    this.#moved(state, set.head);
    this.#settling.begin(state, set.head, applied, head.meta.parts);
    return { kind: "ok", events: batch.events };
  }

  #overtaken(epoch: number, { meta }: Head): Committed {
    if (meta.epoch > epoch) return { kind: "fenced", epoch: meta.epoch };
    return {
      kind: "conflict",
      message: `another controller of epoch ${meta.epoch} has committed since this one loaded`,
    };
  }

  async #raise(to: number): Promise<{ readonly kind: "ok" } | { readonly kind: "taken"; readonly epoch: number }> {
    const { head, memory, writer } = this.#o;
    for (let tried = 0; tried < RAISES; tried++) {
      const before = await this.#explained("raising the epoch", () => readNewest(head));
      memory.saw(before.meta.epoch);
      if (memory.epoch >= to) return { kind: "taken", epoch: memory.epoch };
      const id = `${writer}-${String(++this.#commits)}`;
      const meta: Meta = { ...before.meta, seq: before.meta.seq + 1, epoch: to, writer, id, raised: true, anew: false };
      const set = await this.#advance(meta, before.payload, before.revision);
      if (set.kind === "other") continue;
      this.#leads = true;
      memory.saw(to);
      memory.raised(before.meta, id);
      const state = this.#state;
      if (state !== null && state.id === before.meta.id) {
        this.#moved(state, set.head);
        this.#settling.raised();
      } else if (state !== null) {
        this.#gap("others had committed before the epoch was raised");
      }
      return { kind: "ok" };
    }
    throw new Error(`the epoch could not be raised to ${to}: another controller commits all the while`);
  }

  async #advance(meta: Meta, payload: Uint8Array, expected: number): ReturnType<typeof advance> {
    try {
      return await advance(this.#o, meta, payload, expected);
    } catch (error) {
      if (error instanceof StoreUnsure || error instanceof BucketGone) throw this.#mustLoad(error.message);
      throw error;
    }
  }

  #mustLoad(why: string): StoreUnsure {
    this.#lost = why;
    return new StoreUnsure(why);
  }

  async #known(): Promise<State> {
    return this.#state ?? this.#serial(async () => this.#state ?? (await this.#load()).state);
  }

  async #load(): Promise<Loaded> {
    const { clock, memory } = this.#o;
    await this.#settling.rest();
    const heard: Heard[] = (this.#loading = []);
    try {
      const loaded = await this.#explained("loading", () => load(this.#o, clock, heard, memory));
      [this.#state, this.#head, this.#telling] = [loaded.state, loaded.head, false];
      memory.keep(loaded.state, loaded.head.meta);
      tellLost(this.#o.log, this.#o.records.name, loaded);
      this.#settling.loaded(loaded);
      this.#release(heard);
      return loaded;
    } finally {
      if (this.#loading === heard) this.#loading = null;
    }
  }

  /** `state` is now the one after this head. */
  #moved(state: State, head: Head): void {
    this.#o.memory.left(state.id);
    [state.seq, state.epoch, state.id, this.#head] = [head.meta.seq, head.meta.epoch, head.meta.id, head];
  }

  #release(held: readonly Heard[]): void {
    if (this.#loading !== held) return;
    this.#loading = null;
    for (const one of held) this.#heard(one);
  }

  #heard(one: Heard): void {
    this.#heardAt = this.#o.clock.monotonic();
    if (this.#loading !== null) {
      this.#loading.push(one);
      return;
    }
    const state = this.#state;
    const { meta } = one.head;
    if (state === null || this.#closed || this.#passed(meta)) return;
    if (meta.anew) {
      this.#gap("the buckets were deleted, and are there again, empty");
      return;
    }
    if (meta.seq > state.seq + 1) {
      this.#gap(`commits ${state.seq + 1} to ${meta.seq - 1} of another controller were not heard`);
      return;
    }
    if (meta.seq <= state.seq) {
      this.#gap(`servers have lost commits, and another controller goes on from commit ${meta.seq - 1}`);
      return;
    }
    this.#o.memory.saw(meta.epoch);
    const applied = meta.raised ? null : state.apply(one.batch);
    this.#moved(state, one.head);
    this.#settling.overtaken(applied);
    this.#untold ||= applied !== null && (this.#followers.size === 0 || !this.#telling);
    if (!this.#telling) return;
    const [changes, events] = applied === null ? [[], []] : [applied.changes, one.batch.events];
    const epoch = applied === null ? meta.epoch : one.batch.epoch;
    for (const follower of this.#followers) follower.committed({ seq: meta.seq, epoch, changes, events });
  }

  /**
   * The state is after it already. The first head of a bucket is news to whoever knows it with other content; and one that
   * somebody committed who leads since, and knows less.
   */
  #passed({ seq, id, anew, epoch, raised }: Meta): boolean {
    const state = this.#state;
    if (state === null || seq > state.seq) return false;
    return anew ? id === state.id : raised || epoch <= state.epoch;
  }

  #gap(why: string): void {
    if (this.#state === null || this.#loading !== null) return;
    this.#state = this.#head = null;
    this.#lost = why;
    if (!this.#telling) return;
    this.#telling = false;
    for (const follower of this.#followers) follower.gap(why);
  }

  /** A head that was stored while its server died is repeated by none. */
  async #look(quietMs: Millis): Promise<void> {
    const { head, clock, link, memory, writer } = this.#o;
    const state = this.#state;
    const quiet = clock.monotonic() - this.#heardAt >= quietMs;
    if (state === null || !this.#telling || this.#followers.size === 0 || !link.connected || !quiet) return;
    const { id } = state;
    try {
      const { meta } = await readNewest(head);
      if (meta.id === id || meta.writer === writer || memory.ahead(meta) !== null) return;
      await sleep(clock, ON_ITS_WAY_MS);
      if (this.#state === state && !this.#closed && state.id === id) {
        this.#gap(`commit ${meta.seq} of another controller was not heard`);
      }
    } catch (error) {
      this.#o.log.debug({ err: error }, "the store's head could not be looked at");
    }
  }

  async #explained<T>(doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof StoreUnusable || error instanceof StoreUnsure) throw error;
      for (const bucket of [this.#o.records, this.#o.head]) {
        // Whoever writes has in memory what is stored nowhere any more: it is to load, and begin anew on what is there.
        if (!(await bucket.exists().catch(() => true))) throw this.#mustLoad(bucket.gone());
      }
      throw new Error(this.#o.records.explain(doing, error), { cause: error });
    }
  }

  #serial<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(() => {
      if (this.#closed) throw new Error("the store is closed");
      return work();
    });
    this.#queue = turn.catch(() => undefined);
    return turn;
  }
}
