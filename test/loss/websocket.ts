/**
 * WebSockets: a session talks for 1 to 20 s, over as many sockets as it takes. It says one to three numbered messages,
 * waits for all their echoes, rests 100 to 300 ms, and so on; every echo must be the next one due.
 *
 *   drained   closed with 1001 or 1012 while nothing was unanswered; the session goes on over a new socket
 *   lost      any other end that was not ours, and any end with a message unanswered
 *
 * A message that is on its way just as the peer says close can't be told apart from one that was swallowed: both are
 * lost here. `resend` says it again on the next socket instead, as an app with numbered messages would.
 */
import { WebSocket } from "ws";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { sleep } from "../../proto/kernel/clock.ts";
import type { Millis, Timer } from "../../proto/kernel/clock.ts";
import type { Cause, Exchange, Outcome, Trace } from "./ledger.ts";
import { between } from "./run.ts";
import type { Run } from "./run.ts";

interface Session {
  readonly endsAt: Millis;
  said: number;
  /** Said and not yet echoed, oldest first. */
  readonly due: { readonly text: string; readonly at: Millis }[];
}

const GOING_AWAY = 1001;
const SERVICE_RESTART = 1012;
const NORMAL = 1000;
const RECONNECT_MS = 50;

/** Around the frame format's steps (7, 16, 64 bits of length), mostly small. */
const PADDING = ["", "", "", "", "x".repeat(90), "y".repeat(400), "z".repeat(70_000)];

export async function websocket(run: Run): Promise<void> {
  const endsAt = run.clock.monotonic() + between(run.random, 1_000, 20_000);
  const session: Session = { endsAt, said: 0, due: [] };
  for (let again = true; again;) {
    const outcome = await new Talk(run, session).outcome;
    // What is to be said again must get its answer, however late it is.
    again = outcome.kind === "drained" && (session.due.length > 0 || !over(run, session));
    if (again) await sleep(run.clock, between(run.random, 5, RECONNECT_MS));
  }
}

const over = (run: Run, session: Session): boolean => run.stopping.aborted || run.clock.monotonic() >= session.endsAt;

/** One socket of a session, from connect to close. */
class Talk {
  readonly outcome: Promise<Outcome>;
  readonly #run: Run;
  readonly #session: Session;
  readonly #exchange: Exchange;
  readonly #socket: WebSocket;
  readonly #onStop = (): void => this.#leaveIfDone();
  #settle: ((outcome: Outcome) => void) | undefined;
  #tcp: Socket | undefined;
  #version = "";
  #error = "";
  #open = false;
  #leaving = false;
  #movedAt: Millis;
  #next: Timer | undefined;
  #watch: Timer | undefined;

  constructor(run: Run, session: Session) {
    this.#run = run;
    this.#session = session;
    this.#exchange = run.ledger.begin("websocket");
    this.#movedAt = this.#exchange.startedAt;
    this.outcome = new Promise((done) => (this.#settle = done));
    run.ledger.count("connections");
    this.#socket = new WebSocket(`ws://${run.target.host}:${run.target.port}/ws`, {
      headers: { host: run.authority, "x-request-id": this.#exchange.id },
      perMessageDeflate: false,
      handshakeTimeout: run.timeoutMs,
    });
    this.#socket.on("upgrade", (answer) => this.#upgraded(answer));
    this.#socket.on("unexpected-response", (_, answer) => this.#refused(answer));
    this.#socket.on("open", () => {
      this.#open = true;
      for (const message of session.due) this.#socket.send(message.text);
      if (session.due.length === 0) this.#say();
    });
    this.#socket.on("message", (message: Buffer) => this.#heard(message));
    this.#socket.on("error", (error: NodeJS.ErrnoException) => (this.#error = error.code ?? error.message));
    this.#socket.on("close", (code, reason) => this.#closed(code, reason.toString()));
    run.stopping.addEventListener("abort", this.#onStop);
    this.#arm(run.timeoutMs);
  }

  #upgraded(answer: IncomingMessage): void {
    this.#tcp = answer.socket;
    // ws tells a reset after the upgrade as a plain 1006.
    this.#tcp.on("error", (error: NodeJS.ErrnoException) => (this.#error = error.code ?? error.message));
    this.#version = String(answer.headers["x-demo-version"] ?? "");
    this.#run.ledger.saw(this.#version, String(answer.headers["x-demo-instance"] ?? ""));
    this.#exchange.latency(this.#run.clock.monotonic() - this.#exchange.startedAt);
  }

  #refused(answer: IncomingMessage): void {
    const status = answer.statusCode ?? 0;
    const own = answer.headers["baton-error"];
    const app = answer.headers["x-demo-version"];
    answer.destroy();
    if (own === undefined && typeof app === "string") {
      this.#run.ledger.saw(app, String(answer.headers["x-demo-instance"] ?? ""));
      this.#end({ kind: "appError", status });
    } else if (own !== undefined) {
      this.#lost("proxy_error", `${status} baton-error: ${String(own)}`);
    } else {
      this.#lost("upgrade_refused", `${status} without the app's mark`);
    }
  }

  #say(): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    const { random, clock } = this.#run;
    for (let left = between(random, 1, 3); left > 0; left--) {
      this.#session.said += 1;
      const text = `${this.#session.said} ${PADDING[between(random, 0, PADDING.length - 1)] ?? ""}`;
      this.#session.due.push({ text, at: clock.monotonic() });
      this.#socket.send(text);
    }
    this.#movedAt = clock.monotonic();
  }

  #heard(message: Buffer): void {
    if (this.#settle === undefined) return;
    this.#movedAt = this.#run.clock.monotonic();
    const due = this.#session.due.shift();
    const echo = echoOf(message);
    if (due === undefined || echo.text !== due.text) {
      const detail = `wanted ${quote(due?.text ?? "nothing")}, heard ${quote(message.toString())}`;
      this.#lost("socket_wrong", detail);
      return;
    }
    this.#version = echo.version;
    this.#run.ledger.count("messages");
    if (this.#session.due.length > 0) return;
    this.#next = this.#run.clock.after(between(this.#run.random, 100, 300), () => this.#say());
    this.#leaveIfDone();
  }

  #leaveIfDone(): void {
    if (!this.#open || this.#leaving || this.#session.due.length > 0 || !over(this.#run, this.#session)) return;
    this.#leaving = true;
    this.#next?.cancel();
    this.#socket.close(NORMAL);
  }

  #closed(code: number, reason: string): void {
    const unanswered = this.#session.due.length;
    const how = `closed ${code}${reason === "" ? "" : ` "${reason}"`}${this.#error === "" ? "" : `, ${this.#error}`}`;
    if (!this.#open) {
      if (this.#tcp !== undefined) this.#lost("socket_cut", how);
      else this.#lost(connectCause(this.#error), this.#error);
    } else if (this.#leaving) {
      this.#end({ kind: "ok" });
    } else if (code !== GOING_AWAY && code !== SERVICE_RESTART) {
      this.#lost("socket_cut", `${how}, ${unanswered} unanswered`);
    } else if (unanswered === 0) {
      this.#end({ kind: "drained" });
    } else if (this.#run.resend) {
      this.#exchange.retried();
      this.#end({ kind: "drained" });
    } else {
      const ago = this.#run.clock.monotonic() - (this.#session.due[0]?.at ?? 0);
      this.#lost("socket_unanswered", `${how}, ${unanswered} unanswered, the first said ${ago.toFixed(1)} ms before`);
    }
  }

  #arm(ms: Millis): void {
    this.#watch = this.#run.clock.after(ms, () => {
      const quiet = this.#run.clock.monotonic() - this.#movedAt;
      if (quiet < this.#run.timeoutMs) this.#arm(this.#run.timeoutMs - quiet);
      else this.#lost(this.#open ? "timeout" : "connect_failed", `nothing moved for ${Math.round(quiet)} ms`);
    });
  }

  #lost(cause: Cause, detail: string): void {
    this.#end({ kind: "lost", cause, detail, trace: this.#trace() });
  }

  #end(outcome: Outcome): void {
    if (this.#settle === undefined) return;
    this.#next?.cancel();
    this.#watch?.cancel();
    this.#run.stopping.removeEventListener("abort", this.#onStop);
    this.#exchange.end(outcome);
    this.#settle(outcome);
    this.#settle = undefined;
    this.#socket.terminate();
  }

  #trace(): Trace {
    const now = this.#run.clock.monotonic();
    return {
      connectionAgeMs: now - this.#exchange.startedAt,
      reuses: 0,
      idleMs: now - this.#movedAt,
      bytesSent: this.#tcp?.bytesWritten ?? 0,
      bytesReceived: this.#tcp?.bytesRead ?? 0,
      version: this.#version === "" ? this.#run.ledger.lastVersion : this.#version,
    };
  }
}

function connectCause(error: string): Cause {
  if (error === "ECONNREFUSED") return "connect_refused";
  return error === "ECONNRESET" || error === "socket hang up" ? "no_answer" : "connect_failed";
}

function echoOf(message: Buffer): { readonly text: string; readonly version: string } {
  try {
    const { echo, version } = JSON.parse(message.toString()) as { readonly echo?: unknown; readonly version?: unknown };
    return { text: String(echo), version: String(version) };
  } catch {
    return { text: "", version: "" };
  }
}

const quote = (text: string): string => JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
