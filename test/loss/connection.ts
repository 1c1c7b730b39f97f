/**
 * One client connection, one exchange at a time, written on node:net so that every failure is seen: nothing is retried,
 * pooled or smoothed over behind the caller's back, as fetch and node:http's agent do.
 *
 * Errors  values: `exchange` never rejects. It throws only when it is misused (two at once, or on a closed connection).
 * Time    an exchange fails when nothing was written or read on it for `timeoutMs`.
 */
import { connect } from "node:net";
import type { Socket } from "node:net";
import type { Clock, Millis, Timer } from "../../proto/kernel/clock.ts";
import { AnswerParser } from "./answer.ts";
import type { AnswerHead } from "./answer.ts";
import type { Cause, Trace } from "./ledger.ts";

export interface Target {
  readonly host: string;
  readonly port: number;
}

export interface HttpRequest {
  readonly method: string;
  /** From the request line to the empty line. In several pieces, `pauseMs` lies between them. */
  readonly head: readonly string[];
  readonly pauseMs?: Millis;
  /** Writes the body, framing and all; false when it stopped early, because the sink is no longer open. */
  readonly send?: (sink: BodySink) => Promise<boolean>;
  /** Hold the body until 100 (Continue), an answer, or CONTINUE_WAIT_MS. */
  readonly expectContinue?: boolean;
  readonly onHead?: (head: AnswerHead) => void;
  readonly onBody?: (chunk: Buffer) => void;
}

export interface BodySink {
  /** false once an answer has begun, or the exchange is over: the rest of the body is not wanted (RACES R12). */
  open(): boolean;
  /** Resolves when there is room for more, or the exchange is over. */
  write(chunk: Buffer | string): Promise<void>;
}

export type Reply =
  /** Complete. `sent`: the request's body was out before the answer was in. */
  | { readonly kind: "answer"; readonly head: AnswerHead; readonly sent: boolean }
  /** The caller left of its own accord. */
  | { readonly kind: "left" }
  | { readonly kind: "failed"; readonly cause: Cause; readonly detail: string };

export interface ConnectionEvents {
  /** It closed between two exchanges. */
  idleClosed(connection: HttpConnection): void;
  /** Bytes came that nobody asked for; it is closed at once. */
  stray(connection: HttpConnection, bytes: number): void;
}

interface Running {
  readonly request: HttpRequest;
  readonly parser: AnswerParser;
  readonly settle: (reply: Reply) => void;
  readonly sentBefore: number;
  received: number;
  head: AnswerHead | undefined;
  sent: boolean;
  go: () => void;
}

// RFC 9110 §10.1.1: a client must not wait for ever for the 100.
const CONTINUE_WAIT_MS = 1_000;

export class HttpConnection {
  reuses = -1;
  /** Of the last answer on it; "" before the first. */
  version = "";
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #timeoutMs: Millis;
  readonly #events: ConnectionEvents;
  readonly #openedAt: Millis;
  #connected = false;
  #closed = false;
  #error = "";
  #running: Running | undefined;
  #movedAt: Millis;
  #idleMs = 0;
  #last: { readonly sent: number; readonly received: number } = { sent: 0, received: 0 };
  #timer: Timer | undefined;
  readonly #room = new Set<() => void>();

  constructor(target: Target, clock: Clock, timeoutMs: Millis, events: ConnectionEvents) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#events = events;
    this.#openedAt = this.#movedAt = clock.monotonic();
    this.#socket = connect({ host: target.host, port: target.port, noDelay: true });
    this.#socket.on("connect", () => (this.#connected = true));
    this.#socket.on("data", (chunk: Buffer) => this.#data(chunk));
    this.#socket.on("drain", () => this.#makeRoom());
    this.#socket.on("error", (error: NodeJS.ErrnoException) => (this.#error = error.code ?? error.message));
    this.#socket.on("end", () => this.#end());
    this.#socket.on("close", () => this.#close());
  }

  get closed(): boolean {
    return this.#closed;
  }

  exchange(request: HttpRequest): Promise<Reply> {
    if (this.#running !== undefined || this.#closed) throw new Error("the connection is not free");
    const now = this.#clock.monotonic();
    this.reuses += 1;
    this.#idleMs = this.reuses === 0 ? 0 : now - this.#movedAt;
    this.#movedAt = now;
    return new Promise((done) => {
      const parser = new AnswerParser(request.method, {
        interim: (status) => {
          if (status === 100) this.#running?.go();
        },
        head: (head) => this.#head(head),
        body: (chunk) => request.onBody?.(chunk),
      });
      const sentBefore = this.#socket.bytesWritten;
      const go = (): void => undefined;
      const running = { request, parser, settle: done, sentBefore, received: 0, head: undefined, sent: false, go };
      this.#running = running;
      this.#watch(this.#timeoutMs);
      void this.#write(running);
    });
  }

  /** Ends the exchange and the connection: the client's own doing. */
  leave(): void {
    this.#settle({ kind: "left" });
    this.destroy();
  }

  destroy(): void {
    this.#closed = true;
    this.#socket.destroy();
  }

  /** Of the running exchange, or the last one. */
  trace(): Trace {
    const now = this.#clock.monotonic();
    return {
      connectionAgeMs: now - this.#openedAt,
      reuses: this.reuses,
      idleMs: this.#idleMs,
      bytesSent: this.#last.sent,
      bytesReceived: this.#last.received,
      version: this.version,
    };
  }

  async #write(running: Running): Promise<void> {
    const sink: BodySink = {
      open: () => this.#running === running && running.head === undefined,
      write: (chunk) => this.#send(running, chunk),
    };
    const { head, pauseMs, send, expectContinue } = running.request;
    for (const [at, piece] of head.entries()) {
      if (at > 0) await this.#pause(running, pauseMs ?? 0);
      if (!sink.open()) return;
      void this.#send(running, piece);
    }
    if (send !== undefined) {
      if (expectContinue === true) await this.#pause(running, CONTINUE_WAIT_MS);
      if (!sink.open() || !(await send(sink))) return;
    }
    running.sent = true;
  }

  /** Until the time is over, `go` is said (100 Continue), or the exchange ends. */
  #pause(running: Running, ms: Millis): Promise<void> {
    return new Promise((done) => {
      const timer = this.#clock.after(ms, done);
      running.go = () => {
        timer.cancel();
        done();
      };
    });
  }

  #send(running: Running, chunk: Buffer | string): Promise<void> {
    if (this.#running !== running) return Promise.resolve();
    this.#movedAt = this.#clock.monotonic();
    if (this.#socket.write(chunk, "latin1")) return Promise.resolve();
    return new Promise((done) => this.#room.add(done));
  }

  #makeRoom(): void {
    this.#movedAt = this.#clock.monotonic();
    for (const done of this.#room) done();
    this.#room.clear();
  }

  #head(head: AnswerHead): void {
    const running = this.#running;
    if (running === undefined) return;
    running.head = head;
    this.version = head.headers.get("x-demo-version") ?? this.version;
    running.go();
    running.request.onHead?.(head);
  }

  #data(chunk: Buffer): void {
    this.#movedAt = this.#clock.monotonic();
    const running = this.#running;
    if (running === undefined) {
      if (this.#closed) return;
      this.destroy();
      this.#events.stray(this, chunk.length);
      return;
    }
    running.received += chunk.length;
    const progress = running.parser.feed(chunk);
    // The caller may have left while it was fed.
    if (this.#running !== running || progress.kind === "more") return;
    if (progress.kind === "bad") this.#fail("bad_answer", progress.why);
    else if (progress.excess > 0) this.#fail("bad_answer", `${progress.excess} bytes after the answer's end`);
    else this.#complete(running);
  }

  #complete(running: Running): void {
    if (running.head === undefined) return;
    this.#settle({ kind: "answer", head: running.head, sent: running.sent });
    if (!running.head.keepAlive || !running.sent) this.destroy();
  }

  #end(): void {
    const running = this.#running;
    if (running === undefined) {
      if (!this.#closed) this.#events.idleClosed(this);
      this.destroy();
      return;
    }
    const progress = running.parser.close();
    if (progress.kind === "done") this.#complete(running);
    else this.#failClosed("closed by the peer");
  }

  #close(): void {
    const own = this.#closed;
    this.#closed = true;
    if (this.#running !== undefined) this.#failClosed("closed");
    else if (!own) this.#events.idleClosed(this);
  }

  #failClosed(how: string): void {
    const running = this.#running;
    if (running === undefined) return;
    const error = this.#error === "" ? how : this.#error;
    if (!this.#connected) this.#fail(this.#error === "ECONNREFUSED" ? "connect_refused" : "connect_failed", error);
    else if (running.received === 0) this.#fail(this.reuses > 0 ? "reused_closed" : "no_answer", error);
    else this.#fail("answer_cut", `${error}; ${progressText(running.parser)}`);
  }

  #fail(cause: Cause, detail: string): void {
    this.#settle({ kind: "failed", cause, detail });
    this.destroy();
  }

  #settle(reply: Reply): void {
    const running = this.#running;
    if (running === undefined) return;
    this.#running = undefined;
    this.#last = { sent: this.#socket.bytesWritten - running.sentBefore, received: running.received };
    this.#timer?.cancel();
    running.go();
    this.#makeRoom();
    running.settle(reply);
  }

  #watch(ms: Millis): void {
    this.#timer = this.#clock.after(ms, () => {
      const quiet = this.#clock.monotonic() - this.#movedAt;
      if (quiet < this.#timeoutMs) this.#watch(this.#timeoutMs - quiet);
      else if (!this.#connected) this.#fail("connect_failed", `not connected after ${Math.round(quiet)} ms`);
      else this.#fail("timeout", `nothing moved for ${Math.round(quiet)} ms`);
    });
  }
}

function progressText(parser: AnswerParser): string {
  const progress = parser.close();
  return progress.kind === "bad" ? progress.why : "complete";
}
