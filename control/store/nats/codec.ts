/**
 * Values as the bucket keeps them: JSON, deflated when that is worth it. The first byte tells which: JSON of ours begins
 * with `{` or `[`, a zlib stream with 0x78.
 *
 * Errors  `decode` throws on what is neither, and on more than `MOST` bytes.
 * Cost    deflate at level 1, beside the event loop from 64 KiB on.
 */
import { deflate, deflateSync, inflate, inflateSync } from "node:zlib";
import { promisify } from "node:util";

const SMALL = 1 << 10;
const LARGE = 64 << 10;
const MOST = 512 << 20;
const ZLIB = 0x78;
const level = { level: 1 } as const;

const deflating = promisify<Uint8Array, typeof level, Buffer>(deflate);
const inflating = promisify<Uint8Array, { readonly maxOutputLength: number }, Buffer>(inflate);

export async function encode(value: unknown): Promise<Uint8Array> {
  const json = Buffer.from(JSON.stringify(value));
  if (json.length < SMALL) return json;
  return json.length < LARGE ? deflateSync(json, level) : await deflating(json, level);
}

export function decode(bytes: Uint8Array): unknown {
  const json = bytes[0] === ZLIB ? inflateSync(bytes, { maxOutputLength: MOST }) : bytes;
  return JSON.parse(Buffer.from(json.buffer, json.byteOffset, json.byteLength).toString("utf8"));
}

/** The same for what may be large. */
export async function decodeLarge(bytes: Uint8Array): Promise<unknown> {
  return decode(bytes[0] === ZLIB && bytes.length > LARGE ? await inflating(bytes, { maxOutputLength: MOST }) : bytes);
}

/** Cuts into pieces of at most `size` bytes; one piece at least. */
export function slices(bytes: Uint8Array, size: number): readonly Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let from = 0; from < bytes.length || from === 0; from += size) pieces.push(bytes.subarray(from, from + size));
  return pieces;
}

/** Stands under a record's own key when the record lies in slices; `gen` marks those that belong together. */
export interface Manifest {
  readonly slices: number;
  readonly gen: string;
}
const MANIFEST = 0x4d;

export const encodeManifest = (manifest: Manifest): Uint8Array =>
  Buffer.concat([Buffer.of(MANIFEST), Buffer.from(JSON.stringify(manifest))]);

export function readManifest(bytes: Uint8Array): Manifest | undefined {
  return bytes[0] === MANIFEST ? (JSON.parse(Buffer.from(bytes.subarray(1)).toString("utf8")) as Manifest) : undefined;
}

/** A slice names the manifest it belongs to. */
export const encodeSlice = (gen: string, bytes: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from(`${gen}\n`), bytes]);

export function readSlice(bytes: Uint8Array): { readonly gen: string; readonly bytes: Uint8Array } {
  const end = bytes.indexOf(0x0a);
  return { gen: Buffer.from(bytes.subarray(0, end)).toString("utf8"), bytes: bytes.subarray(end + 1) };
}
