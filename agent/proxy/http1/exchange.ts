/**
 * One request and its answer. A client's connection owns one of these and uses it for request after request.
 * route → pick → forward → account; the methods stand in that order.
 *
 *   idle ─begin─▶ waiting ─connected─▶ sent ─head─▶ answering ─▶ flushing ─▶ idle
 *                    ▲───── again ──────┘             └─101─▶ tunnel ──────▶ idle
 *
 * Whatever happens, `#settle` is reached once: it closes the books, and after it nothing of the request is left.
 */
import type { CutCause } from "../../../proto/contract/report.ts";
import { CLIENT_GONE, COMPLETED, REFUSED_OUTCOME, answered, carried, closed, lost } from "../account.ts";
import type { Outcome } from "../account.ts";
import type { Context } from "../context.ts";
import { FAILURE, errorAnswer, failureOf, parseHopError, refused, type Failure } from "../errors.ts";
import { flush } from "../forward.ts";
import { Route } from "../route.ts";
import { WRITE } from "../sockets.ts";
import { COUNTER } from "../stats-layout.ts";
import type { Service } from "../table.ts";
import { Tunnel, type TunnelEnd } from "../tunnel/tunnel.ts";
import { Deadline } from "../wheel.ts";
import type { Client } from "./client-port.ts";
import { REFUSED } from "./fields.ts";
import { latin1 } from "./framing.ts";
import { Leaving, type Departing, type Kind } from "./leaving.ts";
import type { RequestHead } from "./request.ts";
import { BODY } from "./response.ts";
import { CONNECTION, writeRequest, writeResponse } from "./rewrite.ts";
import { Reply, type Asked, type Phase } from "./reply.ts";
import { Terms, requestLine } from "./terms.ts";
import { Tries } from "./tries.ts";
import { Upload } from "./upload.ts";
import type { UpstreamUser } from "./upstream.ts";

export class Exchange implements UpstreamUser, Departing, Asked {
  phase: Phase = "idle";
  tunnel: Tunnel | null = null;
  readonly tries: Tries;
  readonly upload: Upload;
  readonly reply: Reply;
  readonly leaving: Leaving;
  readonly #context: Context;
  readonly #client: Client;
  readonly terms = new Terms();
  readonly #route = new Route();
  startedAt = 0;
  held = false;
  /** A byte of it may have reached an app; and before the attempt that runs. */
  #sent = false;
  #sentBefore = false;
  /** What the client is told when no attempt is left. */
  #failure: Failure = FAILURE.noInstance;
  /** The answer's head has not come in the rule's time. */
  readonly #limit = new Deadline({ onDeadline: () => this.fail(FAILURE.timeout) });
  /** A backoff is over, or the 100 has not come. */
  readonly #pause = new Deadline({ onDeadline: () => this.#onPause() });

  constructor(context: Context, client: Client) {
    this.#context = context;
    this.#client = client;
    this.tries = new Tries(context);
    this.upload = new Upload(context);
    this.reply = new Reply(context, client, this);
    this.leaving = new Leaving(context, client, this);
  }

  get service(): Service | null {
    return this.#route.service;
  }

  get kind(): Kind {
    if (this.tunnel !== null) return this.tunnel.websocket ? "websocket" : "upgrade";
    return this.reply.answer.eventStream ? "event-stream" : "plain";
  }

  // Route.

  /** Takes the request whose head has just been read. Answers the offset behind what it took of `bytes`. */
  begin(head: RequestHead, bytes: Buffer, end: number): number {
    const context = this.#context;
    this.startedAt = context.clock.monotonic();
    context.active += 1;
    this.phase = "waiting";
    this.reply.begin();
    this.tries.begin();
    this.#sent = this.held = false;
    this.#failure = FAILURE.noInstance;
    const failure = this.#route.find(context, this.#client.listener, head, bytes);
    const { service, rule } = this.#route;
    this.terms.note(head, service);
    if (service !== null) this.tries.slot = service.slot;
    if (rule !== null && rule.requestMs !== null) context.wheel.arm(this.#limit, rule.requestMs);
    const image = this.upload.open();
    writeRequest(head, bytes, image, this.#client.hopLines, service?.name ?? "none", context.random);
    const behind = this.upload.begin(head, bytes, head.end, end);
    if (behind === -1) this.fail(refused(REFUSED.chunk));
    else if (failure !== null) this.fail(failure);
    else this.#attempt();
    return behind === -1 ? end : behind;
  }

  // Pick.

  #attempt(): void {
    const { tries, upload } = this;
    this.phase = "waiting";
    this.#sentBefore = this.#sent;
    for (;;) {
      const why = tries.next(this.service as Service, this);
      if (why === "tried" && !tries.exhausted) {
        tries.forgive();
        this.#context.wheel.arm(this.#pause, tries.backoffMs());
        return;
      }
      if (why !== null) {
        this.fail(why === "refused" ? FAILURE.overload : this.#failure);
        return;
      }
      if (tries.upstream?.connected !== true) {
        // What else the client sends waits in the kernel until there is someone to send it to.
        if (!upload.done) this.#client.wire.pause();
        return;
      }
      if (this.#send()) return;
      // It broke unseen, and not one byte of this has left. Others of the pool may be as dead.
      tries.wasStale();
      tries.letGo(false);
    }
  }

  #onPause(): void {
    if (this.held) this.unhold();
    else if (this.phase === "waiting" && this.tries.upstream === null) this.#attempt();
  }

  // Forward: the request.

  onConnected(): void {
    if (!this.#send()) this.broke("the connection broke at once");
  }

  /** Writes all there is of the request; false when not one byte of it could be. */
  #send(): boolean {
    const { upload, tries } = this;
    const { wire } = this.#client;
    if (tries.upstream === null) return false;
    this.held = this.terms.expectContinue && !upload.done && upload.image.length === upload.headBytes;
    upload.rewind();
    const written = upload.send(tries.upstream.wire, this.held);
    if (written === WRITE.failed) return false;
    this.#sent = true;
    this.phase = "sent";
    if (this.held) {
      wire.pause();
      this.#context.wheel.arm(this.#pause, this.#context.limits.continueMs);
    } else if (!upload.done && written === WRITE.done) wire.resume();
    return true;
  }

  onSent(): void {
    if (!this.held && this.phase !== "waiting" && !this.#client.hasMore) this.#client.wire.resume();
  }

  unhold(): void {
    this.held = false;
    this.#context.wheel.disarm(this.#pause);
    const { upstream } = this.tries;
    if (upstream !== null) this.upload.send(upstream.wire, false);
    this.#client.wire.resume();
  }

  /** More from the client while this runs. Answers the offset behind what belongs to this request. */
  onRequestBytes(bytes: Buffer, length: number): number {
    const to = this.phase === "waiting" ? null : (this.tries.upstream?.wire ?? null);
    const behind = this.upload.take(bytes, 0, length, this.#client.wire, to);
    if (behind !== -1) return behind;
    if (this.reply.answer.begun) this.abort(REFUSED_OUTCOME);
    else this.fail(refused(REFUSED.chunk));
    return length;
  }

  // Forward: the answer (reply.ts).

  onAnswer(bytes: Buffer, length: number): void {
    this.reply.onAnswer(bytes, length);
  }

  onAnswerEnd(): void {
    this.reply.onAnswerEnd();
  }

  onHead(): void {
    this.held = false;
    this.#context.wheel.disarm(this.#limit);
    this.#context.wheel.disarm(this.#pause);
  }

  get parting(): boolean {
    return this.#context.drainingSince >= 0 || this.service?.accepting === false;
  }

  /**
   * The next Baton hop has refused. What never reached an app moves on, whatever its method, as long as all of it is
   * here; what did is sent again only when that is safe. Otherwise the refusal is the answer, and a loss.
   */
  refusedByHop(): boolean {
    const { response } = this.#context;
    const { fields } = response;
    const { source } = this.reply.answer;
    const at = response.batonError;
    const hop = parseHopError(latin1(source, fields.valueStart(at), fields.valueEnd(at)));
    if (hop === null || response.status < 500) return false;
    if (!hop.sent) this.#sent = this.#sentBefore;
    const again = hop.sent ? this.#mayMove() : this.upload.whole && !this.tries.exhausted;
    if (!again) {
      this.reply.hopLoss = hop.cause;
      return false;
    }
    this.tries.turnedAway(hop.cause);
    this.#again(failureOf(hop.cause));
    return true;
  }

  upgrade(): void {
    const { response, scratch, stats } = this.#context;
    const { answer } = this.reply;
    const { upstream, slot } = this.tries;
    if (this.terms.upgrade === "none" || upstream === null) {
      this.fail(FAILURE.protocol);
      return;
    }
    this.onHead();
    scratch.length = 0;
    writeResponse(response, answer.source, scratch, BODY.none, CONNECTION.silent, false);
    const ahead = Buffer.from(answer.source.subarray(answer.at, answer.end));
    flush(scratch, null, this.#client.wire);
    this.phase = "tunnel";
    this.tunnel = new Tunnel(this.#context, this.#client.wire, upstream, this.terms.upgrade === "websocket", this);
    answered(stats, slot, response.status);
    stats.add(slot, COUNTER.tunnels, 1);
    stats.latency(slot, (this.#context.clock.monotonic() - this.startedAt) * 1_000);
    this.#client.onTunnel();
    if (ahead.length > 0) this.tunnel.onAnswer(ahead, ahead.length);
    this.leave();
  }

  onTunnelEnd(end: TunnelEnd): void {
    this.tries.upstream = null; // the tunnel has seen to it
    if (end === "tunnel_cut") this.abort(lost("tunnel_cut", this.terms.fromBaton));
    else this.settle(end === "completed" ? COMPLETED : CLIENT_GONE, false);
  }

  // When it goes wrong.

  onBroken(error: string): void {
    if (this.phase === "answering") this.abort(lost("response_cut", this.terms.fromBaton));
    else if (this.phase === "flushing") this.tries.letGo(false);
    else this.broke(error);
  }

  /** The app's connection went before any answer was shown. */
  broke(error: string): void {
    const { tries } = this;
    if (this.phase === "waiting") {
      // It could not be connected to: nothing has been sent, so it may go anywhere (R6).
      tries.blame(true, error);
      this.#again(FAILURE.connectFailed);
      return;
    }
    const stale = (tries.upstream?.carried ?? 0) > 0;
    const again = this.#mayMove();
    if (stale) tries.wasStale();
    else tries.blame(false, error);
    if (again) this.#again(FAILURE.reset);
    else this.fail(FAILURE.reset);
  }

  /** R9, R10: no app has had the whole of it, so none can have done it. Else it is a matter of doing it twice. */
  #mayMove(): boolean {
    const { upload, tries } = this;
    const whole = upload.done && !this.held && tries.upstream?.wire.pending !== true;
    return whole || !upload.whole ? this.#mayResend() : !tries.exhausted;
  }

  #mayResend(): boolean {
    const { rule } = this.#route;
    if (rule === null || !this.upload.whole || this.reply.answer.begun) return false;
    return this.terms.repeatable(rule.retryMethods, this.upload.image.buffer) && this.tries.resend(rule.retries);
  }

  #again(failure: Failure): void {
    this.#failure = failure;
    this.held = false;
    this.tries.letGo(false);
    this.reply.begin();
    this.#attempt();
  }

  /** Baton's own answer. */
  fail(failure: Failure): void {
    const { terms, tries, upload } = this;
    tries.letGo(false);
    const keep = terms.persistent && upload.done && !this.parting && failure.status !== 400;
    const { agent } = this.#context.table;
    const answer = { agent, sent: this.#sent, close: !keep, toHead: terms.toHead };
    this.reply.answer.status = failure.status;
    this.#client.wire.write(errorAnswer(failure, answer));
    const outcome = failure.loss === null ? REFUSED_OUTCOME : lost(failure.loss, terms.fromBaton);
    this.settle(failure === FAILURE.drained ? { kind: "cut", cause: "drain_deadline" } : outcome, keep);
  }

  /** The client has seen a part: it must see that the rest does not come (R11). */
  abort(outcome: Outcome): void {
    this.#client.abort(this.reply.answer.framing === BODY.close);
    this.settle(outcome, false);
  }

  /** The client's connection is gone. */
  onClientGone(): void {
    if (this.phase === "tunnel") this.tunnel?.onClientClosed();
    else if (this.phase !== "idle") this.settle(CLIENT_GONE, false);
  }

  /** The client's body has stopped coming. */
  onClientStalled(): void {
    if (this.reply.answer.begun) this.abort(CLIENT_GONE);
    else this.fail(FAILURE.bodyTimeout);
  }

  // When it is asked to go (leaving.ts).

  get #draining(): boolean {
    return this.tries.draining || this.#context.drainingSince >= 0;
  }

  /** Sees to its leave if its endpoint, or the worker, is leaving; or takes that back. */
  leave(): void {
    const { endpoint } = this.tries;
    const since = endpoint !== null && endpoint.draining ? endpoint.drainingSince : this.#context.drainingSince;
    if (this.phase === "idle" || this.service === null) return;
    if (since >= 0) this.leaving.start(this.kind, since, this.service.drain);
    else {
      this.leaving.stop();
      this.tunnel?.stay();
    }
  }

  endStream(): void {
    this.reply.endStream();
  }

  leaveTunnel(askMs: number, forceMs: number): void {
    this.tunnel?.leave(askMs, forceMs);
  }

  cut(cause: CutCause): void {
    if (this.phase === "tunnel") this.tunnel?.cut();
    if (this.reply.answer.begun || this.phase === "tunnel") this.abort({ kind: "cut", cause });
    else if (this.phase === "sent" && this.#mayResend()) this.#again(FAILURE.drained);
    else this.fail(FAILURE.drained);
  }

  // Account.

  settle(outcome: Outcome, keep: boolean): void {
    const { tries, upload, reply } = this;
    const { stats, wheel, accessLog } = this.#context;
    const bytesOut = reply.answer.bytesOut + (this.tunnel?.bytesOut ?? 0);
    const bytesIn = upload.received + (this.tunnel?.bytesIn ?? 0);
    wheel.disarm(this.#limit);
    wheel.disarm(this.#pause);
    this.leaving.stop();
    if (tries.slot >= 0) {
      if (tries.attempts === 0) stats.add(tries.slot, COUNTER.started, 1);
      carried(stats, tries.slot, bytesIn, bytesOut);
      closed(stats, tries.slot, outcome, tries.attempts > 1, this.#draining);
    }
    if (accessLog.wants(outcome.kind !== "completed" || reply.answer.status >= 500)) {
      accessLog.add({
        client: this.#client.address,
        service: this.service?.name ?? "",
        endpoint: tries.lastId,
        ...requestLine(upload.image.buffer),
        status: reply.answer.status,
        outcome: "cause" in outcome ? outcome.cause : outcome.kind,
        durationMs: Math.round((this.#context.clock.monotonic() - this.startedAt) * 10) / 10,
        bytesIn,
        bytesOut,
        attempts: tries.attempts,
      });
    }
    tries.end();
    upload.close(keep);
    this.tunnel = null;
    this.#route.service = null;
    this.#context.active -= 1;
    this.phase = "idle";
    this.#client.onExchangeDone(keep);
  }
}
