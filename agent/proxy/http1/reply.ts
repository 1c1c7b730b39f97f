/**
 * The answer's half of an exchange: what the app sends is read, judged and shown to the client, up to its end.
 *
 *   sent ─head─▶ answering ─end─▶ flushing ─left─▶ complete
 *
 * What goes wrong is told to the exchange, which knows whether there is another way.
 */
import { CLIENT_GONE, COMPLETED, answered, lost } from "../account.ts";
import type { Outcome } from "../account.ts";
import type { Context } from "../context.ts";
import { FAILURE } from "../errors.ts";
import type { Failure } from "../errors.ts";
import { flush } from "../forward.ts";
import { WRITE } from "../sockets.ts";
import { COUNTER } from "../stats-layout.ts";
import { Answer, TOOK } from "./answer.ts";
import type { Client } from "./client-port.ts";
import { BODY } from "./response.ts";
import type { Out } from "./out.ts";
import { CONNECTION, writeResponse } from "./rewrite.ts";
import type { Terms } from "./terms.ts";
import type { Tries } from "./tries.ts";
import type { Upload } from "./upload.ts";
import type { LossCause } from "../../../proto/contract/report.ts";

export type Phase = "idle" | "waiting" | "sent" | "answering" | "flushing" | "tunnel";

/** The exchange, as its answer sees it. */
export interface Asked {
  phase: Phase;
  readonly startedAt: number;
  readonly terms: Terms;
  readonly tries: Tries;
  readonly upload: Upload;
  /** The body is held back for the app's 100 (R9). */
  readonly held: boolean;
  /** Answers are to say `Connection: close`. */
  readonly parting: boolean;
  /** Lets the held body go. */
  unhold(): void;
  /** A head has come: no more waiting for one. */
  onHead(): void;
  /** The head is a Baton hop's own refusal; true when the request has been sent elsewhere. */
  refusedByHop(): boolean;
  upgrade(): void;
  /** An app's head stands in `out`, on its way to the client. */
  dress(out: Out): void;
  leave(): void;
  /** No byte of an answer has come; there may be another way. */
  broke(error: string): void;
  /** The client is told. */
  fail(failure: Failure): void;
  /** The client can't be told any more. */
  abort(outcome: Outcome): void;
  settle(outcome: Outcome, keep: boolean): void;
}

export class Reply {
  readonly answer: Answer;
  /** What is passed on is the next hop's own refusal: its cause of loss. */
  hopLoss: LossCause | null = null;
  readonly #context: Context;
  readonly #client: Client;
  readonly #asked: Asked;
  /** A 100 has come. */
  #continued = false;
  /** The client's connection, and the app's, can take another request. */
  #keep = false;
  #again = false;

  constructor(context: Context, client: Client, asked: Asked) {
    this.#context = context;
    this.#client = client;
    this.#asked = asked;
    this.answer = new Answer(context);
  }

  begin(): void {
    this.answer.reset();
    this.hopLoss = null;
    this.#continued = false;
  }

  onAnswer(bytes: Buffer, length: number): void {
    if (this.#asked.phase === "answering") {
      this.#content(bytes, 0, length, false);
      return;
    }
    if (this.#asked.phase !== "sent") return;
    const { answer } = this;
    const { response } = this.#context;
    let found = answer.head(bytes, length);
    while (found === TOOK.head && response.status < 200 && response.status !== 101) {
      this.#interim();
      found = answer.headAt(answer.source, answer.at, answer.end);
    }
    if (found === TOOK.bad) this.#asked.fail(FAILURE.protocol);
    else if (found === TOOK.head) {
      if (response.status === 101) this.#asked.upgrade();
      else this.#final();
    }
  }

  /** 1xx: passed on as it is to those who may hear it; a 100 lets the body go. */
  #interim(): void {
    const { scratch, response, stats } = this.#context;
    answered(stats, this.#asked.tries.slot, response.status);
    const isContinue = response.status === 100;
    const wanted =
      this.#asked.terms.minor === 1 && !(isContinue && (this.#continued || !this.#asked.terms.expectContinue));
    if (isContinue) this.#continued = true;
    if (wanted) {
      scratch.length = 0;
      writeResponse(response, this.answer.source, scratch, BODY.none, CONNECTION.silent, false);
      flush(scratch, null, this.#client.wire);
    }
    if (isContinue && this.#asked.held) this.#asked.unhold();
  }

  #final(): void {
    const { response, stats, clock } = this.#context;
    const { answer } = this;
    const { upload, tries, terms } = this.#asked;
    const { endpoint } = tries;
    if (endpoint === null || (endpoint.believed && response.batonError >= 0 && this.#asked.refusedByHop())) return;
    endpoint.succeeded();
    if (response.keepAliveMs > 0) endpoint.learnKeepAlive(response.keepAliveMs);
    // R12: answered before it was asked in full. A refusal wants no more of the body; the client is drained of it.
    if (this.#asked.held || (!upload.done && response.status >= 400)) {
      upload.stopped = true;
      this.#client.wire.resume();
    }
    this.#asked.onHead();
    stats.latency(tries.slot, (clock.monotonic() - this.#asked.startedAt) * 1_000);
    answered(stats, tries.slot, response.status);
    this.#asked.phase = "answering";
    this.#again = response.persistent;
    this.#keep = this.#mayKeep();
    const silent = terms.minor === 0 ? CONNECTION.keepAlive : CONNECTION.silent;
    answer.begin(terms.toHead, terms.minor, this.#keep ? silent : CONNECTION.close, endpoint.believed);
    if (!endpoint.believed) this.#asked.dress(this.#context.scratch);
    if (answer.framing === BODY.close) this.#keep = false;
    if (answer.eventStream) {
      stats.add(tries.slot, COUNTER.eventStreams, 1);
      this.#asked.leave();
    }
    this.#content(answer.source, answer.at, answer.end, true);
  }

  #mayKeep(): boolean {
    const { terms, upload } = this.#asked;
    if (!terms.persistent || upload.stopped) return false;
    // R12: the rest of its body is read over, behind the answer; not one that is too long, or may never come (R9).
    const waits = terms.expectContinue && !this.#continued;
    if (!upload.done && (waits || upload.left > this.#context.limits.lingerBytes)) return false;
    // R8: what has been read already is answered before the connection goes.
    return !this.#asked.parting || this.#client.hasMore;
  }

  #content(bytes: Buffer, start: number, end: number, first: boolean): void {
    const { upstream } = this.#asked.tries;
    if (upstream === null) return;
    const { scratch } = this.#context;
    const { wire } = this.#client;
    if (!first) scratch.length = 0;
    const took = this.answer.take(bytes, start, end, upstream.wire, wire);
    if (took === TOOK.bad) {
      // Nothing of it has been shown yet: an error can still be told as one.
      if (first && !upstream.wire.bulk) this.#asked.fail(FAILURE.protocol);
      else this.#asked.abort(lost("upstream_protocol", this.#asked.terms.fromBaton));
      return;
    }
    if (flush(scratch, took === TOOK.more ? upstream.wire : null, wire) === WRITE.failed) {
      this.#asked.abort(CLIENT_GONE);
      return;
    }
    if (wire.pending) this.#client.onWritePending();
    if (took !== TOOK.more) this.#finish(took === TOOK.done);
  }

  /** The answer has been read to its end. `exact`: nothing follows it on the app's connection. */
  #finish(exact: boolean): void {
    const { answer } = this;
    const { upload, tries } = this.#asked;
    this.#again &&= exact && upload.done && !upload.stopped && answer.kind !== BODY.close;
    // R12: nobody is left to want the rest of its body; the client has been told nothing of a close, so there is none.
    if (!upload.done) upload.stopped = true;
    if (!this.#client.wire.pending) {
      this.#complete();
      return;
    }
    this.#asked.phase = "flushing";
    // The app has done its part; only while the last write borrows from its connection's buffer must that one wait.
    if (tries.upstream?.wire.lent !== true) tries.letGo(this.#again);
  }

  /** What was written to the client has left. */
  onClientFlushed(): void {
    if (this.#asked.phase === "answering") this.#asked.tries.upstream?.wire.resume();
    else if (this.#asked.phase === "flushing") this.#complete();
  }

  #complete(): void {
    this.#asked.tries.letGo(this.#again);
    const outcome = this.hopLoss === null ? COMPLETED : lost(this.hopLoss, this.#asked.terms.fromBaton);
    this.#asked.settle(outcome, this.#keep);
  }

  /** An event stream is to end, behind the event that is being sent. */
  endStream(): void {
    if (this.#asked.phase !== "answering" || !this.answer.eventStream) return;
    this.answer.ending = true;
    if (this.answer.atEventBoundary) this.close();
  }

  onAnswerEnd(): void {
    if (this.#asked.phase === "sent") this.#asked.broke("the connection ended before an answer");
    else if (this.#asked.phase !== "answering") return;
    else if (this.answer.kind !== BODY.close) this.#asked.abort(lost("response_cut", this.#asked.terms.fromBaton));
    else this.close();
  }

  /** Ends an answer that has no end of its own, in order. */
  close(): void {
    const { scratch } = this.#context;
    scratch.length = 0;
    this.answer.close();
    flush(scratch, null, this.#client.wire);
    this.#finish(false);
  }
}
