/**
 * Names of what the two buckets hold. The head's:
 *
 *   head                       the newest commit, whole: the one key that decides (head.ts)
 *
 * and the records':
 *
 *   service/<name> …           records, one token each: a single pass over `*` reads them and nothing else
 *   more/<n>/<record>          the n-th slice of a record that is too large for one message
 *   journal.<rollout>.<page>   read on demand
 *   part.<epoch>.<id>.<n>      slices of a commit that is too large for one message
 *
 * Names within a key are spelt so that every one fits: what KV keys do not take is `=` and its bytes in hexadecimal.
 */

export const HEAD = "head";

/** Records, and what stands in their keys. */
export type RecordKind =
  | "service" // name
  | "revision" // service, number
  | "retirement" // service
  | "host" // name
  | "rollout" // id
  | "tracks" // rollout, chunk
  | "ledger" // rollout
  | "counts" // host
  | "events" // slot of the ring
  | "more"; // n, then the record's own key

const KINDS: readonly string[] = [
  "service",
  "revision",
  "retirement",
  "host",
  "rollout",
  "tracks",
  "ledger",
  "counts",
  "events",
  "more",
] satisfies RecordKind[];

export const recordKey = (kind: RecordKind, ...names: readonly (string | number)[]): string =>
  [kind, ...names.map((name) => spell(String(name)))].join("/");

/** Undefined: no record of ours. */
export function readKey(key: string): { readonly kind: RecordKind; readonly names: readonly string[] } | undefined {
  const [kind = "", ...names] = key.split("/");
  return KINDS.includes(kind) ? { kind: kind as RecordKind, names: names.map(unspell) } : undefined;
}

export const sliceKey = (key: string, n: number): string => `more/${String(n)}/${key}`;
/** The record's own key, and which of its slices this is; undefined when it is no slice. */
export function sliced(key: string): { readonly key: string; readonly n: number } | undefined {
  const [, n, of] = /^more\/(\d+)\/(.+)$/.exec(key) ?? [];
  return n === undefined || of === undefined ? undefined : { key: of, n: Number(n) };
}

export const journalKey = (rollout: string, page: number): string => `journal.${spell(rollout)}.${String(page)}`;
export const journalKeys = (rollout: string): string => `journal.${spell(rollout)}.>`;

export const partKey = (epoch: number, id: string, n: number): string => `part.${String(epoch)}.${id}.${String(n)}`;
export const partKeys = (epoch: number, id: string): string => `part.${String(epoch)}.${id}.>`;
export function readPart(key: string): { readonly epoch: number; readonly id: string } | undefined {
  const [, epoch, id] = /^part\.(\d+)\.([^.]+)\.\d+$/.exec(key) ?? [];
  return epoch === undefined || id === undefined ? undefined : { epoch: Number(epoch), id };
}

const spell = (name: string): string =>
  name.replaceAll(/[^A-Za-z0-9_-]/gu, (c) =>
    [...Buffer.from(c)].map((byte) => `=${byte.toString(16).padStart(2, "0")}`).join(""),
  );

const unspell = (spelt: string): string =>
  spelt.includes("=") ? decodeURIComponent(spelt.replaceAll("=", "%")) : spelt;
