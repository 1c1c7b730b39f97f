/**
 * Writes the records of the newest commit, after its head and before the next one: begun at once, waited for by the next
 * commit, and begun again by that when it failed. Whoever takes over writes the last batch of the writer before, whether
 * it was written or not (records.ts).
 *
 * Errors  `settle` rejects when records can't be written: nothing is lost, the head holds them.
 */
import type { Clock } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import { dropParts, dropStrayParts } from "./batches.ts";
import type { Bucket } from "./bucket.ts";
import type { Head, Meta } from "./head.ts";
import { Journals } from "./journals.ts";
import { readNewest } from "./loading.ts";
import type { Loaded } from "./loading.ts";
import { pooled } from "./pool.ts";
import { Overtaken, Records } from "./records.ts";
import type { Applied, State } from "./state.ts";

/** Journals written at a time. */
const WIDTH = 16;

export interface SettlingOptions {
  readonly head: Bucket;
  readonly records: Bucket;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is to be written before the next head; another state of things makes another job. */
interface Job {
  /** Null: the revisions of the records are not known, others have written. */
  readonly records: Records | null;
  /** The newest batch, while its records may not all be written. */
  readonly unsettled: Applied | null;
  /** Parts of the head before, which nobody needs any more. */
  readonly parts: Meta["parts"];
  /** What the writer before may have left is swept out. */
  readonly sweep: boolean;
}

export class Settling {
  readonly journals: Journals;
  readonly #o: SettlingOptions;
  #job: Job = { records: null, unsettled: null, parts: null, sweep: true };
  #last: Promise<void> = Promise.resolve();

  constructor(options: SettlingOptions) {
    this.#o = options;
    this.journals = new Journals(options.records);
  }

  loaded({ records, newest }: Loaded): void {
    this.#job = { records, unsettled: newest, parts: null, sweep: true };
    this.journals.forget();
  }

  /** Another has committed; null: it raised the epoch, and the batch is the one before. */
  overtaken(applied: Applied | null): void {
    this.#job = { records: null, unsettled: applied ?? this.#job.unsettled, parts: null, sweep: true };
    this.journals.forget();
  }

  /** This one has raised the epoch over what it knows. */
  raised(): void {
    this.#job = { ...this.#job, sweep: true };
  }

  /** A commit of our own stands; `before`: the parts of the head whose place it took. */
  begin(state: State, head: Head, applied: Applied, before: Meta["parts"]): void {
    const parts = before?.id === head.meta.parts?.id ? null : before;
    this.#job = { records: this.#job.records, unsettled: applied, parts, sweep: false };
    this.settle(state, head).catch((error: unknown) => {
      this.#o.log.warn(
        { err: error },
        "records of a commit could not be written yet; the next commit writes them first",
      );
    });
  }

  settle(state: State, head: Head): Promise<void> {
    const turn = this.rest().then(() => {
      const { records, unsettled, sweep } = this.#job;
      return records !== null && unsettled === null && !sweep ? undefined : this.#settle(this.#job, state, head);
    });
    this.#last = turn;
    return turn;
  }

  /** The same; answers the head of whoever has committed meanwhile, and settles it in our place. */
  async settleOr(state: State, head: Head): Promise<Head | null> {
    try {
      await this.settle(state, head);
      return null;
    } catch (error) {
      if (!(error instanceof Overtaken)) throw error;
      const newest = await readNewest(this.#o.head);
      if (newest.meta.id === head.meta.id) throw error;
      return newest;
    }
  }

  /** The newest revision of a record, once all are settled. */
  get newest(): number {
    return this.#job.records?.newest ?? 0;
  }

  /** Resolves when nothing is written any more of what was asked for so far. */
  async rest(): Promise<void> {
    await this.#last.catch(() => undefined);
  }

  async #settle(job: Job, state: State, head: Head): Promise<void> {
    const { records: bucket } = this.#o;
    const mine = async (): Promise<boolean> => (await readNewest(this.#o.head)).meta.id === head.meta.id;
    const records = job.records ?? (await this.#survey(head));
    const { touched = new Set<string>(), appended, dropped = [] } = job.unsettled ?? {};
    if (job.sweep) {
      if (!(await mine())) throw new Overtaken("another controller has committed since");
      await dropStrayParts(bucket, head.meta);
    }
    const keys = job.sweep ? new Set([...touched, ...records.orphans(state)]) : touched;
    if (keys.size > 0) await records.write(state, keys, mine);
    await pooled(appended ?? [], WIDTH, ([rollout, entries]) => {
      return state.rollouts.has(rollout) ? this.journals.append(rollout, entries, mine) : Promise.resolve();
    });
    await pooled(dropped, WIDTH, (rollout) => this.journals.drop(rollout));
    if (job.parts !== null) await dropParts(bucket, job.parts);
    // Unless others have committed, or it was loaded again, meanwhile.
    if (this.#job === job) this.#job = { records, unsettled: null, parts: null, sweep: false };
  }

  /** Revisions alone: the state is known from what was heard. */
  async #survey(head: Head): Promise<Records> {
    const { records: bucket, clock } = this.#o;
    const records = new Records(bucket, clock);
    await bucket.pass(false, head.meta.records, (entry) => records.note(entry));
    return records;
  }
}
