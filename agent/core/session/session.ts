/**
 * The session with the controller: one stream at a time, opened again for ever with backoff. Assignments come down,
 * answers and reports go up. Of several controllers any will do: they are tried in turn, the first by chance, and the
 * backoff grows with each round that found none.
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
import { SESSION } from "../../../proto/contract/limits.ts";
import type { Reconnect, Welcome } from "../../../proto/contract/session.ts";
import { Backoff } from "../../../proto/kernel/backoff.ts";
import type { Clock, Millis, Timer } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import { integer } from "../../../proto/kernel/random.ts";
import type { Random } from "../../../proto/kernel/random.ts";
import type { AgentOptions, ControllerAddress } from "../../keeper/protocol.ts";
import type { AssignmentSource, SourcePort } from "../source.ts";
import { Connection } from "./connection.ts";
import { helloOf } from "./hello.ts";
import { reportsEvery } from "./reports.ts";

/** From connecting to Welcome. */
const GREETING_MS = 5_000;
/** A session that ends sooner has not mended anything: the backoff goes on from where it was. */
const STEADY_MS = SESSION.reconnectMaxMs;
/** Where the next of several controllers is tried at once, a whole fleet that lost one is to come to it spread out. */
const HOP_MS = 2_000;
/** What a header can carry. */
const VISIBLE = /^[\x21-\x7e]+$/;
/** What changes within this time goes into one report. */
const COALESCE_MS = 20;

export interface SessionOptions {
  readonly agent: AgentOptions;
  readonly controllers: readonly ControllerAddress[];
  readonly software: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

type Phase =
  | { readonly kind: "idle" }
  | { readonly kind: "waiting"; readonly timer: Timer }
  | { readonly kind: "greeting"; readonly connection: Connection; readonly timer: Timer }
  | {
      readonly kind: "open";
      readonly connection: Connection;
      readonly reports: Timer;
      readonly sinceMs: Millis;
      readonly epoch: number;
    }
  | { readonly kind: "stopped" };

export class Session implements AssignmentSource {
  readonly #options: SessionOptions;
  readonly #port: SourcePort;
  readonly #backoff: Backoff;
  #phase: Phase = { kind: "idle" };
  /** Of the controller that is tried, or had, now. */
  #index: number;
  /** Tried in vain since a session last held. */
  #tried = 0;
  /** Welcome's: the greater the fleet, the longer. */
  #reportEveryMs: Millis = SESSION.reportEveryMs;
  #trouble = "not connected yet";
  /** By controller, the trouble that was last worth a warning. */
  readonly #told = new Map<number, string>();
  #soon: Timer | undefined;
  #leaving: Timer | undefined;

  constructor(options: SessionOptions, port: SourcePort) {
    this.#options = options;
    this.#port = port;
    const limits = { baseMs: SESSION.reconnectBaseMs, maxMs: SESSION.reconnectMaxMs };
    this.#backoff = new Backoff(limits, options.random);
    this.#index = integer(options.random, options.controllers.length);
  }

  get #controller(): ControllerAddress {
    const { controllers } = this.#options;
    return controllers[this.#index] ?? { host: "", port: 0 };
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
    this.#tried = 0;
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
    const { clock } = this.#options;
    const controller = this.#controller;
    const token = this.#token(controller);
    if (token.kind === "refused") {
      this.#wait(token.why);
      return;
    }
    const connection = new Connection(
      controller,
      token.token,
      helloOf(this.#options.agent, this.#options.software, this.#port),
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
    const phase = this.#phase;
    if (phase.kind !== "greeting" && phase.kind !== "open") return;
    const highest = this.#port.highestEpoch();
    if (welcome.epoch < highest) {
      connection.close();
      this.#wait(`that controller's epoch ${welcome.epoch} is over: ${highest} has been seen`); // I4
      return;
    }
    this.#port.sawEpoch(welcome.epoch);
    this.#reportEveryMs = welcome.reportEveryMs;
    const reports = this.#every(welcome.reportEveryMs);
    if (phase.kind === "open") {
      // Said again: the fleet has grown, and there is another interval; or another controller leads behind this stream.
      phase.reports.cancel();
      this.#phase = { ...phase, reports, epoch: welcome.epoch };
      if (welcome.epoch > phase.epoch) this.#report();
      return;
    }
    phase.timer.cancel();
    this.#trouble = "";
    this.#told.clear();
    const { clock, log } = this.#options;
    log.info({ session: welcome.session, epoch: welcome.epoch }, "session open");
    this.#phase = { kind: "open", connection, reports, sinceMs: clock.monotonic(), epoch: welcome.epoch };
    this.#report();
  }

  #every(period: Millis): Timer {
    return reportsEvery(this.#options, period, () => this.#report());
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
      this.#turn();
      this.#connect();
    });
  }

  /** The stream has ended or was never opened: again, after a while. */
  #wait(why: string): void {
    if (this.#phase.kind === "stopped") return;
    this.#leave();
    const { clock, log } = this.#options;
    const { host, port } = this.#controller;
    const delay = this.#next();
    this.#trouble = `controller ${formatHostPort(host, port)}: ${why}`;
    const fields = { retryInMs: Math.round(delay), attempts: this.#backoff.attempts };
    // Another trouble is news, and so is the same one once a minute; every attempt is not.
    const again = this.#told.get(this.#index) === this.#trouble;
    if (!again || this.#backoff.attempts % 12 === 0) log.warn(fields, this.#trouble);
    else log.debug(fields, this.#trouble);
    this.#told.set(this.#index, this.#trouble);
    this.#phase = {
      kind: "waiting",
      timer: clock.after(delay, () => {
        this.#turn();
        this.#connect();
      }),
    };
  }

  #turn(): void {
    this.#index = (this.#index + 1) % this.#options.controllers.length;
  }

  /** A round asks each controller once, without delay but for what spreads the fleet; then comes the backoff. */
  #next(): Millis {
    const { controllers, random } = this.#options;
    this.#tried += 1;
    if (this.#tried % controllers.length === 0) return this.#backoff.next();
    return random.next() * Math.min(HOP_MS, this.#reportEveryMs);
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
        if (this.#options.clock.monotonic() - phase.sinceMs >= STEADY_MS) {
          this.#backoff.reset();
          this.#tried = 0;
        }
        {
          phase.connection.close();
          return;
        }
      case "idle":
      case "stopped":
        return;
    }
  }

  #token(
    controller: ControllerAddress,
  ): { readonly kind: "ok"; readonly token: string | null } | { readonly kind: "refused"; readonly why: string } {
    const { agent } = this.#options;
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
