/**
 * The lease's register: the only key of a JetStream KV bucket of its own. It is read from the stream's leader and not
 * from whichever replica is near: what an old replica says would make a lease look unchanged that is renewed.
 *
 * It is written against the number of the _stream_'s last message, not of the key's: nats-server 2.9 in a cluster looks at
 * the key's before it asks the others and never again, so that of two writers at once both may win (nats-server#4320;
 * measured: in 169 of 300 rounds of four writers; against the stream's number in none). That number is read, too: it is
 * another than the key's once a person has put something else there, or the key is gone by any way that is not ours.
 *
 * Errors  rejects with one sentence when there is no answer within `TIMEOUT_MS`, or JetStream can't do it.
 */
import type { KV } from "nats";
import { copiesOn } from "../../proto/contract/nats-link.ts";
import type { NatsLink } from "../../proto/contract/nats-link.ts";
import { codeOf, MOVED_ON, sentence } from "../../proto/contract/nats-errors.ts";
import type { Clock } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";
import { StuckLeader } from "../stuck-leader.ts";
import type { Held, Holder, LeaseRegister } from "./lease.ts";

/** Within LEAD.renewMs, so that a lost answer leaves time for another try. */
const TIMEOUT_MS = 900;
const KEY = "leader";
const NOBODY: Holder = { id: "", incarnation: "" };

export class KvRegister implements LeaseRegister {
  readonly #link: NatsLink;
  readonly #bucket: string;
  readonly #stuck: StuckLeader;
  #kv: KV | undefined;

  constructor(link: NatsLink, bucket: string, ambient: { readonly clock: Clock; readonly log: Log }) {
    this.#link = link;
    this.#bucket = bucket;
    this.#stuck = new StuckLeader({ link, stream: `KV_${bucket}`, ...ambient });
  }

  async read(): Promise<Held> {
    try {
      const kv = await this.#open();
      // Before the key: what is written in between is the key's, and newer.
      const { last_seq: last } = (await kv.status()).streamInfo.state;
      const entry = await kv.get(KEY);
      const holder = entry === null ? NOBODY : holderOf(entry.string());
      return { holder, revision: Math.max(last, entry?.revision ?? 0) };
    } catch (error) {
      throw this.#said(error);
    }
  }

  async write(holder: Holder, expected: number): Promise<number | null> {
    try {
      await this.#open();
      const js = this.#link.connection.jetstream({ timeout: TIMEOUT_MS });
      const expect = { lastSequence: expected };
      const { seq } = await js.publish(`$KV.${this.#bucket}.${KEY}`, JSON.stringify(holder), { expect });
      this.#stuck.answered();
      return seq;
    } catch (error) {
      this.#stuck.failed(error);
      if (MOVED_ON.includes(codeOf(error))) return null;
      throw this.#said(error);
    }
  }

  async #open(): Promise<KV> {
    if (!this.#link.connected) throw new Error(this.#link.trouble);
    if (this.#kv !== undefined) return this.#kv;
    const { connection } = this.#link;
    const replicas = copiesOn(connection);
    const js = connection.jetstream({ timeout: TIMEOUT_MS });
    const kv = await js.views.kv(this.#bucket, { history: 1, replicas, allow_direct: false, max_bytes: 1 << 20 });
    return (this.#kv = kv);
  }

  #said(error: unknown): Error {
    // The bucket may be gone: it is looked for, and made again, with the next try.
    this.#kv = undefined;
    const { connected, connection, trouble } = this.#link;
    return new Error(connected ? sentence(connection, this.#bucket, "the lease", error) : trouble, { cause: error });
  }
}

/** What cannot be read is nobody's, and anyone's to write over. */
function holderOf(text: string): Holder {
  try {
    const { id, incarnation } = JSON.parse(text) as Partial<Holder>;
    return typeof id === "string" && typeof incarnation === "string" ? { id, incarnation } : NOBODY;
  } catch {
    return NOBODY;
  }
}
