/**
 * The request's half of an exchange: to which endpoint it is sent, and, as long as nobody has seen an answer, to which
 * one next. What is done only where the next hop is an app (the rule's header filter, copies for mirrors) is done here,
 * when that hop has been picked.
 *
 *   waiting ─connected─▶ sent
 *      ▲───── again ──────┘
 */
import type { Choice } from "../split.ts";
import type { Context } from "../context.ts";
import { FAILURE, failureOf, parseHopError, refused } from "../errors.ts";
import type { Failure } from "../errors.ts";
import type { Route } from "../route.ts";
import { WRITE } from "../sockets.ts";
import type { Service } from "../service.ts";
import { Deadline } from "../wheel.ts";
import type { Expiring } from "../wheel.ts";
import type { Client } from "./client-port.ts";
import { REFUSED } from "./fields.ts";
import { latin1 } from "./framing.ts";
import type { Phase, Reply } from "./reply.ts";
import type { Terms } from "./terms.ts";
import type { Tries } from "./tries.ts";
import type { Upload } from "./upload.ts";
import type { UpstreamUser } from "./upstream.ts";

/** The exchange, as its request's half sees it. */
export interface Delivered extends UpstreamUser {
  phase: Phase;
  readonly route: Route;
  readonly choice: Choice;
  readonly terms: Terms;
  readonly tries: Tries;
  readonly upload: Upload;
  readonly reply: Reply;
  /** The client is told. */
  fail(failure: Failure): void;
  /** Its answer has begun, and what it sends is malformed. */
  refuseRest(): void;
}

export class Delivery implements Expiring {
  /** The body is held back for the app's 100 (R9). */
  held = false;
  /** A byte of it may have reached an app; and before the attempt that runs. */
  sent = false;
  #sentBefore = false;
  /** What the client is told when no attempt is left. */
  #failure: Failure = FAILURE.noInstance;
  readonly #context: Context;
  readonly #client: Client;
  readonly #exchange: Delivered;
  /** A backoff is over, or the 100 has not come. */
  readonly #pause = new Deadline(this);

  constructor(context: Context, client: Client, exchange: Delivered) {
    this.#context = context;
    this.#client = client;
    this.#exchange = exchange;
  }

  begin(): void {
    this.sent = this.held = false;
    this.#failure = FAILURE.noInstance;
  }

  /** The answer's head is here, or there will be none: no more waiting. */
  stopWaiting(): void {
    this.held = false;
    this.#context.wheel.disarm(this.#pause);
  }

  // Pick.

  attempt(): void {
    const { tries, upload, choice } = this.#exchange;
    const service = this.#exchange.route.service as Service;
    this.#exchange.phase = "waiting";
    this.#sentBefore = this.sent;
    for (;;) {
      const why = tries.next(service, choice, this.#exchange);
      if (why === "tried" && !tries.exhausted) {
        tries.forgive();
        this.#context.wheel.arm(this.#pause, tries.backoffMs());
        return;
      }
      if (why !== null) {
        this.#exchange.fail(why === "refused" ? FAILURE.overload : this.#failure);
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

  onDeadline(): void {
    if (this.held) this.unhold();
    else if (this.#exchange.phase === "waiting" && this.#exchange.tries.upstream === null) this.attempt();
  }

  // Send.

  onConnected(): void {
    if (!this.#send()) this.broke("the connection broke at once");
  }

  /** Writes all there is of the request; false when not one byte of it could be. */
  #send(): boolean {
    const { upload, tries, terms, route } = this.#exchange;
    const { wire } = this.#client;
    const { upstream, endpoint } = tries;
    if (upstream === null || endpoint === null) return false;
    const filter = route.rule?.requestFilter ?? null;
    if (filter !== null) upload.filterHead(endpoint.believed ? null : filter);
    this.held = terms.expectContinue && !upload.done && upload.image.length === upload.headBytes;
    upload.rewind();
    const written = upload.send(upstream.wire, this.held);
    if (written === WRITE.failed) return false;
    this.sent = true;
    this.#exchange.phase = "sent";
    if (this.held) {
      wire.pause();
      this.#context.wheel.arm(this.#pause, this.#context.limits.continueMs);
    } else if (!upload.done && written === WRITE.done) wire.resume();
    this.#mirror();
    return true;
  }

  onSent(): void {
    if (!this.held && this.#exchange.phase !== "waiting" && !this.#client.hasMore) this.#client.wire.resume();
  }

  unhold(): void {
    this.stopWaiting();
    const { upstream } = this.#exchange.tries;
    if (upstream !== null) this.#exchange.upload.send(upstream.wire, false);
    this.#client.wire.resume();
  }

  /** More from the client while this runs. Answers the offset behind what belongs to this request. */
  onRequestBytes(bytes: Buffer, length: number): number {
    const { phase, tries, upload, reply } = this.#exchange;
    const to = phase === "waiting" ? null : (tries.upstream?.wire ?? null);
    const behind = upload.take(bytes, 0, length, this.#client.wire, to);
    if (behind === -1) {
      if (reply.answer.begun) this.#exchange.refuseRest();
      else this.#exchange.fail(refused(REFUSED.chunk));
      return length;
    }
    if (to !== null) this.#mirror();
    return behind;
  }

  /** All of it has gone to an app, and all of it is still here: those that are to have a copy get theirs. */
  #mirror(): void {
    const { choice, upload, tries, terms, route } = this.#exchange;
    const { mirrors } = choice;
    if (mirrors.length === 0 || !upload.done || !upload.whole || tries.endpoint === null) return;
    const { random, wheel } = this.#context;
    const { service } = route;
    const revisions = mirrors.splice(0);
    if (service === null || tries.endpoint.believed || terms.upgrade !== "none") return;
    const { headBytes, image } = upload;
    for (const revision of revisions) {
      // It has the request itself.
      if (revision === tries.endpoint.revision) continue;
      const to = service.picker.ofRevision(revision, random, wheel.now);
      if (to === null) this.#context.mirrors.dropped(service.slot);
      else this.#context.mirrors.send({ bytes: image.view(0), headBytes, toHead: terms.toHead }, to);
    }
  }

  // When it goes wrong.

  /** The app's connection went before any answer was shown. */
  broke(error: string): void {
    const { phase, tries } = this.#exchange;
    if (phase === "waiting") {
      // It could not be connected to: nothing has been sent, so it may go anywhere (R6).
      tries.blame(true, error);
      this.again(FAILURE.connectFailed);
      return;
    }
    const stale = (tries.upstream?.carried ?? 0) > 0;
    const again = this.#mayMove();
    if (stale) tries.wasStale();
    else tries.blame(false, error);
    if (again) this.again(FAILURE.reset);
    else this.#exchange.fail(FAILURE.reset);
  }

  /**
   * The next Baton hop has refused. What never reached an app moves on, whatever its method, as long as all of it is
   * here; what did is sent again only when that is safe. Otherwise the refusal is the answer, and a loss.
   */
  refusedByHop(): boolean {
    const { response } = this.#context;
    const { fields } = response;
    const { reply, tries, upload } = this.#exchange;
    const { source } = reply.answer;
    const at = response.batonError;
    const hop = parseHopError(latin1(source, fields.valueStart(at), fields.valueEnd(at)));
    if (hop === null || response.status < 500) return false;
    if (!hop.sent) this.sent = this.#sentBefore;
    const again = hop.sent ? this.#mayMove() : upload.whole && !tries.exhausted;
    if (!again) {
      reply.hopLoss = hop.cause;
      return false;
    }
    tries.turnedAway(hop.cause);
    this.again(failureOf(hop.cause));
    return true;
  }

  /** R9, R10: no app has had the whole of it, so none can have done it. Else it is a matter of doing it twice. */
  #mayMove(): boolean {
    const { upload, tries } = this.#exchange;
    const whole = upload.done && !this.held && tries.upstream?.wire.pending !== true;
    return whole || !upload.whole ? this.mayResend() : !tries.exhausted;
  }

  mayResend(): boolean {
    const { route, reply, terms, tries, upload } = this.#exchange;
    const { rule } = route;
    if (rule === null || !upload.whole || reply.answer.begun) return false;
    return terms.repeatable(rule.retryMethods, upload.image.buffer) && tries.resend(rule.retries);
  }

  again(failure: Failure): void {
    const { tries, reply } = this.#exchange;
    this.#failure = failure;
    this.held = false;
    tries.letGo(false);
    reply.begin();
    this.attempt();
  }
}
