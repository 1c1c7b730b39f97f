/**
 * An agent's key of the assignments bucket, as it is followed: heard by a plain subscription (no consumer an agent), and
 * read at the start, after each reconnect, and now and then, because core NATS may lose a message.
 *
 * What is heard may not be what is kept: a put that loses its compare-and-set is heard all the same, and a replica that
 * is read may be behind. (epoch, generation) decides: nothing below the newest, or the floor, is passed on (I4).
 *
 * Errors  none: what can't be read is tried again, and what breaks the contract is `invalid`, with the pair to answer by.
 * Cost    two messages an agent each 30 s; nothing while its assignment stays.
 */
import type { MsgHdrs, NatsConnection } from "nats";
import type { Clock, Millis, Timer } from "../kernel/clock.ts";
import type { Log } from "../kernel/log.ts";
import type { Random } from "../kernel/random.ts";
import type { Assignment, Fence, Rejected } from "./assignment.ts";
import type { NatsLink } from "./nats-link.ts";
import type { NatsNames } from "./nats.ts";
import { decodeAssignmentValue } from "./wire.ts";

const READ_TIMEOUT_MS = 2_000;
const AGAIN_MS = 1_000;
const LOOK_MS = 30_000;

export interface KeyEvents {
  /** Newer than all before it. */
  assignment(assignment: Assignment): void;
  /** The newest was said once more: whoever did has not heard the answer. */
  again(newest: Fence): void;
  invalid(rejected: Rejected): void;
}

export interface KeyOptions {
  readonly link: NatsLink;
  readonly names: NatsNames;
  readonly host: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** What the agent has already. */
  readonly newest: Fence | null;
  /** No lower epoch is wanted. */
  readonly floor: () => number;
}

export class AssignmentKey {
  readonly #options: KeyOptions;
  readonly #events: KeyEvents;
  readonly #hearNoMore: () => void;
  readonly #unfollow: () => void;
  #newest: Fence & { readonly hash?: string };
  #timer: Timer | undefined;
  #reading = false;
  #closed = false;

  constructor(options: KeyOptions, events: KeyEvents) {
    const { link, names, host, newest } = options;
    this.#options = options;
    this.#events = events;
    this.#newest = newest ?? { epoch: 0, generation: -1 };
    // First heard, then read: what is put between the two is heard.
    this.#hearNoMore = link.listen(names.assignmentSubject(host), ({ headers, data }) => {
      if (!isRemoval(headers)) this.#take(data, true);
    });
    this.#unfollow = link.follow((connected) => {
      if (connected) this.look();
    });
    this.look();
  }

  /** Reads it now. */
  look(): void {
    if (this.#reading || this.#closed || !this.#options.link.connected) return;
    this.#reading = true;
    this.#timer?.cancel();
    void this.#read().then((nextMs) => {
      this.#reading = false;
      if (!this.#closed) this.#timer = this.#options.clock.after(nextMs, () => this.look());
    });
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#unfollow();
    this.#hearNoMore();
  }

  async #read(): Promise<Millis> {
    const { link, names, host, random, log } = this.#options;
    try {
      const kept = await keptAssignment(link.connection, names, host, "any");
      if (kept?.removed === false) this.#take(kept.data, false);
      return LOOK_MS * (0.75 + random.next() / 2);
    } catch (error) {
      // Disconnected: the reconnect reads it. Else JetStream is without a majority, or coming up.
      log.debug({ err: error }, "the assignment's key can't be read now");
      return AGAIN_MS * (1 + random.next());
    }
  }

  #take(data: Uint8Array, heard: boolean): void {
    if (this.#closed) return;
    const { log, floor } = this.#options;
    const read = decodeAssignmentValue(data);
    const asked = read.kind === "ok" ? read.value : read.asked;
    if (asked === null) {
      if (heard)
        log.warn({ why: read.kind === "ok" ? "" : read.why }, "what is kept as this agent's assignment is none");
      return;
    }
    const { epoch, generation, hash } = asked;
    const order = compare(asked, this.#newest);
    if (order < 0 || epoch < floor()) {
      log.debug({ epoch, generation }, "an assignment that is out of date is left");
      return;
    }
    if (order === 0 && (this.#newest.hash ?? hash) === hash) {
      if (heard) this.#events.again(asked);
      return;
    }
    this.#newest = { epoch, generation, hash };
    if (read.kind === "ok") this.#events.assignment(read.value);
    else this.#events.invalid({ epoch, generation, hash, why: read.why });
  }
}

const compare = (a: Fence, b: Fence): number => a.epoch - b.epoch || a.generation - b.generation;

export interface Kept {
  readonly data: Uint8Array;
  /** Deleted by hand: nothing is asked, and so nothing changes. */
  readonly removed: boolean;
  /** Of the bucket's stream. */
  readonly revision: number;
}

/**
 * From whichever replica answers first, which may be behind; or from the stream's leader, at a higher price. Null while
 * there is no such key, or no bucket. Rejects when nobody answers.
 */
export async function keptAssignment(
  connection: NatsConnection,
  names: NatsNames,
  host: string,
  from: "any" | "leader",
): Promise<Kept | null> {
  try {
    return from === "any" ? await anyone(connection, names, host) : await leader(connection, names, host);
  } catch (error) {
    const { code, api_error } = error as { readonly code?: unknown; readonly api_error?: { readonly code?: unknown } };
    if (api_error?.code === NOT_FOUND || (from === "any" && code === NO_RESPONDERS)) return null;
    throw error;
  }
}

async function anyone(connection: NatsConnection, names: NatsNames, host: string): Promise<Kept | null> {
  const subject = `$JS.API.DIRECT.GET.KV_${names.assignmentsBucket}.${names.assignmentSubject(host)}`;
  const { data, headers } = await connection.request(subject, undefined, { timeout: READ_TIMEOUT_MS });
  const status = headers?.code ?? 0;
  if (status === NOT_FOUND) return null;
  if (status !== 0) throw new Error(`${String(status)} ${headers?.description ?? ""}`);
  return { data, removed: isRemoval(headers), revision: Number(headers?.get("Nats-Sequence")) };
}

async function leader(connection: NatsConnection, names: NatsNames, host: string): Promise<Kept | null> {
  const jsm = await connection.jetstreamManager({ timeout: READ_TIMEOUT_MS, checkAPI: false });
  const query = { last_by_subj: names.assignmentSubject(host) };
  const { data, header, seq } = await jsm.streams.getMessage(`KV_${names.assignmentsBucket}`, query);
  return { data, removed: isRemoval(header), revision: seq };
}

const isRemoval = (headers: MsgHdrs | undefined): boolean => (headers?.get("KV-Operation") ?? "") !== "";
const NOT_FOUND = 404;
const NO_RESPONDERS = "503";
