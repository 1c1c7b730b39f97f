/**
 * The newest KEEP.events events, in pages of a ring: a page is a record, its slot is used again when the ring comes
 * round. So old events go without being deleted, and a commit writes one page.
 */
import { KEEP } from "../store.ts";
import type { EventQuery, StoredEvent } from "../store.ts";

const PAGE = 50;
/** One more than what is kept needs, since the newest page is not full. */
const SLOTS = KEEP.events / PAGE + 1;

const pageOf = (seq: number): number => Math.floor((seq - 1) / PAGE);
const slotOf = (seq: number): number => pageOf(seq) % SLOTS;

export class EventRing {
  /** By slot; of one page each, ascending. */
  readonly #slots = new Map<number, readonly StoredEvent[]>();
  /** The newest that was ever given out. */
  newest = 0;

  /** Answers the slot. An event that is there already, or older than what stands in its slot, changes nothing. */
  add(event: StoredEvent): number {
    const slot = slotOf(event.seq);
    const held = this.#slots.get(slot) ?? [];
    const page = pageOf(held[0]?.seq ?? event.seq);
    this.newest = Math.max(this.newest, event.seq);
    if (page < pageOf(event.seq)) this.#slots.set(slot, [event]);
    else if (page === pageOf(event.seq) && (held.at(-1)?.seq ?? 0) < event.seq) this.#slots.set(slot, [...held, event]);
    return slot;
  }

  slot(slot: number): readonly StoredEvent[] | undefined {
    return this.#slots.get(slot);
  }

  slots(): readonly number[] {
    return [...this.#slots.keys()];
  }

  query({ afterSeq, service, limit }: EventQuery): readonly StoredEvent[] {
    const after = Math.max(afterSeq, this.newest - KEEP.events);
    const found: StoredEvent[] = [];
    for (let page = pageOf(this.newest); page >= 0 && page > pageOf(this.newest) - SLOTS; page--) {
      const held = this.#slots.get(page % SLOTS) ?? [];
      for (const event of held.toReversed()) {
        if (event.seq <= after || found.length >= limit) return found.reverse();
        if (pageOf(event.seq) === page && (service === "" || event.service === service)) found.push(event);
      }
    }
    return found.reverse();
  }
}
