/**
 * The session with the controller: one stream at a time, opened again for ever with backoff. Assignments come down,
 * answers and reports go up.
 *
 *   waiting ─→ greeting (Hello said, no Welcome yet) ─→ open ─→ waiting …
 *
 * Silence of the controller drains, stops and changes nothing: the agent starts from its last good assignment and goes
 * on with it as long as needed.
 *
 * Fence   a controller whose epoch is below the highest ever seen is one that was replaced: it is left (I4).
 * Token   is sent over loopback only, as long as the channel is plain text; elsewhere the agent refuses to show it
 *         unless it was told that the network is safe (--trust-network).
 */
import { readFileSync } from "node:fs";
import type { Applied, Rejected } from "../../../proto/contract/assignment.ts";
import { formatHostPort, isLoopback } from "../../../proto/contract/address.ts";
import { PROTOCOL_VERSION, SESSION } from "../../../proto/contract/limits.ts";
import type { Hello, Reconnect, Welcome } from "../../../proto/contract/session.ts";
import { Backoff } from "../../../proto/kernel/backoff.ts";
import type { Clock, Millis, Timer } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import type { Random } from "../../../proto/kernel/random.ts";
import type { AgentOptions } from "../../keeper/protocol.ts";
import type { AssignmentSource, SourcePort } from "../source.ts";
import { Connection } from "./connection.ts";

/** From connecting to Welcome. */
const GREETING_MS = 5_000;
/** A session that ends sooner has not mended anything: the backoff goes on from where it was. */
const STEADY_MS = SESSION.reconnectMaxMs;
/** What a header can carry. */
const VISIBLE = /^[\x21-\x7e]+$/;
/** What changes within this time goes into one report. */
const COALESCE_MS = 20;

export interface SessionOptions {
  readonly agent: AgentOptions;
  readonly controller: { readonly host: string; readonly port: number };
  readonly software: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

type Phase =
  | { readonly kind: "idle" }
  | { readonly kind: "waiting"; readonly timer: Timer }
  | { readonly kind: "greeting"; readonly connection: Connection; readonly timer: Timer }
  | { readonly kind: "open"; readonly connection: Connection; readonly reports: Timer; readonly sinceMs: Millis }
  | { readonly kind: "stopped" };

export class Session implements AssignmentSource {
  readonly #options: SessionOptions;
  readonly #port: SourcePort;
  readonly #backoff: Backoff;
  #phase: Phase = { kind: "idle" };
  #trouble = "not connected yet";
  /** The trouble that was last worth a warning. */
  #told = "";
  #soon: Timer | undefined;
  #leaving: Timer | undefined;

  constructor(options: SessionOptions, port: SourcePort) {
    this.#options = options;
    this.#port = port;
    const limits = { baseMs: SESSION.reconnectBaseMs, maxMs: SESSION.reconnectMaxMs };
    this.#backoff = new Backoff(limits, options.random);
  }

  start(): void {
    const { lastGood } = this.#port;
    if (lastGood !== null) this.#port.restore(lastGood);
    this.#connect();
  }

  applied(applied: Applied): void {
    if (this.#phase.kind === "open") this.#phase.connection.send({ kind: "applied", applied });
    this.changed();
  }

  rejected(rejected: Rejected): void {
    if (this.#phase.kind !== "open") return;
    // Some of its services may be live all the same: a rollout of theirs is not to halt for it.
    this.#report();
    this.#phase.connection.send({ kind: "rejected", rejected });
  }

  changed(): void {
    if (this.#phase.kind !== "open") return;
    this.#soon ??= this.#options.clock.after(COALESCE_MS, () => {
      this.#soon = undefined;
      this.#report();
    });
  }

  hup(): void {
    // Whoever says so wants the token file read again, and not to wait for a backoff.
    if (this.#phase.kind !== "waiting") return;
    this.#leave();
    this.#connect();
  }

  troubles(): readonly string[] {
    return this.#trouble === "" ? [] : [this.#trouble];
  }

  stop(): void {
    this.#report();
    if (this.#phase.kind === "open") this.#phase.connection.finish();
    this.#leave();
    this.#phase = { kind: "stopped" };
  }

  #connect(): void {
    const { controller, clock } = this.#options;
    const token = this.#token();
    if (token.kind === "refused") {
      this.#wait(token.why);
      return;
    }
    const connection = new Connection(
      controller,
      token.token,
      this.#hello(),
      {
        welcome: (welcome) => this.#welcomed(welcome, connection),
        assignment: (assignment) => this.#port.offer(assignment),
        invalid: (rejected) => connection.send({ kind: "rejected", rejected }),
        reconnect: (order) => this.#reconnect(order),
        ended: (why) => this.#wait(why),
      },
      () => this.#report(),
    );
    const timer = clock.after(GREETING_MS, () => {
      connection.close();
      this.#wait("the controller does not answer");
    });
    this.#phase = { kind: "greeting", connection, timer };
  }

  #welcomed(welcome: Welcome, connection: Connection): void {
    if (this.#phase.kind === "open") {
      // Said again: the fleet has grown, and there is another interval.
      this.#phase.reports.cancel();
      this.#phase = { ...this.#phase, reports: this.#every(welcome.reportEveryMs) };
    }
    if (this.#phase.kind !== "greeting") return;
    this.#phase.timer.cancel();
    const highest = this.#port.highestEpoch();
    if (welcome.epoch < highest) {
      connection.close();
      this.#wait(`that controller's epoch ${welcome.epoch} is over: ${highest} has been seen`); // I4
      return;
    }
    this.#port.sawEpoch(welcome.epoch);
    this.#trouble = "";
    this.#told = "";
    const { clock, log } = this.#options;
    log.info({ session: welcome.session, epoch: welcome.epoch }, "session open");
    const reports = this.#every(welcome.reportEveryMs);
    this.#phase = { kind: "open", connection, reports, sinceMs: clock.monotonic() };
    this.#report();
  }

  /** From a moment of our own on: a whole fleet that is told at once is not to report at once for ever after. */
  #every(period: Millis): Timer {
    const { clock, random } = this.#options;
    let timer = clock.after(random.next() * period, () => {
      this.#report();
      timer = clock.every(period, () => this.#report());
    });
    return { cancel: () => timer.cancel() };
  }

  #report(): void {
    if (this.#phase.kind !== "open") return;
    this.#phase.connection.sendReport(() => ({ kind: "report", report: this.#port.report() }));
  }

  /** At a moment of our own: a whole fleet is told at once. */
  #reconnect({ withinMs, reason }: Reconnect): void {
    const { clock, random, log } = this.#options;
    log.info({ withinMs, reason }, "the controller asks for a new session");
    this.#leaving?.cancel();
    this.#leaving = clock.after(random.next() * withinMs, () => {
      if (this.#phase.kind === "stopped") return;
      this.#leave();
      this.#connect();
    });
  }

  /** The stream has ended or was never opened: again, after a while. */
  #wait(why: string): void {
    if (this.#phase.kind === "stopped") return;
    this.#leave();
    const { controller, clock, log } = this.#options;
    const delay: Millis = this.#backoff.next();
    this.#trouble = `controller ${formatHostPort(controller.host, controller.port)}: ${why}`;
    const fields = { retryInMs: Math.round(delay), attempts: this.#backoff.attempts };
    // Another trouble is news, and so is the same one once a minute; every attempt is not.
    if (this.#trouble !== this.#told || this.#backoff.attempts % 12 === 0) log.warn(fields, this.#trouble);
    else log.debug(fields, this.#trouble);
    this.#told = this.#trouble;
    this.#phase = { kind: "waiting", timer: clock.after(delay, () => this.#connect()) };
  }

  /** Lets go of whatever the phase owns. */
  #leave(): void {
    this.#soon?.cancel();
    this.#soon = undefined;
    this.#leaving?.cancel();
    this.#leaving = undefined;
    const phase = this.#phase;
    this.#phase = { kind: "idle" };
    switch (phase.kind) {
      case "waiting": {
        phase.timer.cancel();
        return;
      }
      case "greeting":
        phase.timer.cancel();
        {
          phase.connection.close();
          return;
        }
      case "open":
        phase.reports.cancel();
        if (this.#options.clock.monotonic() - phase.sinceMs >= STEADY_MS) this.#backoff.reset();
        {
          phase.connection.close();
          return;
        }
      case "idle":
      case "stopped":
        return;
    }
  }

  #hello(): Hello {
    const { agent, software } = this.#options;
    return {
      protocolVersion: PROTOCOL_VERSION,
      host: agent.name,
      role: agent.role,
      labels: agent.labels,
      boot: this.#port.boot,
      software,
      address: agent.address,
      highestEpoch: this.#port.highestEpoch(),
      applied: this.#port.applied(),
      inboundPorts: agent.inboundPorts,
    };
  }

  #token():
    { readonly kind: "ok"; readonly token: string | null } | { readonly kind: "refused"; readonly why: string } {
    const { agent, controller } = this.#options;
    if (agent.tokenFile === null) return { kind: "ok", token: null };
    if (!isLoopback(controller.host) && !agent.trustNetwork) {
      const why =
        "the token is not shown in plain text to another machine; --trust-network, if the network is encrypted";
      return { kind: "refused", why };
    }
    let token: string;
    try {
      token = readFileSync(agent.tokenFile, "utf8").trim();
    } catch (error) {
      return { kind: "refused", why: `the token file can't be read: ${(error as Error).message}` };
    }
    if (VISIBLE.test(token)) return { kind: "ok", token };
    return { kind: "refused", why: `the token file ${agent.tokenFile} must hold one line of visible characters` };
  }
}
