/**
 * Batches on their way into a head and out of it: within it, or in part keys where one message can't hold them. Parts
 * are there before the head that names them, and go when the next one stands.
 *
 * Errors  `PartsGone`: the head that named them is not the newest any more.
 */
import type { Bucket } from "./bucket.ts";
import { decodeLarge, encode, slices } from "./codec.ts";
import type { Head, Meta, StoredBatch } from "./head.ts";
import { partKey, partKeys, readPart } from "./keys.ts";
import { pooled } from "./pool.ts";

const WIDTH = 8;
/** The head's line of JSON. */
const META_ROOM = 1_024;

export class PartsGone extends Error {}

export interface Packed {
  readonly payload: Uint8Array;
  readonly parts: Meta["parts"];
}

/** Parts are stored when it resolves. */
export async function pack(bucket: Bucket, batch: StoredBatch, epoch: number, id: string): Promise<Packed> {
  const payload = await encode(batch);
  const size = bucket.valueBytes - META_ROOM;
  if (payload.length <= size) return { payload, parts: null };
  const pieces = slices(payload, size);
  await pooled(pieces.entries(), WIDTH, async ([n, piece]) => {
    const key = partKey(epoch, id, n);
    const put = await bucket.put(key, piece, 0);
    // Lost answers of an earlier try: only this writer knows the name.
    if (put.kind !== "ok" && !(put.kind === "unknown" && (await bucket.get(key)) !== undefined)) throw put.error;
  });
  return { payload: new Uint8Array(), parts: { epoch, id, count: pieces.length } };
}

export async function unpack(bucket: Bucket, { meta, payload }: Head): Promise<StoredBatch> {
  const { parts } = meta;
  if (parts === null) return (await decodeLarge(payload)) as StoredBatch;
  const pieces: Uint8Array[] = [];
  await pooled(Array.from({ length: parts.count }).keys(), WIDTH, async (n) => {
    const part = await bucket.get(partKey(parts.epoch, parts.id, n));
    if (part?.value == null) throw new PartsGone(`a part of commit ${meta.seq} is gone`);
    pieces[n] = part.value;
  });
  return (await decodeLarge(Buffer.concat(pieces))) as StoredBatch;
}

export const dropParts = (bucket: Bucket, { epoch, id }: NonNullable<Meta["parts"]>): Promise<void> =>
  bucket.purge(partKeys(epoch, id));

/**
 * Parts of commits that came to nothing. Those of a higher epoch than ours are another's, and may be about to be named; the
 * head's are needed.
 */
export async function dropStrayParts(bucket: Bucket, head: Meta): Promise<void> {
  const stray = new Map<string, number>();
  for (const key of await bucket.keys("part.>")) {
    const part = readPart(key);
    if (part !== undefined && part.epoch <= head.epoch && part.id !== head.parts?.id) stray.set(part.id, part.epoch);
  }
  for (const [id, epoch] of stray) await dropParts(bucket, { epoch, id, count: 0 });
}
