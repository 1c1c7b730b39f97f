/**
 * Opens the store of a fleet on NATS JetStream: two KV buckets, one of them with a single key. How it commits is told in head.ts, how it is read in
 * loading.ts, who writes what in nats-store.ts; control/DESIGN.md, "Store on NATS", has the whole.
 *
 * Errors  StoreUnusable, in one sentence with the remedy: JetStream off, no majority, no three servers yet, no room, not
 *         allowed, made by another program or by a newer Baton. The caller tries again.
 */
import { nuid } from "nats";
import type { NatsNames } from "../../../proto/contract/nats.ts";
import type { NatsLink } from "../../../proto/contract/nats-link.ts";
import type { Clock } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import { StuckLeaders } from "../../stuck-leader.ts";
import { Bucket } from "./bucket.ts";
import { HEAD } from "./keys.ts";
import { Memory } from "./memory.ts";
import { NatsStore } from "./nats-store.ts";
import type { NatsBackedStore } from "./nats-store.ts";

export interface OpenNatsStore {
  readonly link: NatsLink;
  readonly names: NatsNames;
  readonly clock: Clock;
  readonly log: Log;
  /** What the stores that were opened before knew. */
  readonly memory?: Memory;
  /** Where they waited for answers. */
  readonly stuck?: StuckLeaders;
}

export async function openNatsStore(options: OpenNatsStore): Promise<NatsBackedStore> {
  const { storeBucket, headBucket, storeHead } = options.names;
  const of = { ...options, stuck: options.stuck ?? new StuckLeaders(options) };
  const records = new Bucket({ ...of, name: storeBucket, only: null, told: null });
  const head = new Bucket({ ...of, name: headBucket, only: HEAD, told: storeHead });
  const store = new NatsStore({ memory: new Memory(), ...options, head, records, writer: nuid.next() });
  try {
    await store.prepare();
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}
