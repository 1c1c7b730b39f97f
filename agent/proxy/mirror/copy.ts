/**
 * One copy of a request on its way to the version that is tried: sent once, its answer read and thrown away.
 *
 *   connecting ─▶ sent ─head─▶ answered ─end─▶ over
 *
 * Errors  none reach anybody: what comes of it is counted. An error is a copy that got no whole answer, or a 5xx one; a
 *         pooled connection that its app had closed already is the app's right, and only drops the copy.
 */
import { WRITE } from "../sockets.ts";
import { BodyReader } from "../http1/body.ts";
import { LF } from "../http1/chars.ts";
import { FOUND } from "../http1/chunked.ts";
import { INCOMPLETE } from "../http1/fields.ts";
import { BODY } from "../http1/response.ts";
import type { ResponseHead } from "../http1/response.ts";
import { Upstream } from "../http1/upstream.ts";
import type { UpstreamUser } from "../http1/upstream.ts";
import type { Ground } from "../ground.ts";
import { Deadline } from "../wheel.ts";
import type { Expiring } from "../wheel.ts";
import type { Running, Shadow } from "./shadow.ts";

export type CopyEnd = "answered" | "failed" | "dropped";

export class Copy implements UpstreamUser, Expiring, Running {
  readonly #ground: Ground;
  readonly #response: ResponseHead;
  readonly #shadow: Shadow;
  readonly #bytes: Buffer;
  readonly #toHead: boolean;
  readonly #onOver: (end: CopyEnd) => void;
  readonly #reader: BodyReader;
  readonly #deadline = new Deadline(this);
  readonly #upstream: Upstream;
  #partial: Buffer | null = null;
  /** Of the answer's head; 0 before it has come. */
  #status = 0;
  /** The app will take another request on this connection. */
  #again = false;
  #over = false;

  /** `response` is for the moment in which a head is read; `bytes` are the copy's own. */
  constructor(
    ground: Ground,
    response: ResponseHead,
    shadow: Shadow,
    copy: { readonly bytes: Buffer; readonly toHead: boolean },
    onOver: (end: CopyEnd) => void,
  ) {
    this.#ground = ground;
    this.#response = response;
    this.#shadow = shadow;
    this.#bytes = copy.bytes;
    this.#toHead = copy.toHead;
    this.#onOver = onOver;
    this.#reader = new BodyReader(ground.limits);
    shadow.running.add(this);
    ground.wheel.arm(this.#deadline, ground.limits.mirrorMs);
    const pooled = shadow.takeIdle();
    this.#upstream = pooled ?? new Upstream(ground, shadow, this);
    if (pooled === null) return;
    pooled.user = this;
    this.onConnected();
  }

  drop(): void {
    this.#end("dropped", false);
  }

  onDeadline(): void {
    this.#end(this.#status === 0 ? "failed" : this.#verdict, false);
  }

  onConnected(): void {
    if (this.#upstream.wire.write(this.#bytes) === WRITE.failed) this.onBroken();
  }

  onSent(): void {
    // There is nothing more to send.
  }

  onAnswer(bytes: Buffer, length: number): void {
    if (this.#status !== 0) {
      this.#content(bytes, 0, length);
      return;
    }
    const fresh = bytes.subarray(0, length);
    const source = this.#partial === null ? fresh : Buffer.concat([this.#partial, fresh]);
    // A head that trickles in is read again only when a line has been completed (fields.ts).
    if (fresh.indexOf(LF) === -1 && source.length <= this.#ground.limits.headBytes) this.#partial = Buffer.from(source);
    else this.#heads(source);
  }

  /** Interim answers, then the one that counts. */
  #heads(source: Buffer): void {
    const head = this.#response;
    this.#partial = null;
    for (let at = 0; at < source.length;) {
      const behind = head.parse(source, at, source.length);
      if (behind === INCOMPLETE) {
        this.#partial = Buffer.from(source.subarray(at));
        return;
      }
      if (behind < 0 || head.status === 101) {
        this.#end("failed", false);
        return;
      }
      at = behind;
      if (head.status < 200) continue;
      this.#status = head.status;
      this.#again = head.persistent;
      if (head.keepAliveMs > 0) this.#shadow.learnKeepAlive(head.keepAliveMs);
      this.#reader.begin(head.body(this.#toHead), head.framing.contentLength);
      this.#content(source, at, source.length);
      return;
    }
  }

  #content(bytes: Buffer, start: number, end: number): void {
    const reader = this.#reader;
    for (let at = start; ; at = reader.at) {
      const found = reader.next(bytes, at, end);
      if (found === FOUND.data) continue;
      if (found === FOUND.bad) this.#end("failed", false);
      else if (found === FOUND.done) this.#end(this.#verdict, this.#again && reader.at === end);
      // A longer one than this says no more of the version than its beginning did.
      else if (reader.received > this.#ground.limits.mirrorAnswerBytes) this.#end(this.#verdict, false);
      return;
    }
  }

  get #verdict(): CopyEnd {
    return this.#status >= 500 ? "failed" : "answered";
  }

  onAnswerEnd(): void {
    if (this.#status !== 0 && this.#reader.kind === BODY.close) this.#end(this.#verdict, false);
    else this.onBroken();
  }

  onBroken(): void {
    const stale = this.#upstream.carried > 0 && this.#status === 0 && this.#partial === null;
    this.#end(stale ? "dropped" : "failed", false);
  }

  #end(end: CopyEnd, again: boolean): void {
    if (this.#over) return;
    this.#over = true;
    this.#ground.wheel.remove(this.#deadline);
    this.#shadow.running.delete(this);
    if (again) this.#upstream.release();
    else this.#upstream.discard();
    this.#onOver(end);
  }
}
