/**
 * The two buckets and their first head, made where they are missing: at a first start, and when they were deleted.
 *
 * Errors  StoreUnusable: they hold what does not belong together; else the client's own.
 */
import { StoreUnusable } from "../store.ts";
import { advance } from "./advance.ts";
import type { Way } from "./advance.ts";
import { pack } from "./batches.ts";
import type { Bucket } from "./bucket.ts";
import { EMPTY, readHead, SCHEMA } from "./head.ts";
import type { Meta } from "./head.ts";
import { HEAD } from "./keys.ts";

export interface PrepareOptions extends Way {
  readonly records: Bucket;
  readonly writer: string;
}

/** `id` names the head, if there is to be one. True: there was none, or of another bucket, and this one was set. */
export async function prepare(options: PrepareOptions, id: string): Promise<boolean> {
  const { head, records, writer } = options;
  await records.open();
  await head.open();
  const there = await head.get(HEAD);
  const newest = await records.newest();
  let [before, expected]: [Partial<Meta>, number] = [{ seq: -1, epoch: 0, events: 0 }, 0];
  if (there?.value != null) {
    const { meta, revision } = readHead(head.name, there.revision, there.value);
    // A server that has just come to lead may still be behind: only another bucket has lost what it held.
    if (meta.of === records.created || newest >= meta.records) return false;
    // The epoch still holds, and no event's number is used again.
    [before, expected] = [meta, revision];
  } else if (newest > 0) {
    if ((await head.get(HEAD))?.value != null) return false;
    throw new StoreUnusable(
      `the bucket ${records.name} holds records and ${head.name} no head: they were changed by hand; ` +
        `restore both from a backup, or delete both (nats kv del) to begin anew`,
    );
  }
  const { seq = -1, epoch = 0, events = 0 } = before;
  const meta: Meta = {
    ...{ baton: SCHEMA, seq: seq + 1, batch: seq + 1, epoch, writer, id, events },
    ...{ raised: false, anew: true, records: 0, of: records.created, parts: null },
  };
  const { payload } = await pack(records, EMPTY, 0, id);
  return (await advance(options, meta, payload, expected)).kind === "ok";
}
