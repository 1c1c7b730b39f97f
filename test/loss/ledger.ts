/**
 * The client's own account of what became of everything it started, independent of anything Baton says of itself.
 *
 * Rules    L1 every exchange ends in exactly one of ok, drained, appError, lost; ending one twice is a defect and throws.
 *          L2 what is not proven good is lost: there is no "unknown".
 *          L3 a stray byte on an idle connection belongs to no exchange, and still makes the ledger unclean.
 * Units    milliseconds; latency is what the exchange took beyond what it asked for itself (a poll's wait, a paced body).
 * Bounds   memory does not grow with time: losses are kept up to LOSSES_KEPT, names up to NAMES_KEPT, the timeline is
 *          folded to half when it is full.
 */
import { bucketOf, LATENCY_BUCKETS, quantile } from "../../proto/contract/histogram.ts";
import type { Clock, Millis } from "../../proto/kernel/clock.ts";

export const KINDS = ["get", "short", "post", "upload", "download", "poll", "websocket", "events"] as const;
export type Kind = (typeof KINDS)[number];

export const CAUSES = [
  "connect_refused", // nobody took the connection
  "connect_failed", // it was reset or timed out while being made
  "reused_closed", // a reused connection ended with no byte of an answer (RACES R1, R2)
  "no_answer", // a new connection ended with no byte of an answer
  "answer_cut", // it ended in mid-answer, by FIN or RST
  "bad_answer", // not HTTP, or not the answer to this request
  "bad_checksum", // the bytes that arrived are not those that were sent
  "done_twice", // the app saw one non-idempotent request more than once
  "proxy_error", // an answer of the proxy's own (`baton-error`, or without the app's mark), in place of the app's
  "timeout", // nothing moved for the whole of timeoutMs
  "upgrade_refused", // no WebSocket, and no app's word for it
  "socket_unanswered", // a WebSocket closed, however politely, with a message unanswered
  "socket_cut", // a WebSocket ended without a close frame that says why
  "socket_wrong", // an echo that was not the next one due
  "event_torn", // an event stream ended inside an event
  "event_gap", // an event is missing or came twice, over reconnects too
  "stream_cut", // an event stream ended between two events, but not by the rules of its framing
] as const;
export type Cause = (typeof CAUSES)[number];

/** What is known of the connection when something is lost on it. */
export interface Trace {
  readonly connectionAgeMs: Millis;
  /** Exchanges that the connection had carried before. */
  readonly reuses: number;
  /** Time without traffic before this exchange. */
  readonly idleMs: Millis;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Last version seen on this connection, else by anyone. */
  readonly version: string;
}

export type Outcome =
  | { readonly kind: "ok" }
  /** A stream that was ended politely and loses nothing. */
  | { readonly kind: "drained" }
  | { readonly kind: "appError"; readonly status: number }
  | { readonly kind: "lost"; readonly cause: Cause; readonly detail: string; readonly trace: Trace };

export interface LossRecord extends Trace {
  /** Wall clock. */
  readonly atMs: Millis;
  /** The exchange's `x-request-id`. */
  readonly id: string;
  readonly kind: Kind;
  readonly cause: Cause;
  readonly detail: string;
  readonly afterMs: Millis;
}

export interface KindLedger {
  readonly started: number;
  readonly ok: number;
  readonly drained: number;
  readonly appErrors: number;
  readonly lost: number;
  /** Sent again on a fresh connection, as the client was allowed to; they end in one of the above. */
  readonly retried: number;
  readonly p50Ms: Millis;
  readonly p99Ms: Millis;
  readonly maxMs: Millis;
}

export const COUNTERS = [
  "connections", // opened
  "idleClosed", // closed by the server between two exchanges: its right
  "farewells", // answers with `Connection: close`, respected
  "reused", // exchanges on a connection that had carried one before
  "messages", // WebSocket messages answered
  "events", // server-sent events received in order
  "violations", // bytes on an idle connection that nobody asked for
  "skipped", // arrivals not begun because too much was in flight: the client could not keep its rate
] as const;
export type Counter = (typeof COUNTERS)[number];

export interface ClientLedger {
  readonly startedAtMs: Millis;
  readonly seconds: number;
  readonly askedRate: number;
  readonly achievedRate: number;
  readonly total: KindLedger;
  readonly kinds: Readonly<Record<Kind, KindLedger>>;
  readonly causes: Readonly<Partial<Record<Cause, number>>>;
  readonly appErrorStatuses: Readonly<Record<string, number>>;
  readonly losses: readonly LossRecord[];
  readonly versions: Readonly<Record<string, number>>;
  readonly instances: Readonly<Record<string, number>>;
  /** Answers per version in each slice of `sliceMs`, from the start on. */
  readonly timeline: readonly Readonly<Record<string, number>>[];
  readonly sliceMs: Millis;
  readonly counters: Readonly<Record<Counter, number>>;
  readonly inFlight: number;
  /** started = ok + drained + appErrors + lost + inFlight, and nothing is in flight. */
  readonly balanced: boolean;
  /** Balanced, something was started, nothing lost, no violation. */
  readonly clean: boolean;
}

const LOSSES_KEPT = 50;
const NAMES_KEPT = 200;
const SLICES = 600;

class Tally {
  started = 0;
  readonly ended = { ok: 0, drained: 0, appError: 0, lost: 0 };
  retried = 0;
  maxMs = 0;
  readonly latency = new Uint32Array(LATENCY_BUCKETS);

  sample(ms: Millis): void {
    this.maxMs = Math.max(this.maxMs, ms);
    const bucket = bucketOf(Math.min(Math.max(0, ms) * 1_000, 2 ** 31));
    this.latency[bucket] = (this.latency[bucket] ?? 0) + 1;
  }

  add(other: Tally): void {
    this.started += other.started;
    for (const end of ["ok", "drained", "appError", "lost"] as const) this.ended[end] += other.ended[end];
    this.retried += other.retried;
    this.maxMs = Math.max(this.maxMs, other.maxMs);
    other.latency.forEach((count, bucket) => (this.latency[bucket] = (this.latency[bucket] ?? 0) + count));
  }

  read(): KindLedger {
    const { ok, drained, appError, lost } = this.ended;
    const [p50Ms, p99Ms] = [quantile(this.latency, 0.5) / 1_000, quantile(this.latency, 0.99) / 1_000];
    const { started, retried, maxMs } = this;
    return { started, ok, drained, appErrors: appError, lost, retried, p50Ms, p99Ms, maxMs };
  }
}

/** One thing that was started; `end` is said exactly once (L1). */
export class Exchange {
  readonly kind: Kind;
  readonly id: string;
  readonly startedAt: Millis;
  readonly #ledger: Ledger;
  #ended: Outcome["kind"] | undefined;

  constructor(ledger: Ledger, kind: Kind, id: string, startedAt: Millis) {
    this.#ledger = ledger;
    this.kind = kind;
    this.id = id;
    this.startedAt = startedAt;
  }

  end(outcome: Outcome): void {
    if (this.#ended !== undefined) {
      throw new Error(`exchange ${this.id} ended as ${this.#ended} and again as ${outcome.kind}`);
    }
    this.#ended = outcome.kind;
    this.#ledger.settle(this, outcome);
  }

  latency(ms: Millis): void {
    this.#ledger.sample(this.kind, ms);
  }

  retried(): void {
    this.#ledger.retry(this.kind);
  }
}

export class Ledger {
  readonly #clock: Clock;
  readonly #name: string;
  readonly #onLoss: (loss: LossRecord) => void;
  readonly #startedAt: Millis;
  readonly #startedAtWall: Millis;
  readonly #kinds = new Map<Kind, Tally>(KINDS.map((kind) => [kind, new Tally()]));
  readonly #counters = new Map<Counter, number>(COUNTERS.map((counter) => [counter, 0]));
  readonly #causes = new Map<Cause, number>();
  readonly #statuses = new Map<string, number>();
  readonly #losses: LossRecord[] = [];
  readonly #versions = new Map<string, number>();
  readonly #instances = new Map<string, number>();
  #timeline: Map<string, number>[] = [];
  #sliceMs = 1_000;
  #sequence = 0;
  #stoppedAt: Millis | undefined;
  /** The newest version seen by anyone. */
  lastVersion = "";

  /** `name` begins every exchange's id; `onLoss` hears of all losses, kept or not. */
  constructor(clock: Clock, name: string, onLoss: (loss: LossRecord) => void = () => undefined) {
    this.#clock = clock;
    this.#name = name;
    this.#onLoss = onLoss;
    this.#startedAt = clock.monotonic();
    this.#startedAtWall = clock.now();
  }

  begin(kind: Kind): Exchange {
    this.#tally(kind).started += 1;
    this.#sequence += 1;
    return new Exchange(this, kind, `${this.#name}-${this.#sequence}`, this.#clock.monotonic());
  }

  count(counter: Counter, by = 1): void {
    add(this.#counters, counter, by);
  }

  /** Who gave an answer. */
  saw(version: string, instance: string): void {
    this.lastVersion = version;
    add(this.#versions, name(this.#versions, version));
    add(this.#instances, name(this.#instances, instance));
    let slice = Math.floor((this.#clock.monotonic() - this.#startedAt) / this.#sliceMs);
    while (slice >= SLICES) {
      this.#fold();
      slice = Math.floor(slice / 2);
    }
    while (this.#timeline.length <= slice) this.#timeline.push(new Map());
    const counts = this.#timeline[slice];
    if (counts !== undefined) add(counts, name(counts, version));
  }

  sample(kind: Kind, ms: Millis): void {
    this.#tally(kind).sample(ms);
  }

  retry(kind: Kind): void {
    this.#tally(kind).retried += 1;
  }

  settle(exchange: Exchange, outcome: Outcome): void {
    this.#tally(exchange.kind).ended[outcome.kind] += 1;
    if (outcome.kind === "appError") add(this.#statuses, String(outcome.status));
    if (outcome.kind !== "lost") return;
    add(this.#causes, outcome.cause);
    const { id, kind, startedAt } = exchange;
    const { cause, detail, trace } = outcome;
    const afterMs = this.#clock.monotonic() - startedAt;
    const record = { atMs: this.#clock.now(), id, kind, cause, detail, afterMs, ...trace };
    if (this.#losses.length < LOSSES_KEPT) this.#losses.push(record);
    this.#onLoss(record);
  }

  /** Rates are over the time until here; what ends later is still counted. */
  freeze(): void {
    this.#stoppedAt ??= this.#clock.monotonic();
  }

  read(askedRate: number): ClientLedger {
    const sum = new Tally();
    for (const tally of this.#kinds.values()) sum.add(tally);
    const total = sum.read();
    const seconds = ((this.#stoppedAt ?? this.#clock.monotonic()) - this.#startedAt) / 1_000;
    const inFlight = total.started - total.ok - total.drained - total.appErrors - total.lost;
    const counters = Object.fromEntries(this.#counters) as Record<Counter, number>;
    const balanced = inFlight === 0;
    return {
      startedAtMs: this.#startedAtWall,
      seconds,
      askedRate,
      achievedRate: seconds > 0 ? total.started / seconds : 0,
      total,
      kinds: Object.fromEntries([...this.#kinds].map(([kind, tally]) => [kind, tally.read()])) as Record<
        Kind,
        KindLedger
      >,
      causes: Object.fromEntries(this.#causes),
      appErrorStatuses: Object.fromEntries(this.#statuses),
      losses: [...this.#losses],
      versions: Object.fromEntries(this.#versions),
      instances: Object.fromEntries(this.#instances),
      timeline: this.#timeline.map((slice) => Object.fromEntries(slice)),
      sliceMs: this.#sliceMs,
      counters,
      inFlight,
      balanced,
      clean: balanced && total.started > 0 && total.lost === 0 && counters.violations === 0,
    };
  }

  #tally(kind: Kind): Tally {
    const tally = this.#kinds.get(kind);
    if (tally === undefined) throw new Error(`no such kind: ${kind}`);
    return tally;
  }

  #fold(): void {
    const folded: Map<string, number>[] = [];
    this.#timeline.forEach((slice, at) => {
      const into = (folded[at >> 1] ??= new Map<string, number>());
      for (const [version, count] of slice) add(into, version, count);
    });
    this.#timeline = folded;
    this.#sliceMs *= 2;
  }
}

function add<Key>(counts: Map<Key, number>, key: Key, by = 1): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}

const name = (known: ReadonlyMap<string, number>, wanted: string): string =>
  known.has(wanted) || known.size < NAMES_KEPT ? wanted : "(others)";
