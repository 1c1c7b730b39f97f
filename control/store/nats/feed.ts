/**
 * What others commit, as the servers tell of it: batches in the order of their heads, each read whole before it is handed
 * on. One that can't be had is told as a gap.
 */
import type { Bucket } from "./bucket.ts";
import { unpack } from "./batches.ts";
import { readHead } from "./head.ts";
import type { Head } from "./head.ts";
import type { Heard } from "./loading.ts";

/** Heads that wait to be read; beyond that they are a gap. */
const WAITING = 1_024;

export interface Hearing {
  heard(one: Heard): void;
  gap(why: string): void;
  /** Is it of one's own making, or known already? Then it is not read at all. */
  known(head: Head): boolean;
}

export class Feed {
  readonly #head: Bucket;
  readonly #records: Bucket;
  readonly #to: Hearing;
  readonly #unsubscribe: () => void;
  #waiting = 0;
  #last: Promise<void> = Promise.resolve();

  constructor(head: Bucket, records: Bucket, to: Hearing) {
    this.#head = head;
    this.#records = records;
    this.#to = to;
    this.#unsubscribe = head.listen((revision, value) => {
      if (this.#waiting >= WAITING) return;
      this.#waiting += 1;
      this.#last = this.#last.then(() => this.#read(revision, value)).finally(() => void (this.#waiting -= 1));
    });
  }

  close(): void {
    this.#unsubscribe();
  }

  async #read(revision: number, value: Uint8Array): Promise<void> {
    try {
      const head = readHead(this.#head.name, revision, value);
      if (this.#to.known(head)) return;
      this.#to.heard({ head, batch: await unpack(this.#records, head) });
    } catch (error) {
      this.#to.gap(this.#head.explain("a batch of another controller's", error));
    }
  }
}
