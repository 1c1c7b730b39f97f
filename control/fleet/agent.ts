/**
 * One agent as the controller knows it: its lease, its newest report, what is asked of it, what it has confirmed. All
 * of it is evidence or our own asking; nothing is inferred.
 *
 * At most one assignment is in flight, always the newest; a rejected one is parked until something else is asked for
 * (RACES C2). Acks are matched by epoch and generation; a stale one changes nothing (C7, I4).
 *
 * Time  monotonic for leases; wall clock only for what people read.
 */
import type { Applied, AssignedService, Assignment, Fence, Rejected } from "../../proto/contract/assignment.ts";
import type { Report } from "../../proto/contract/report.ts";
import type { ControllerMessage, Hello } from "../../proto/contract/session.ts";
import type { Millis } from "../../proto/kernel/clock.ts";
import { hashed } from "./hashes.ts";
import type { Hashed } from "./hashes.ts";
import { newsOf } from "./news.ts";
import type { News } from "./news.ts";

/** The open stream to an agent. */
export interface SessionPort {
  readonly id: string;
  /** Where it comes from, for people. */
  readonly peer: string;
  send(message: ControllerMessage): void;
  /** Ends the stream; the sentence reaches the agent's log. */
  end(why: string): void;
}

export interface InFlight {
  readonly assignment: Assignment;
  /** By service. */
  readonly hashes: Readonly<Record<string, string>>;
  readonly sentAt: Millis;
}

export type Sync = "SYNCED" | "STALE" | "NOT_SENT" | "REJECTED";
export type Lease = "live" | "unknown" | "lost";
type SyncState =
  "rejected" | "held" | "nothing asked" | "synced" | "sent" | "no session" | "unconfirmed" | "first report awaited";

export class Agent {
  readonly name: string;
  /** Of the newest session; null for a host known from the store alone. */
  hello: Hello | null = null;
  session: SessionPort | null = null;
  /** Monotonic; null until something is heard in this life of the controller. */
  heardAt: Millis | null = null;
  /** Monotonic: when its last stream ended; null while it has one. */
  endedAt: Millis | null = null;
  /** Wall clock, 0 for never. */
  reportedAtMs = 0;
  /** The newest since the controller started. */
  report: Report | null = null;
  /** Whether this session has reported yet. */
  reportedInSession = false;
  /** The newest that the agent said is live. */
  applied: Applied | null = null;
  inFlight: InFlight | null = null;
  /** Something was in flight when a session ended: it may have been lost, or its workers may be about to take it. */
  #unsettled = false;
  /** It has refused something since its newest report was made, and may do with a part of it what it can. */
  #refusedSince = false;
  /** `services`: by name, the hash of what was refused. */
  parked: { readonly hash: string; readonly services: Readonly<Record<string, string>>; readonly why: string } | null =
    null;
  wanted: Hashed | null = null;
  /** What the confirmed assignment said, as far as this controller sent or compiled it. */
  #confirmed: { readonly hash: string; readonly services: readonly AssignedService[] } | null = null;
  /** Why nothing is sent to it though something is wanted; "" when nothing stands in the way. */
  held = "";
  /** The highest epoch that this controller has told it; 0 for none. */
  toldEpoch = 0;
  /** Monotonic: when another that took its name was last told of. */
  rivalToldAt: Millis | null = null;
  /** As last looked at, so that its end is told once. */
  lease: Lease = "unknown";
  /** The newest that this controller sent it. */
  asked: Fence | null = null;
  /** Wall clock: since when its sync is what it is; 0 before it was ever looked at. */
  syncSinceMs = 0;
  #syncNoted = "";

  /** Something changed that a view of it, or what is sent to it, may depend on. */
  readonly #touched: (agent: Agent) => void;

  constructor(name: string, touched: (agent: Agent) => void) {
    this.name = name;
    this.#touched = touched;
  }

  /** A new session; the one before is the caller's to end. */
  open(hello: Hello, session: SessionPort, now: Millis): void {
    this.hello = hello;
    this.session = session;
    this.heardAt = now;
    this.endedAt = null;
    this.reportedInSession = false;
    this.#drop();
    // Whoever mended the host may have restarted it: what it refused is asked once more.
    if (this.parked !== null) this.#unsettled = true;
    this.parked = null;
    // The word of a new session stands: an agent that lost its state says so by saying nothing.
    this.applied = hello.applied;
    this.#touched(this);
  }

  /** Answers whether `session` was the present one. */
  closed(session: SessionPort, now: Millis): boolean {
    if (this.session !== session) return false;
    this.session = null;
    this.endedAt = now;
    this.#drop();
    this.#touched(this);
    return true;
  }

  /** Answers "" or what was wrong with it. */
  acked(applied: Applied): string {
    const asked = this.inFlight?.assignment;
    if (asked === undefined || !sameFence(asked, applied)) return "";
    this.inFlight = null;
    this.#unsettled = false;
    this.#touched(this);
    if (applied.hash !== asked.hash) {
      const why = `it confirmed generation ${asked.generation} with another hash than was sent`;
      this.parked = { hash: asked.hash, services: hashed(asked.services).hashes, why };
      return why;
    }
    this.parked = null;
    this.#confirmed = asked;
    this.#confirm(applied);
    return "";
  }

  /** Answers whether it was an answer to what is in flight. */
  refused(rejected: Rejected): boolean {
    const asked = this.inFlight?.assignment;
    if (asked === undefined || !sameFence(asked, rejected)) return false;
    this.inFlight = null;
    this.#unsettled = false;
    this.#refusedSince = true;
    this.#touched(this);
    this.parked = { hash: asked.hash, services: hashed(asked.services).hashes, why: rejected.why };
    return true;
  }

  /** It refused what another controller, which leads, has asked of it: known here by the hash of what it is to have. */
  overheard({ hash, why }: Rejected): void {
    if (this.wanted?.hash !== hash || this.applied?.hash === hash) return;
    this.parked = { hash, services: this.wanted.hashes, why };
    this.#touched(this);
  }

  /** Answers what it adds; null for one that is a replay, which changes nothing. */
  reported(report: Report, nowMs: Millis): News | null {
    const before = this.report;
    // Within a boot reports are numbered; one from before can only be a replay.
    if (before?.boot === report.boot && this.reportedInSession && report.seq <= before.seq) return null;
    const news = this.reportedInSession && !this.#refusedSince ? newsOf(before, report) : "news";
    this.report = report;
    this.reportedInSession = true;
    this.reportedAtMs = nowMs;
    this.#refusedSince = false;
    if (report.applied !== null) {
      // A report may say it before the ack does, or in its place. One that says less is of an agent that has to do
      // without some of it, and is about to say so.
      if (report.applied.hash === this.inFlight?.assignment.hash) this.acked(report.applied);
      this.#confirm(report.applied);
    }
    if (news === "news") this.#touched(this);
    return news;
  }

  want(services: readonly AssignedService[], held: string): void {
    const known = this.wanted?.services;
    const same = known?.length === services.length && services.every((service, i) => service === known[i]);
    if (same && held === this.held) return;
    const next = same && this.wanted !== null ? this.wanted : hashed(services);
    const changed = next.hash !== this.wanted?.hash || held !== this.held;
    this.wanted = next;
    this.held = held;
    if (changed) this.#touched(this);
  }

  /** It is being sent what is wanted. */
  sent(inFlight: InFlight): void {
    this.toldEpoch = inFlight.assignment.epoch;
    this.asked = inFlight.assignment;
    this.inFlight = inFlight;
    this.#touched(this);
  }

  /** What it refused is asked once more. */
  askAgain(): void {
    this.parked = null;
    this.#touched(this);
  }

  /** Why it refused what is still asked of it for this service; "" as far as is known. */
  refusal(service: string): string {
    const asked = this.wanted?.hashes[service];
    if (this.parked === null || asked === undefined || this.applied?.services[service] === asked) return "";
    return this.parked.services[service] === asked ? this.parked.why : "";
  }

  /** What is live on it, as far as it is known here; null when only its hash is. */
  live(): readonly AssignedService[] | null {
    const hash = this.applied?.hash;
    if (this.wanted !== null && this.wanted.hash === hash) return this.wanted.services;
    if (this.#confirmed !== null && this.#confirmed.hash === hash) return this.#confirmed.services;
    // It does without what can't listen there; of the rest it is known what is live.
    if (this.parked === null || this.wanted?.hash !== this.parked.hash) return null;
    return this.wanted.services.filter(({ name }) => this.applied?.services[name] === this.wanted?.hashes[name]);
  }

  /**
   * The hash of what it does for this service, as its newest report says; "" while that may be out of date already.
   *
   * Two equal hashes alone prove nothing: asked A, then B, then A again, the agent may be about to take B while an older
   * report still says A. So a report counts only when nothing else is on its way to the agent, and when it is no older
   * than what the agent has confirmed or refused since.
   */
  liveHash(service: string): string {
    const live = this.report?.applied ?? null;
    if (live === null || this.#refusedSince || this.#mayChange()) return "";
    if (this.applied !== null && !newer(live, this.applied)) return "";
    const hash = live.services[service] ?? "";
    return this.inFlight === null || (this.inFlight.hashes[service] ?? "") === hash ? hash : "";
  }

  /** What is to be sent now, if anything. */
  due(): Hashed | null {
    const { wanted } = this;
    if (this.session === null || wanted === null || this.held !== "" || this.inFlight !== null) return null;
    // A host that has not said what runs on it may be serving what we don't know.
    if (!this.reportedInSession) return null;
    if (wanted.hash === this.parked?.hash) return null;
    return wanted.hash === this.applied?.hash && !this.#mayChange() ? null : wanted;
  }

  /** To be called after whatever may change what `sync` answers. */
  noteSync(nowMs: Millis): void {
    const state = this.#syncState();
    // What is sent anew is a state of its own.
    const now = state === "sent" ? `sent ${this.inFlight?.assignment.generation ?? 0}` : state;
    if (now === this.#syncNoted) return;
    this.#syncNoted = now;
    this.syncSinceMs = nowMs;
  }

  sync(now: Millis): { readonly sync: Sync; readonly reason: string } {
    switch (this.#syncState()) {
      case "rejected":
        return { sync: "REJECTED", reason: this.parked?.why ?? "" };
      case "held":
        return { sync: "STALE", reason: this.held };
      case "nothing asked":
        return { sync: "NOT_SENT", reason: "nothing was asked of it yet" };
      case "synced":
        return { sync: "SYNCED", reason: "" };
      case "sent": {
        const { assignment, sentAt } = this.inFlight ?? { assignment: { generation: 0 }, sentAt: now };
        const seconds = ((now - sentAt) / 1_000).toFixed(1);
        const reason = `generation ${assignment.generation} was sent ${seconds} s ago and is not confirmed yet`;
        return { sync: "STALE", reason };
      }
      case "no session":
        return { sync: "STALE", reason: "it has no session with this controller" };
      case "unconfirmed":
        return { sync: "STALE", reason: "it has not confirmed yet what is asked of it" };
      case "first report awaited":
        return { sync: "NOT_SENT", reason: "its first report is awaited" };
    }
  }

  #syncState(): SyncState {
    const { wanted, applied, parked } = this;
    if (wanted !== null && parked?.hash === wanted.hash) return "rejected";
    if (this.held !== "") return "held";
    if (wanted === null) return "nothing asked";
    if (applied?.hash === wanted.hash) return "synced";
    if (this.inFlight !== null) return "sent";
    if (this.session === null) return "no session";
    // A controller that follows sends nothing, and sees by the reports what is confirmed.
    return this.reportedInSession ? "unconfirmed" : "first report awaited";
  }

  /**
   * It may still be taking what an earlier session or an earlier controller sent; or what it refused, as soon as the port
   * is free that it wants. Its answer to something newer proves that it does not: so it is asked once more, though all
   * that is known of it is as it should be.
   */
  #mayChange(): boolean {
    const refusedElse = this.parked !== null && this.parked.hash !== this.wanted?.hash;
    return this.#unsettled || refusedElse || (this.applied !== null && this.applied.epoch < this.toldEpoch);
  }

  #drop(): void {
    if (this.inFlight !== null) this.#unsettled = true;
    this.inFlight = null;
  }

  #confirm(applied: Applied): void {
    // A report made before the table changed may arrive after the ack.
    if (this.applied === null || newer(applied, this.applied)) this.applied = applied;
    // It had to do without at first, and has all of it now.
    if (this.applied.hash === this.parked?.hash) this.parked = null;
  }
}

const sameFence = (a: Fence, b: Fence): boolean => a.epoch === b.epoch && a.generation === b.generation;
const newer = (a: Fence, b: Fence): boolean =>
  a.epoch > b.epoch || (a.epoch === b.epoch && a.generation >= b.generation);
