/**
 * The session with the controllers over NATS. There is no stream: messages go up on a subject of the agent's own, and its
 * assignment is a key that it reads and hears whether a controller runs or not (proto/contract/nats-assignments.ts).
 *
 *   alone ─→ greeting (Hello said, no Welcome yet) ─→ open ─→ greeting … with each Call of a higher epoch
 *
 * What a stream promises and core NATS does not is made good by saying it again: Hello with each Call until it is welcomed, what is
 * applied with each report, a rejection with each report until something else is asked. Reports go on as long as the
 * link is there, whoever leads: followers hear them, and one of these leads next.
 *
 * Fence   a Call of an epoch that is over is left (I4). If none but such are heard for SILENT_MS, the store was lost and
 *         counts anew: Hello says the highest epoch, and the controller goes above it or is not listened to.
 * Bounds  nothing is published while the link is down (the client would keep all of it); a report that the servers would
 *         not take is not sent, and the trouble says what to raise.
 */
import type { Applied, Fence, Rejected } from "../../../proto/contract/assignment.ts";
import { sessionId } from "../../../proto/contract/ids.ts";
import { SESSION } from "../../../proto/contract/limits.ts";
import { AssignmentKey } from "../../../proto/contract/nats-assignments.ts";
import type { NatsLink } from "../../../proto/contract/nats-link.ts";
import { LEAD, natsNames } from "../../../proto/contract/nats.ts";
import type { NatsNames, NatsOptions } from "../../../proto/contract/nats.ts";
import type { AgentMessage, Welcome } from "../../../proto/contract/session.ts";
import { decodeCall, decodeControllerEnvelope, encodeAgentEnvelope } from "../../../proto/contract/wire.ts";
import type { Call, Farewell } from "../../../proto/contract/wire.ts";
import { Backoff } from "../../../proto/kernel/backoff.ts";
import type { Clock, Millis, Timer } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import type { Random } from "../../../proto/kernel/random.ts";
import type { AgentOptions } from "../../keeper/protocol.ts";
import type { AssignmentSource, SourcePort } from "../source.ts";
import { Admission } from "./admission.ts";
import { helloOf } from "./hello.ts";
import { reportsEvery } from "./reports.ts";

/** Longer than it takes another controller to lead. */
const SILENT_MS = LEAD.takeOverMs + LEAD.callMs;
/** A session that was ended sooner has not mended anything. */
const STEADY_MS = SESSION.reconnectMaxMs;
/** What changes within this time goes into one report. */
const COALESCE_MS = 20;

export type OpenLink = (told: {
  readonly signal: AbortSignal;
  readonly onTrouble: (why: string) => void;
}) => Promise<NatsLink>;

export interface NatsSessionOptions {
  readonly agent: AgentOptions;
  readonly nats: NatsOptions;
  readonly software: string;
  readonly open: OpenLink;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** `reports` goes on through a greeting: what was said once of the interval holds. */
type Phase =
  | { readonly kind: "alone" }
  | { readonly kind: "greeting"; readonly session: string; readonly reports: Timer | null }
  | {
      readonly kind: "open";
      readonly session: string;
      readonly reports: Timer;
      readonly epoch: number;
      readonly sinceMs: Millis;
    }
  | { readonly kind: "stopped" };

interface Line {
  readonly link: NatsLink;
  readonly key: AssignmentKey;
  /** To hear no more over it. */
  readonly undo: readonly (() => void)[];
}

export class NatsSession implements AssignmentSource {
  readonly #options: NatsSessionOptions;
  readonly #port: SourcePort;
  readonly #names: NatsNames;
  readonly #backoff: Backoff;
  readonly #opening = new AbortController();
  readonly #admission: Admission;
  #line: Line | null = null;
  #phase: Phase = { kind: "alone" };
  /** Before the first connection. */
  #trouble = "not connected to NATS yet";
  /** Of the session: refused, or welcomed by nobody but who is out of date. */
  #refused = "";
  #tooLarge = "";
  /** What a leader last said of itself. */
  #called: { readonly epoch: number; readonly at: Millis };
  #rejected: Rejected | null = null;
  #greet: Timer | undefined;
  #soon: Timer | undefined;

  constructor(options: NatsSessionOptions, port: SourcePort) {
    this.#options = options;
    this.#port = port;
    this.#names = natsNames(options.nats.cluster);
    this.#called = { epoch: 0, at: options.clock.monotonic() };
    this.#backoff = new Backoff({ baseMs: SESSION.reconnectBaseMs, maxMs: SESSION.reconnectMaxMs }, options.random);
    this.#admission = new Admission({
      ...{ clock: options.clock, admitted: port.lastGood !== null, silentMs: SILENT_MS },
      heardAt: () => this.#called.at,
      offer: (assignment) => {
        this.#rejected = null;
        port.offer(assignment);
      },
    });
  }

  start(): void {
    const { lastGood } = this.#port;
    if (lastGood !== null) this.#port.restore(lastGood);
    const onTrouble = (why: string): void => void (this.#trouble = why);
    this.#options.open({ signal: this.#opening.signal, onTrouble }).then(
      (link) => this.#opened(link, lastGood),
      // Stopped before it was connected.
      () => undefined,
    );
  }

  applied(applied: Applied): void {
    this.#rejected = null;
    this.#say({ kind: "applied", applied });
    this.changed();
  }

  rejected(rejected: Rejected): void {
    this.#rejected = rejected;
    // Some of its services may be live all the same: a rollout of theirs is not to halt for it. It says the rejection too.
    this.#report();
  }

  changed(): void {
    this.#soon ??= this.#options.clock.after(COALESCE_MS, () => {
      this.#soon = undefined;
      this.#report();
    });
  }

  hup(): void {
    this.#line?.key.look();
    if (this.#phase.kind === "alone") this.#hello();
  }

  troubles(): readonly string[] {
    const { clock, nats } = this.#options;
    const trouble = this.#line === null ? this.#trouble : this.#line.link.trouble;
    if (trouble !== "") return [trouble];
    const silentMs = clock.monotonic() - this.#called.at;
    // With the cluster's name: a wrong one shows in nothing else.
    const silent =
      silentMs < SILENT_MS
        ? ""
        : `over NATS no controller of cluster ${nats.cluster} has called for ${Math.round(silentMs / 1_000)} s`;
    return [silent, this.#refused, this.#tooLarge].filter((one) => one !== "");
  }

  stop(): void {
    this.#report();
    this.#say({ kind: "farewell", reason: "the agent stops" });
    this.#enter({ kind: "stopped" });
    this.#soon?.cancel();
    this.#greet?.cancel();
    this.#admission.stop();
    this.#opening.abort();
    if (this.#line === null) return;
    const { link, key, undo } = this.#line;
    for (const one of undo) one();
    key.close();
    void link.close();
  }

  #opened(link: NatsLink, newest: Fence | null): void {
    if (this.#phase.kind === "stopped") {
      void link.close();
      return;
    }
    const { clock, random, log, agent } = this.#options;
    const names = this.#names;
    const listen = (subject: string, take: (data: Uint8Array) => void): (() => void) =>
      link.listen(subject, ({ data }) => {
        if (this.#phase.kind !== "stopped") take(data);
      });
    this.#called = { ...this.#called, at: clock.monotonic() };
    const deaf = [
      listen(names.down(agent.name), (data) => this.#told(data)),
      listen(names.call, (data) => this.#callHeard(data)),
    ];
    const floor = (): number => this.#port.highestEpoch();
    const key = new AssignmentKey(
      { ...{ link, names, clock, random, log, newest, floor }, host: agent.name },
      {
        assignment: (assignment) => this.#admission.take(assignment),
        again: (fence) => this.#answerAgain(fence),
        invalid: (rejected) => this.rejected(rejected),
      },
    );
    const unfollow = link.follow((connected) => {
      if (!connected) return;
      // Silence is counted from here on, and what was said last may not have been heard.
      this.#called = { ...this.#called, at: clock.monotonic() };
      this.#report();
    });
    this.#line = { link, key, undo: [unfollow, ...deaf] };
    // Whoever leads may be listening; if not, its Call is waited for.
    this.#hello();
  }

  #answerAgain(asked: Fence): void {
    const same = (one: Fence | null): boolean => one?.epoch === asked.epoch && one.generation === asked.generation;
    const applied = this.#port.applied();
    if (same(this.#rejected)) this.#report();
    else if (applied !== null && same(applied)) this.#say({ kind: "applied", applied });
  }

  #callHeard(data: Uint8Array): void {
    const read = decodeCall(data);
    if (read.kind === "invalid") this.#options.log.debug({ why: read.why }, "a call that can't be read is left");
    else this.#take(read.value);
  }

  #take({ epoch, spreadMs, again }: Call): void {
    const phase = this.#phase;
    const now = this.#options.clock.monotonic();
    if (again) {
      if (phase.kind === "alone") this.#greetWithin(spreadMs, () => this.#hello());
      else if (phase.kind !== "stopped") this.#greetWithin(spreadMs, () => this.#sayHello(phase.session));
      return;
    }
    const over = epoch < Math.max(this.#called.epoch, this.#port.highestEpoch());
    if (over && now - this.#called.at < SILENT_MS) return; // I4
    if (!over) this.#called = { epoch, at: now };
    if (phase.kind === "open" && phase.epoch === epoch) return;
    // One that nobody has welcomed yet may have been lost.
    if (phase.kind === "greeting") this.#greetWithin(spreadMs, () => this.#sayHello(phase.session));
    else this.#greetWithin(spreadMs, () => this.#hello());
  }

  /** At a moment of our own: the whole fleet is called at once. */
  #greetWithin(spreadMs: Millis, greet: () => void): void {
    const { clock, random } = this.#options;
    this.#greet ??= clock.after(random.next() * spreadMs, () => {
      this.#greet = undefined;
      greet();
    });
  }

  /** A session that begins anew. */
  #hello(): void {
    if (this.#phase.kind === "stopped" || this.#phase.kind === "greeting") return;
    const session = sessionId(this.#options.random);
    const reports = this.#phase.kind === "open" ? this.#phase.reports : null;
    this.#enter({ kind: "greeting", session, reports });
    this.#sayHello(session);
  }

  #sayHello(session: string): void {
    const phase = this.#phase;
    if ((phase.kind !== "greeting" && phase.kind !== "open") || phase.session !== session) return;
    const { agent, software } = this.#options;
    this.#say({ kind: "hello", hello: helloOf(agent, software, this.#port) });
  }

  #told(data: Uint8Array): void {
    const { log } = this.#options;
    const read = decodeControllerEnvelope(data);
    if (read.kind === "invalid") {
      log.warn({ why: read.why }, "a controller broke the protocol");
      return;
    }
    const { session, what } = read.value;
    const phase = this.#phase;
    // For a session before this one, or for another agent that has taken the name.
    if ((phase.kind !== "greeting" && phase.kind !== "open") || phase.session !== session) return;
    if (what.kind === "welcome") this.#welcomed(what.welcome);
    else if (what.kind === "farewell") this.#ended(what.reason);
    else log.warn({ kind: what.kind }, "a controller said over NATS what is not said there");
  }

  #welcomed(welcome: Welcome): void {
    const phase = this.#phase;
    if (phase.kind !== "greeting" && phase.kind !== "open") return;
    const { clock, log } = this.#options;
    const { epoch, reportEveryMs } = welcome;
    const highest = this.#port.highestEpoch();
    if (epoch < highest) {
      // I4. Whoever leads now hears the same hello, and welcomes it too.
      const why = `a controller whose epoch ${epoch} is over welcomes this agent: ${highest} has been seen`;
      if (phase.kind === "greeting") this.#refused = why;
      log.debug({}, why);
      return;
    }
    // What waited may be of the epoch before, and is taken on from.
    this.#admission.welcomed();
    this.#port.sawEpoch(epoch);
    this.#refused = "";
    const { session } = phase;
    if (phase.kind === "greeting") log.info({ session, epoch }, "session open");
    phase.reports?.cancel();
    const reports = reportsEvery(this.#options, reportEveryMs, () => this.#report());
    const sinceMs = phase.kind === "open" ? phase.sinceMs : clock.monotonic();
    this.#enter({ kind: "open", session, epoch, sinceMs, reports });
    this.#report();
  }

  /** Refused or over: begun again after a while, without waiting for a Call. */
  #ended(reason: string): void {
    const { clock, log } = this.#options;
    if (this.#phase.kind === "open" && clock.monotonic() - this.#phase.sinceMs >= STEADY_MS) this.#backoff.reset();
    this.#enter({ kind: "alone" });
    this.#admission.turnedAway();
    const delay = this.#backoff.next();
    const news = reason !== this.#refused;
    this.#refused = reason;
    const fields = { retryInMs: Math.round(delay), attempts: this.#backoff.attempts };
    if (news) log.warn(fields, `the session is over: ${reason}`);
    else log.debug(fields, `the session is over: ${reason}`);
    this.#greet?.cancel();
    this.#greet = clock.after(delay, () => {
      this.#greet = undefined;
      this.#hello();
    });
  }

  #enter(next: Phase): void {
    const phase = this.#phase;
    this.#phase = next;
    const kept = next.kind === "greeting" || next.kind === "open" ? next.reports : null;
    if ((phase.kind === "greeting" || phase.kind === "open") && phase.reports !== kept) phase.reports?.cancel();
  }

  #report(): void {
    const phase = this.#phase;
    // A session that was never welcomed has no interval yet; the Welcome is followed by a report at once.
    if (phase.kind !== "open" && !(phase.kind === "greeting" && phase.reports !== null)) return;
    if (this.#line?.link.connected !== true) return;
    this.#say({ kind: "report", report: this.#port.report() });
    if (this.#rejected !== null) this.#say({ kind: "rejected", rejected: this.#rejected });
  }

  #say(what: AgentMessage | Farewell): void {
    const phase = this.#phase;
    if (phase.kind !== "open" && phase.kind !== "greeting") return;
    const link = this.#line?.link;
    if (link?.connected !== true || link.connection.isClosed()) return;
    const bytes = encodeAgentEnvelope({ session: phase.session, what });
    const most = link.connection.info?.max_payload ?? bytes.length;
    const tooLarge = bytes.length > most;
    if (what.kind === "report") this.#sized(tooLarge ? bytes.length : 0, most);
    if (!tooLarge) link.connection.publish(this.#names.up(this.#options.agent.name), bytes);
  }

  #sized(bytes: number, most: number): void {
    const before = this.#tooLarge;
    this.#tooLarge =
      bytes === 0
        ? ""
        : `a report of ${bytes} bytes is more than the NATS servers take (${most}), so no controller hears of ` +
          "this agent: raise max_payload in their configuration";
    if (before === "" && this.#tooLarge !== "") this.#options.log.error({ bytes, most }, this.#tooLarge);
  }
}
