/**
 * A KV bucket as the store sees it: keys with revisions, compare-and-set, one pass over all records. Reads are answered by
 * the server that leads the stream, never by one that lags (`allow_direct` is off); a pass may run on one that lags, so
 * whoever reads by it says how far it has to come.
 *
 * Errors  rejects with the client's NatsError; `explain` makes a sentence of it.
 */
import { DeliverPolicy, Empty, headers, NatsError } from "nats";
import type { Consumer, ConsumerMessages, JetStreamClient, JetStreamManager, NatsConnection, StreamInfo } from "nats";
import { codeOf, sentence, streamIsGone } from "../../../proto/contract/nats-errors.ts";
import { copiesOn } from "../../../proto/contract/nats-link.ts";
import type { NatsLink } from "../../../proto/contract/nats-link.ts";
import { sleep } from "../../../proto/kernel/clock.ts";
import type { Clock, Millis } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import { stepDown } from "../../stuck-leader.ts";
import type { StuckLeader, StuckLeaders } from "../../stuck-leader.ts";
import { StoreUnusable } from "../store.ts";
import { faultOf, isPassing } from "./errors.ts";
import type { Fault } from "./errors.ts";
import { configOf, differences } from "./stream.ts";
import type { Shape } from "./stream.ts";

/** One write or read is waited for so long. */
export const ATTEMPT_MS: Millis = 1_500;
const API_MS: Millis = 2_000;
/** A new stream, and one that lost its leader, has nobody who answers for it for a moment. */
export const PATIENCE_MS: Millis = 3_000;
const PAUSE_MS: Millis = 100;
/** A pass that brings nothing for so long has failed. */
const PASS_IDLE_MS: Millis = 5_000;
/** One that brings nothing for so long may be at its end without having said so. */
const PASS_LOOK_MS: Millis = 200;
/** A consumer that does not begin within so long is made again, so often. */
const BEGIN_MS: Millis = 2_000;
const BEGINS = 3;
/** Records of a pass that are asked for ahead. */
const AT_A_TIME = 2_000;
const DEL = "DEL";
const OPERATION = "KV-Operation";
/** Headers of a message count towards its size. */
const HEADERS_ROOM = 1_024;

export interface Entry {
  readonly key: string;
  /** The stream's sequence: grows with every write to the bucket. */
  readonly revision: number;
  /** Null: deleted, and a marker holds its revision. */
  readonly value: Uint8Array | null;
}

export type Put =
  { readonly kind: "ok"; readonly revision: number } | { readonly kind: Fault; readonly error: unknown };

/** What the end was said to be did not come: servers that lead are behind, or have lost it. */
export class Unended extends Error {}

/** It was there, and is not any more. */
export class BucketGone extends Error {}

export interface BucketOptions extends Shape {
  readonly link: NatsLink;
  readonly clock: Clock;
  readonly log: Log;
  readonly stuck: StuckLeaders;
}

export class Bucket {
  readonly name: string;
  readonly #stream: string;
  readonly #prefix: string;
  readonly #o: BucketOptions;
  readonly #link: NatsLink;
  readonly #clock: Clock;
  readonly #js: JetStreamClient;
  readonly #stuck: StuckLeader;
  #jsm: JetStreamManager | undefined;
  replicas = 1;
  /** When the servers made it, in their words: another one of the same name has another. */
  created = "";

  constructor(options: BucketOptions) {
    this.#o = options;
    this.name = options.name;
    this.#link = options.link;
    this.#clock = options.clock;
    this.#stream = `KV_${this.name}`;
    this.#prefix = `$KV.${this.name}.`;
    this.#js = options.link.connection.jetstream({ timeout: ATTEMPT_MS });
    this.#stuck = options.stuck.of(this.#stream);
  }

  get #nc(): NatsConnection {
    return this.#link.connection;
  }

  /** The largest value that one message takes. */
  get valueBytes(): number {
    return (this.#nc.info?.max_payload ?? 1 << 20) - HEADERS_ROOM;
  }

  explain(doing: string, error: unknown): string {
    if (error instanceof StoreUnusable) return error.message;
    return this.#link.connected ? sentence(this.#nc, this.name, doing, error) : this.#link.trouble;
  }

  gone(): string {
    return (
      `the bucket ${this.name} is gone from NATS at ${this.#nc.getServer()}: it was deleted, and with it what this ` +
      "fleet's controllers knew"
    );
  }

  /** Creates it where it is missing. Rejects with StoreUnusable when it is not one of ours. */
  async open(): Promise<void> {
    const jsm = await this.#manager();
    const wanted = configOf(this.#o, copiesOn(this.#nc));
    let info: StreamInfo;
    try {
      info = await jsm.streams.info(this.#stream);
    } catch (error) {
      if (!streamIsGone(error)) throw error;
      info = await jsm.streams.add(wanted);
    }
    const wrong = differences(info.config, wanted);
    if (wrong.length > 0) {
      throw new StoreUnusable(
        `the bucket ${this.name} on NATS at ${this.#nc.getServer()} was not made by Baton, or was changed: its ` +
          `${wrong.join(", ")} ${wrong.length === 1 ? "differs" : "differ"}; set it right or name another fleet with --cluster`,
      );
    }
    this.replicas = info.config.num_replicas;
    this.created = info.created;
  }

  /** Tries again what may be tried again, while servers are electing who leads; `also`: what else may be over soon. */
  async patiently<T>(
    forMs: Millis,
    work: () => Promise<T>,
    also: (error: unknown) => boolean = () => false,
  ): Promise<T> {
    const until = this.#clock.monotonic() + forMs;
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!(this.#passing(error) || also(error)) || this.#clock.monotonic() > until) throw error;
      }
      await sleep(this.#clock, PAUSE_MS);
    }
  }

  /** Servers are electing who leads, or start: it may be over in a moment. */
  #passing(error: unknown): boolean {
    return this.#link.connected && isPassing(this.#nc, error);
  }

  /** The newest revision that was ever given out in it; 0: it is new. */
  async newest(): Promise<number> {
    return (await (await this.#manager()).streams.info(this.#stream)).state.last_seq;
  }

  async exists(): Promise<boolean> {
    try {
      await (await this.#manager()).streams.info(this.#stream);
      return true;
    } catch (error) {
      if (streamIsGone(error)) return false;
      throw error;
    }
  }

  /** Undefined: never written, or erased. */
  async get(key: string): Promise<Entry | undefined> {
    return this.patiently(PATIENCE_MS, () => this.#get(key));
  }

  async #get(key: string): Promise<Entry | undefined> {
    const jsm = await this.#manager();
    try {
      const found = await jsm.streams.getMessage(this.#stream, { last_by_subj: this.#prefix + key });
      const deleted = found.header.get(OPERATION) !== "";
      return { key, revision: found.seq, value: deleted ? null : found.data };
    } catch (error) {
      if (error instanceof NatsError && !streamIsGone(error) && (error.code === "404" || codeOf(error) === 10037))
        return;
      throw error;
    }
  }

  /** `expected`: the key's revision now, 0 for none. Null deletes: a marker keeps its place in the order of revisions. */
  async put(key: string, value: Uint8Array | null, expected: number): Promise<Put> {
    try {
      const set = headers();
      if (value === null) set.set(OPERATION, DEL);
      const expect = this.#o.only === null ? { lastSubjectSequence: expected } : { lastSequence: expected };
      const ack = await this.#js.publish(this.#prefix + key, value ?? Empty, { headers: set, expect });
      this.#stuck.answered();
      return { kind: "ok", revision: ack.seq };
    } catch (error) {
      this.#stuck.failed(error);
      return { kind: faultOf(error, this.replicas), error };
    }
  }

  /**
   * Takes a key away for good, if this is still its newest revision. By the key's name: on servers that have come to count
   * differently (nats-server 2.9.10, seen), a number is another record's.
   */
  async erase(key: string, revision: number): Promise<void> {
    const jsm = await this.#manager();
    await jsm.streams.purge(this.#stream, { filter: this.#prefix + key, seq: revision + 1 });
  }

  /** Takes all keys like this away for good. */
  async purge(keys: string): Promise<void> {
    await (await this.#manager()).streams.purge(this.#stream, { filter: this.#prefix + keys });
  }

  /** How many keys of one token there are, as the server says that leads the stream; markers of deleted ones count. */
  async size(): Promise<number> {
    return this.patiently(PATIENCE_MS, async () => (await this.keys("*")).length);
  }

  /**
   * Asks for another server to lead the stream: the one that does may have lost what it holds. False: there is no other, or
   * it may not be asked for.
   */
  async anotherLeader(): Promise<boolean> {
    if (this.replicas === 1) return false;
    if (!(await stepDown(this.#nc, this.#stream))) return false;
    await this.patiently(PATIENCE_MS, () => this.newest());
    return true;
  }

  /** Their names alone. */
  async keys(like: string): Promise<readonly string[]> {
    const jsm = await this.#manager();
    const { state } = await jsm.streams.info(this.#stream, { subjects_filter: this.#prefix + like });
    return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(this.#prefix.length));
  }

  /**
   * Every key of one token, once at least and the newer value later, up to `upTo` at least, a revision that one of them
   * has; 0: there are none. `valued` false: values are empty, unless null.
   */
  async pass(valued: boolean, upTo: number, take: (entry: Entry) => void): Promise<void> {
    if (upTo === 0) return;
    let come = 0;
    const { consumer, messages } = await this.#consume(valued);
    let done = false;
    // A record that is written while the server with the consumer lags is counted twice there: its last message says that
    // one more is pending, and none comes (nats-server 2.9.10, seen). Asked for the consumer, it counts anew.
    const look = async (): Promise<void> => {
      const { num_pending, delivered } = await consumer.info();
      if (num_pending > 0 || delivered.stream_seq > come || come < upTo) return;
      done = true;
      messages.stop();
    };
    let heardAt = this.#clock.monotonic();
    const timer = this.#clock.every(PASS_LOOK_MS, () => {
      const quietMs = this.#clock.monotonic() - heardAt;
      if (quietMs >= PASS_IDLE_MS) messages.stop();
      else if (quietMs >= PASS_LOOK_MS && come >= upTo) look().catch(() => undefined);
    });
    try {
      for await (const message of messages) {
        heardAt = this.#clock.monotonic();
        const deleted = (message.headers?.get(OPERATION) ?? "") !== "";
        const key = message.subject.slice(this.#prefix.length);
        take({ key, revision: message.seq, value: deleted ? null : message.data });
        come = Math.max(come, message.seq);
        done = message.info.pending === 0 && come >= upTo;
        if (done) break;
      }
    } finally {
      timer.cancel();
      messages.stop();
      await consumer.delete().catch(() => undefined);
    }
    if (!done) {
      throw new Unended(`${this.name} could not be read to its end: nothing came for ${String(PASS_IDLE_MS)} ms`);
    }
  }

  async #consume(valued: boolean): Promise<{ readonly consumer: Consumer; readonly messages: ConsumerMessages }> {
    for (let tried = 1; ; tried++) {
      const consumer = await this.#js.consumers.get(this.#stream, {
        filterSubjects: `${this.#prefix}*`,
        deliver_policy: DeliverPolicy.LastPerSubject,
        headers_only: !valued,
      });
      const messages = await this.#begun(consumer.consume({ max_messages: AT_A_TIME }));
      if (messages !== null) return { consumer, messages };
      void consumer.delete().catch(() => undefined);
      if (tried === BEGINS)
        throw new Error(`${this.name} could not be read: no consumer was to be had in ${String(tried)} tries`);
    }
  }

  /**
   * Null: not in time. By itself the client tries for a quarter of an hour, thirty seconds apart, what fails while servers
   * elect a leader.
   */
  async #begun(consuming: Promise<ConsumerMessages>): Promise<ConsumerMessages | null> {
    const { promise: late, resolve } = Promise.withResolvers<null>();
    const timer = this.#clock.after(BEGIN_MS, () => {
      resolve(null);
      consuming.then((messages) => messages.stop()).catch(() => undefined);
    });
    try {
      return await Promise.race([consuming, late]);
    } finally {
      timer.cancel();
    }
  }

  /** Values as servers tell of them once they are stored. Never waits; a lost connection loses some. */
  listen(told: (revision: number, value: Uint8Array) => void): () => void {
    return this.#link.listen(this.#o.told ?? this.#prefix, ({ headers, data }) => {
      const revision = Number(headers?.get("Nats-Sequence") ?? 0);
      const deleted = (headers?.get(OPERATION) ?? "") !== "";
      if (revision > 0 && !deleted) told(revision, data);
    });
  }

  async #manager(): Promise<JetStreamManager> {
    return (this.#jsm ??= await this.#nc.jetstreamManager({ checkAPI: false, timeout: API_MS }));
  }
}
