/**
 * One request and its answer. A client's connection owns one of these and uses it for request after request.
 * route → pick and send (delivery.ts) → answer (reply.ts) → account; the methods stand in that order.
 *
 *   idle ─begin─▶ waiting ─connected─▶ sent ─head─▶ answering ─▶ flushing ─▶ idle
 *                    ▲───── again ──────┘             └─101─▶ tunnel ──────▶ idle
 *
 * Whatever happens, `settle` is reached once: it closes the books, and after it nothing of the request is left.
 */
import type { CutCause } from "../../../proto/contract/report.ts";
import { CLIENT_GONE, COMPLETED, REFUSED_OUTCOME, answered, carried, closed, lost } from "../account.ts";
import type { Outcome } from "../account.ts";
import type { Context } from "../context.ts";
import { FAILURE, errorAnswer, refused, type Failure } from "../errors.ts";
import { flush } from "../forward.ts";
import { filterHead } from "../header-filter.ts";
import { Route } from "../route.ts";
import { Choice, type Split } from "../split.ts";
import { COUNTER } from "../stats-layout.ts";
import type { Service } from "../service.ts";
import { Tunnel, type TunnelEnd } from "../tunnel/tunnel.ts";
import { Deadline } from "../wheel.ts";
import type { Client } from "./client-port.ts";
import { Delivery, type Delivered } from "./delivery.ts";
import { REFUSED } from "./fields.ts";
import { Leaving, type Departing, type Kind } from "./leaving.ts";
import type { Out } from "./out.ts";
import type { RequestHead } from "./request.ts";
import { BODY } from "./response.ts";
import { CONNECTION, writeRequest, writeResponse } from "./rewrite.ts";
import { Reply, type Asked, type Phase } from "./reply.ts";
import { Terms, requestLine } from "./terms.ts";
import { Tries } from "./tries.ts";
import { Upload } from "./upload.ts";

export class Exchange implements Delivered, Departing, Asked {
  phase: Phase = "idle";
  tunnel: Tunnel | null = null;
  readonly tries: Tries;
  readonly upload: Upload;
  readonly reply: Reply;
  readonly delivery: Delivery;
  readonly leaving: Leaving;
  readonly route = new Route();
  readonly choice = new Choice();
  readonly terms = new Terms();
  startedAt = 0;
  readonly #context: Context;
  readonly #client: Client;
  /** The answer's head has not come in the rule's time. */
  readonly #limit = new Deadline({ onDeadline: () => this.fail(FAILURE.timeout) });

  constructor(context: Context, client: Client) {
    this.#context = context;
    this.#client = client;
    this.tries = new Tries(context);
    this.upload = new Upload(context);
    this.reply = new Reply(context, client, this);
    this.delivery = new Delivery(context, client, this);
    this.leaving = new Leaving(context, client, this);
  }

  get service(): Service | null {
    return this.route.service;
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
    this.choice.begin();
    this.delivery.begin();
    const failure = this.route.find(context, this.#client.listener, head, bytes);
    const { service, rule } = this.route;
    this.terms.note(head, service);
    if (service !== null) this.tries.slot = service.slot;
    if (rule !== null && rule.requestMs !== null) context.wheel.arm(this.#limit, rule.requestMs);
    if (failure === null && service !== null && service.split !== null) this.#choose(service.split, head, bytes);
    const image = this.upload.open();
    writeRequest(head, bytes, image, this.#client.hopLines, service?.name ?? "none", context.random);
    const behind = this.upload.begin(head, bytes, head.end, end);
    if (behind === -1) this.fail(refused(REFUSED.chunk));
    else if (failure !== null) this.fail(failure);
    else this.delivery.attempt();
    return behind === -1 ? end : behind;
  }

  /** Where and to whom else it goes is said by its head alone: it is looked at while it is here. */
  #choose(split: Split, head: RequestHead, bytes: Buffer): void {
    const { subject, random } = this.#context;
    subject.take(head, bytes);
    this.choice.decide(split, subject, random);
  }

  // The request (delivery.ts).

  onConnected(): void {
    this.delivery.onConnected();
  }

  onSent(): void {
    this.delivery.onSent();
  }

  get held(): boolean {
    return this.delivery.held;
  }

  unhold(): void {
    this.delivery.unhold();
  }

  refuseRest(): void {
    this.abort(REFUSED_OUTCOME);
  }

  // The answer (reply.ts).

  onAnswer(bytes: Buffer, length: number): void {
    this.reply.onAnswer(bytes, length);
  }

  onAnswerEnd(): void {
    this.reply.onAnswerEnd();
  }

  onHead(): void {
    this.#context.wheel.disarm(this.#limit);
    this.delivery.stopWaiting();
  }

  get parting(): boolean {
    return this.#context.drainingSince >= 0 || this.service?.accepting === false;
  }

  refusedByHop(): boolean {
    return this.delivery.refusedByHop();
  }

  /** An app's answer's head, as it stands in `out`: what its rule and the split have to say to the client goes in. */
  dress(out: Out): void {
    const filter = this.route.rule?.responseFilter ?? null;
    const { setCookie } = this.choice;
    if (filter !== null) filterHead(out, 0, filter);
    if (setCookie === "") return;
    out.length -= 2;
    out.text(setCookie);
    out.crlf();
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
    if (this.tries.endpoint?.believed === false) this.dress(scratch);
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
    else this.delivery.broke(error);
  }

  broke(error: string): void {
    this.delivery.broke(error);
  }

  /** Baton's own answer. */
  fail(failure: Failure): void {
    const { terms, tries, upload } = this;
    tries.letGo(false);
    const keep = terms.persistent && upload.done && !this.parting && failure.status !== 400;
    const { agent } = this.#context.table;
    const answer = { agent, sent: this.delivery.sent, close: !keep, toHead: terms.toHead };
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
    else if (this.phase === "sent" && this.delivery.mayResend()) this.delivery.again(FAILURE.drained);
    else this.fail(FAILURE.drained);
  }

  // Account.

  settle(outcome: Outcome, keep: boolean): void {
    const { tries, upload, reply } = this;
    const { stats, wheel, accessLog } = this.#context;
    const bytesOut = reply.answer.bytesOut + (this.tunnel?.bytesOut ?? 0);
    const bytesIn = upload.received + (this.tunnel?.bytesIn ?? 0);
    wheel.disarm(this.#limit);
    this.delivery.stopWaiting();
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
    // It went to an app, but never all of it, or more than is kept.
    if (this.choice.mirrors.length > 0 && this.delivery.sent) this.#context.mirrors.dropped(this.service?.slot ?? 0);
    tries.end();
    upload.close(keep);
    this.tunnel = null;
    this.route.service = null;
    this.#context.active -= 1;
    this.phase = "idle";
    this.#client.onExchangeDone(keep);
  }
}
