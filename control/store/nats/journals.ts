/**
 * Journals of rollouts: entries by their place, in pages that are read on demand. A page is written again until it is
 * full; writing the same entries to the same places again changes nothing.
 *
 * Cost  one page a change with entries; the newest page of each rollout under way stays in memory.
 */
import type { JournalEntry } from "../../model/rollout.ts";
import type { Bucket } from "./bucket.ts";
import { decode, encode } from "./codec.ts";
import { journalKey, journalKeys } from "./keys.ts";
import { pooled } from "./pool.ts";
import { putOver } from "./records.ts";
import type { Appended } from "./state.ts";

const PAGE = 64;
const WIDTH = 16;
/** Pages in memory. */
const TAILS = 256;

interface Page {
  readonly revision: number;
  readonly entries: readonly JournalEntry[];
}

export class Journals {
  readonly #bucket: Bucket;
  /** By key. */
  readonly #tails = new Map<string, Page>();

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
  }

  /** Another writes now: pages are to be read again. */
  forget(): void {
    this.#tails.clear();
  }

  async append(rollout: string, { at, entries }: Appended, mine: () => Promise<boolean>): Promise<void> {
    let from = 0;
    while (from < entries.length) {
      const place = at + from;
      const room = PAGE - (place % PAGE);
      await this.#write(
        journalKey(rollout, Math.floor(place / PAGE)),
        place % PAGE,
        entries.slice(from, from + room),
        mine,
      );
      from += room;
    }
  }

  async #write(key: string, at: number, entries: readonly JournalEntry[], mine: () => Promise<boolean>): Promise<void> {
    const held = this.#tails.get(key) ?? (at === 0 ? undefined : await this.#page(key));
    const before = (held?.entries ?? []).slice(0, at);
    // Servers may have lost what was said; nothing is held up by that.
    const gap = entries.slice(0, 1).flatMap((next) => new Array<JournalEntry>(at - before.length).fill(lost(next)));
    const page = [...before, ...gap, ...entries];
    const revision = await putOver(this.#bucket, key, await encode(page), held?.revision ?? 0, mine);
    this.#tails.delete(key);
    if (page.length < PAGE) this.#tails.set(key, { revision, entries: page });
    for (const oldest of this.#tails.keys()) if (this.#tails.size > TAILS) this.#tails.delete(oldest);
  }

  /** The first `count`; `appended`: those that may not be in the pages yet. */
  async read(rollout: string, count: number, appended: Appended | undefined): Promise<readonly JournalEntry[]> {
    const stored = Math.min(count, appended?.at ?? count);
    const pages: (readonly JournalEntry[])[] = [];
    const numbers = Array.from({ length: Math.ceil(stored / PAGE) }, (_, n) => n);
    await pooled(numbers, WIDTH, async (n) => {
      pages[n] = (await this.#page(journalKey(rollout, n)))?.entries ?? [];
    });
    const entries = pages.flat().slice(0, stored);
    return [...entries, ...(appended?.entries ?? [])];
  }

  async drop(rollout: string): Promise<void> {
    await this.#bucket.purge(journalKeys(rollout));
  }

  async #page(key: string): Promise<Page | undefined> {
    const found = await this.#bucket.get(key);
    if (found?.value == null) return undefined;
    return { revision: found.revision, entries: decode(found.value) as JournalEntry[] };
  }
}

const lost = (next: JournalEntry): JournalEntry => ({
  ...{ ...next, actor: "", reason: "EntryLost" },
  message: "no server of the store has this entry any more",
});
