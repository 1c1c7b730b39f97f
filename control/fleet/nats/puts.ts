/**
 * Assignments on their way into the agents' keys: one put in flight an agent with only the newest kept behind it, many
 * agents at once. Each is a compare-and-set on its key's revision, and what a newer epoch has written is never written
 * over: a leader that was replaced and does not know it yet loses here, whatever its clock says.
 *
 * Errors  none thrown. What can't be stored now (no majority, no room, no bucket) is tried again with one backoff for
 *         all, told in `trouble`; what never can be (larger than a message may be) is told to `refused`.
 * Cost    a round trip a put, and one more for the first of each agent; WINDOW of them at once.
 */
import { headers, NatsError } from "nats";
import type { ApiError, MsgHdrs } from "nats";
import type { Assignment } from "../../../proto/contract/assignment.ts";
import { keptAssignment } from "../../../proto/contract/nats-assignments.ts";
import { MOVED_ON, sentence } from "../../../proto/contract/nats-errors.ts";
import type { NatsLink } from "../../../proto/contract/nats-link.ts";
import type { NatsNames } from "../../../proto/contract/nats.ts";
import { decodeAssignmentValue, encodeAssignmentValue } from "../../../proto/contract/wire.ts";
import { Backoff } from "../../../proto/kernel/backoff.ts";
import { sleep } from "../../../proto/kernel/clock.ts";
import type { Clock, Timer } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import type { Random } from "../../../proto/kernel/random.ts";
import { StuckLeader } from "../../stuck-leader.ts";
import { openAssignments } from "./bucket.ts";

const WINDOW = 256;
const PUT_TIMEOUT_MS = 3_000;
const BACKOFF = { baseMs: 100, maxMs: 5_000 };
/** A bucket that was deleted by hand while nothing is put is found, and filled again, within this. */
const LOOK_MS = 30_000;
/** What is in flight at the end is waited for so long. */
const CLOSE_MS = 1_000;
/** Of a message, beside its value: the header with the revision, the subject. */
const ROOM = 1_024;

export interface PutsOptions {
  readonly link: NatsLink;
  readonly names: NatsNames;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  refused(host: string, assignment: Assignment, why: string): void;
}

interface Key {
  /** To be put next. */
  next: Assignment | null;
  /** The newest that was put, or is being. */
  newest: Assignment | null;
  busy: boolean;
  /** Of what is kept; null: not known. */
  revision: number | null;
  /** A replica was behind. */
  behind: boolean;
}

type Outcome = "done" | "moved on" | "unavailable";

export class Puts {
  /** Why nothing can be stored now, for people; "" while it can. */
  trouble = "";
  readonly #options: PutsOptions;
  readonly #keys = new Map<string, Key>();
  /** Hosts with something to put, whose turn it is in this order. */
  readonly #ready = new Set<string>();
  readonly #backoff: Backoff;
  readonly #stuck: StuckLeader;
  readonly #unfollow: () => void;
  readonly #looking: Timer;
  #inFlight = 0;
  #paused: Timer | null = null;
  #opening: Promise<void> | null = null;
  /** When the bucket that is known was made. */
  #bucket = "";
  #opened = false;
  #closed = false;
  #idle: (() => void) | null = null;

  constructor(options: PutsOptions) {
    this.#options = options;
    this.#backoff = new Backoff(BACKOFF, options.random);
    this.#stuck = new StuckLeader({ ...options, stream: `KV_${options.names.assignmentsBucket}` });
    this.#unfollow = options.link.follow((connected) => {
      if (connected) this.#resume();
    });
    this.#looking = options.clock.every(LOOK_MS, () => void this.#open().catch(() => undefined));
  }

  /** Waiting and in flight. */
  get pending(): number {
    return this.#ready.size + this.#inFlight;
  }

  put(host: string, assignment: Assignment): void {
    const key = this.#keys.get(host) ?? { next: null, newest: null, busy: false, revision: null, behind: false };
    this.#keys.set(host, key);
    key.next = assignment;
    this.#queue(host, key);
  }

  /** Once more what was put last: whoever it is for has not answered. */
  again(host: string): void {
    const key = this.#keys.get(host);
    if (key === undefined || key.newest === null || key.busy) return;
    key.next ??= key.newest;
    this.#queue(host, key);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#unfollow();
    this.#looking.cancel();
    this.#paused?.cancel();
    this.#ready.clear();
    if (this.#inFlight === 0 || !this.#options.link.connected) return;
    const over = new AbortController();
    this.#idle = () => over.abort();
    await sleep(this.#options.clock, CLOSE_MS, over.signal);
  }

  #queue(host: string, key: Key): void {
    if (this.#closed || key.busy) return;
    this.#ready.add(host);
    this.#pump();
  }

  #pump(): void {
    const { link } = this.#options;
    while (this.#inFlight < WINDOW && this.#paused === null && link.connected && !this.#closed) {
      const [host] = this.#ready;
      if (host === undefined) return;
      this.#ready.delete(host);
      const key = this.#keys.get(host);
      if (key !== undefined) void this.#work(host, key);
    }
  }

  async #work(host: string, key: Key): Promise<void> {
    const assignment = key.next;
    if (assignment === null) return;
    key.next = null;
    key.newest = assignment;
    key.busy = true;
    this.#inFlight += 1;
    const outcome = await this.#store(host, key, assignment);
    this.#inFlight -= 1;
    key.busy = false;
    if (outcome === "done") {
      if (this.trouble !== "") this.#options.log.info({}, "assignments can be stored again");
      this.trouble = "";
      this.#backoff.reset();
    } else {
      key.revision = null;
      key.behind = outcome === "moved on";
      key.next ??= assignment;
      if (outcome === "unavailable") this.#pause();
    }
    if (key.next !== null) this.#queue(host, key);
    else this.#pump();
    if (this.#inFlight === 0) this.#idle?.();
  }

  async #store(host: string, key: Key, assignment: Assignment): Promise<Outcome> {
    const { link, names } = this.#options;
    const { connection } = link;
    const bytes = encodeAssignmentValue(assignment);
    const most = connection.info?.max_payload ?? Number.MAX_SAFE_INTEGER;
    if (bytes.length + ROOM > most) {
      const why =
        `the assignment of ${host} has ${bytes.length} bytes, and the NATS servers take ${most} a message: ` +
        "raise max_payload in their configuration";
      this.#options.refused(host, assignment, why);
      return "done";
    }
    try {
      if (this.#bucket === "") await this.#open();
      key.revision ??= await this.#revision(host, assignment, key.behind ? "leader" : "any");
      if (key.revision === null) return "done";
      const answer = await connection.request(names.assignmentSubject(host), bytes, {
        timeout: PUT_TIMEOUT_MS,
        headers: expecting(key.revision),
      });
      this.#stuck.answered();
      const { seq, error } = answer.json<{ seq?: number; error?: ApiError }>();
      if (MOVED_ON.includes(error?.err_code ?? 0)) return "moved on";
      if (seq === undefined) throw refusalOf(error);
      key.revision = seq;
      return "done";
    } catch (error) {
      this.#stuck.failed(error);
      this.#failed(error);
      return "unavailable";
    }
  }

  /** What is kept there now; null when it is a newer epoch's, and so not to be written over (I4). */
  async #revision(host: string, { epoch, generation }: Assignment, from: "any" | "leader"): Promise<number | null> {
    const { link, names, log } = this.#options;
    const kept = await keptAssignment(link.connection, names, host, from);
    if (kept === null) return 0;
    const read = decodeAssignmentValue(kept.data);
    const theirs = read.kind === "ok" ? read.value : read.asked;
    if (theirs === null || theirs.epoch <= epoch) return kept.revision;
    log.warn({ host, epoch, generation, kept: theirs.epoch }, "not stored: a controller of a newer epoch has written");
    return null;
  }

  #failed(error: unknown): void {
    const { names, log, link } = this.#options;
    // It may have been deleted: it is looked for, and made again, with the next put. An agent that listens takes the
    // message and answers nothing, so that this looks like a lost answer too.
    if (error instanceof NatsError && ["503", "TIMEOUT"].includes(error.code)) this.#bucket = "";
    if (!link.connected) return;
    const trouble = sentence(link.connection, names.assignmentsBucket, "assignments", error);
    if (trouble !== this.trouble) log.warn({ waiting: this.#ready.size }, trouble);
    this.trouble = trouble;
  }

  #open(): Promise<void> {
    this.#opening ??= this.#openNow().finally(() => (this.#opening = null));
    return this.#opening;
  }

  async #openNow(): Promise<void> {
    const { link, names, log } = this.#options;
    if (!link.connected) throw new Error(link.trouble);
    const { created, isNew } = await openAssignments(link.connection, names);
    if (created === this.#bucket) return;
    this.#bucket = created;
    const lost = [...this.#keys].filter(([, { newest }]) => newest !== null);
    const before = this.#opened;
    this.#opened = true;
    if (!isNew && lost.length === 0) return;
    // Another bucket than was known: whatever it was that took the first, all is put again.
    if (lost.length > 0 && before)
      log.warn({ hosts: lost.length }, `${names.assignmentsBucket} was made anew; it is filled again`);
    for (const [host, key] of lost) {
      key.revision = null;
      this.again(host);
    }
  }

  #pause(): void {
    if (this.#closed) return;
    this.#paused ??= this.#options.clock.after(this.#backoff.next(), () => this.#resume());
  }

  #resume(): void {
    this.#paused?.cancel();
    this.#paused = null;
    this.#pump();
  }
}

/** As the client would tell it of a publish of its own. */
function refusalOf(error: ApiError | undefined): NatsError {
  const refusal = new NatsError(error?.description ?? "the answer says nothing", String(error?.code ?? ""));
  if (error !== undefined) refusal.api_error = error;
  return refusal;
}

function expecting(revision: number): MsgHdrs {
  const made = headers();
  made.set("Nats-Expected-Last-Subject-Sequence", String(revision));
  return made;
}
