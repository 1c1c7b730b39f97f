/**
 * Records in the bucket, written by the one writer: it knows the revision of each, and writes by compare-and-set on it. A
 * writer that was overtaken finds other revisions, and stops; whoever overtakes writes the last batch's records once
 * more, and so moves their revisions.
 *
 * A record that is taken away leaves a marker, so that a late write of the writer before can't bring it back; markers are
 * erased when they are older than any write can be late.
 *
 * Errors  `Overtaken`; else the client's own.
 * Cost    at most `WIDTH` writes in flight.
 */
import type { Clock, Millis } from "../../../proto/kernel/clock.ts";
import { PATIENCE_MS } from "./bucket.ts";
import type { Bucket, Entry } from "./bucket.ts";
import { decode, encode, encodeManifest, encodeSlice, slices } from "./codec.ts";
import { readKey, sliced, sliceKey } from "./keys.ts";
import { pooled } from "./pool.ts";
import type { State } from "./state.ts";

const WIDTH = 128;
const TRIES = 5;
const MARKER_MS: Millis = 600_000;
/** Markers erased at a time. */
const MARKERS = 64;

/** Another has set the head since. */
export class Overtaken extends Error {}

interface Known {
  readonly revision: number;
  readonly live: boolean;
}

export class Records {
  /** The newest revision among them, markers too; 0: there are none. */
  newest = 0;
  readonly #bucket: Bucket;
  readonly #clock: Clock;
  #known = new Map<string, Known>();
  /** Key → since when, monotonic. */
  readonly #markers = new Map<string, Millis>();

  constructor(bucket: Bucket, clock: Clock) {
    this.#bucket = bucket;
    this.#clock = clock;
  }

  /** What a pass has found. */
  note({ key, revision, value }: Entry): void {
    if (readKey(key) === undefined) return;
    this.#remember(key, revision, value !== null);
  }

  /** Keys of all that is there. */
  live(): string[] {
    return [...this.#known].flatMap(([key, { live }]) => (live ? [sliced(key)?.key ?? key] : []));
  }

  /** Records that the state knows nothing of: left behind by a batch that was half done. */
  orphans(state: State): string[] {
    return this.live().filter((key) => state.record(key) === undefined);
  }

  /** `mine`: the head is still the one whose batch is written. */
  async write(state: State, touched: Iterable<string>, mine: () => Promise<boolean>): Promise<void> {
    await pooled(touched, WIDTH, async (key) => {
      const value = state.record(key);
      const bytes = value === undefined ? null : await encode(value);
      const size = this.#bucket.valueBytes;
      const pieces = bytes === null || bytes.length <= size ? [] : slices(bytes, size);
      for (const [n, piece] of pieces.entries()) await this.#put(sliceKey(key, n), encodeSlice(state.id, piece), mine);
      const manifest = { slices: pieces.length, gen: state.id };
      await this.#put(key, pieces.length === 0 ? bytes : encodeManifest(manifest), mine);
      for (let n = pieces.length; this.#known.get(sliceKey(key, n))?.live === true; n++) {
        await this.#put(sliceKey(key, n), null, mine);
      }
    });
    await this.#erase();
  }

  async #put(key: string, bytes: Uint8Array | null, mine: () => Promise<boolean>): Promise<void> {
    if (bytes === null && this.#known.get(key)?.live !== true) return;
    await putOver(this.#bucket, key, bytes, this.#known.get(key)?.revision ?? 0, mine).then((revision) =>
      this.#remember(key, revision, bytes !== null),
    );
  }

  #remember(key: string, revision: number, live: boolean): void {
    this.#known.set(key, { revision, live });
    this.newest = Math.max(this.newest, revision);
    if (live) this.#markers.delete(key);
    else if (!this.#markers.has(key)) this.#markers.set(key, this.#clock.monotonic());
  }

  async #erase(): Promise<void> {
    const before = this.#clock.monotonic() - MARKER_MS;
    // In the order in which they came.
    const old = [...this.#markers].slice(0, MARKERS).filter(([, since]) => since < before);
    await pooled(old, MARKERS, async ([key]) => {
      const known = this.#known.get(key);
      // The newest revision is what readers come to: it stays until there is a newer one.
      if (known?.revision === this.newest) return;
      if (known?.live === false) {
        await this.#bucket.erase(key, known.revision);
        this.#known.delete(key);
      }
      this.#markers.delete(key);
    });
  }
}

/**
 * Writes over whatever stands there, as long as the head is ours: what a writer that was overtaken left behind, or an
 * earlier try of our own whose answer was lost. Answers the revision.
 */
export async function putOver(
  bucket: Bucket,
  key: string,
  bytes: Uint8Array | null,
  known: number,
  mine: () => Promise<boolean>,
): Promise<number> {
  for (let tried = 1, revision = known; ; tried++) {
    const expected = revision;
    const put = await bucket.patiently(PATIENCE_MS, async () => {
      const put = await bucket.put(key, bytes, expected);
      if (put.kind === "untaken") throw put.error;
      return put;
    });
    if (put.kind === "ok") return put.revision;
    if (put.kind !== "mismatch") throw put.error;
    const found = await bucket.get(key);
    if (found !== undefined && same(found.value, bytes)) return found.revision;
    if (!(await mine())) throw new Overtaken(`another controller has written ${key} since`);
    if (tried === TRIES) throw put.error;
    revision = found?.revision ?? 0;
  }
}

/** Byte for byte, or the same JSON: another build may deflate it otherwise. */
function same(a: Uint8Array | null, b: Uint8Array | null): boolean {
  if (a === null || b === null) return a === b;
  if (Buffer.compare(a, b) === 0) return true;
  try {
    return JSON.stringify(decode(a)) === JSON.stringify(decode(b));
  } catch {
    return false;
  }
}
