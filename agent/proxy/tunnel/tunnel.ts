/**
 * An upgraded connection: bytes both ways until both sides have ended, with backpressure and half-close. A WebSocket's
 * frames are walked besides, so that its farewell (S3) comes between two messages.
 *
 *   open ──leave──▶ leaving ──quiet, or time is up, at a message's end──▶ said ──client's Close──▶ closing ──▶ over
 *
 * After our Close (`said`) what the app still sends is dropped, because nothing may follow a Close; what the client
 * sends goes on to the app, up to its own Close, which becomes the app's.
 */
import type { Context } from "../context.ts";
import { flush, pass } from "../forward.ts";
import type { Upstream, UpstreamUser } from "../http1/upstream.ts";
import { WRITE } from "../sockets.ts";
import type { Wire } from "../sockets.ts";
import { Deadline } from "../wheel.ts";
import type { Expiring } from "../wheel.ts";
import { FrameWalker, SERVICE_RESTART, closeFrame } from "./frames.ts";

/** So often a quiet moment is looked for within the time that makes one. */
const LOOKS = 4;
/** So many times as long a silence is not likely to end just now. */
const SILENCE = 10;
/** How long after its time a WebSocket may still wait for answers that its client seems to be owed. */
const OWED_MS = 500;

export type TunnelEnd =
  /** Both sides ended it in order, or our farewell did. */
  "completed" | "client_gone" | "tunnel_cut";

export interface TunnelOwner {
  onTunnelEnd(end: TunnelEnd): void;
}

type Phase = "open" | "leaving" | "said" | "closing" | "over";

export class Tunnel implements UpstreamUser, Expiring {
  bytesIn = 0;
  bytesOut = 0;
  phase: Phase = "open";
  readonly websocket: boolean;
  readonly #context: Context;
  readonly #client: Wire;
  readonly #upstream: Upstream;
  readonly #owner: TunnelOwner;
  readonly #fromApp = new FrameWalker();
  readonly #fromClient = new FrameWalker();
  readonly #deadline = new Deadline(this);
  #lastActive: number;
  #clientSpokeLast = false;
  #forceAt = Number.POSITIVE_INFINITY;
  /** The client has ended a WebSocket without a Close: it did not part, it left. */
  #left = false;

  constructor(context: Context, client: Wire, upstream: Upstream, websocket: boolean, owner: TunnelOwner) {
    this.#context = context;
    this.#client = client;
    this.#upstream = upstream;
    this.websocket = websocket;
    this.#owner = owner;
    this.#lastActive = context.wheel.now;
    upstream.user = this;
  }

  /** Says farewell between `askMs` and `forceMs` from now, at a message's end and preferably in a quiet moment. */
  leave(askMs: number, forceMs: number): void {
    if (this.phase !== "open" || !this.websocket) return;
    this.phase = "leaving";
    this.#forceAt = this.#context.wheel.now + forceMs;
    this.#context.wheel.arm(this.#deadline, askMs);
  }

  /** It need not go after all. */
  stay(): void {
    if (this.phase !== "leaving") return;
    this.phase = "open";
    this.#forceAt = Number.POSITIVE_INFINITY;
    this.#context.wheel.disarm(this.#deadline);
  }

  onDeadline(): void {
    const { wheel, limits } = this.#context;
    if (this.phase === "leaving") {
      if (this.#mayPart(wheel.now)) this.#sayClose();
      else wheel.arm(this.#deadline, limits.quietMs / LOOKS);
    } else if (this.phase === "said") {
      // The client does not answer. The app is told in its place, if its stream stands where that can be said.
      if (this.#fromClient.atBoundary) this.#write(closeFrame(SERVICE_RESTART, this.#context.random.next() * 2 ** 32));
      this.#finish();
    } else if (this.phase === "closing") this.#over("completed");
  }

  /**
   * Whether this is the moment to say 1012. What the client says while our Close is on its way to it is not answered any
   * more, so the moment should be one at which it will hardly speak: right behind an exchange of messages that is over,
   * or in a long silence; in between, the next word may come at any time. While the app owes answers, or seems to (not
   * every message is a question), the pause must be longer; and when time is up they are waited for a little.
   */
  #mayPart(now: number): boolean {
    if (!this.#fromApp.atBoundary) return false;
    const { quietMs } = this.#context.limits;
    const quiet = now - this.#lastActive;
    const answered = !this.#clientSpokeLast && this.#fromClient.messages <= this.#fromApp.messages;
    if (now >= this.#forceAt) return answered || now >= this.#forceAt + OWED_MS;
    const pause = answered ? quietMs / LOOKS : quietMs;
    return (quiet >= pause && quiet < pause + quietMs) || quiet >= quietMs * SILENCE;
  }

  // From the client.

  onClientBytes(bytes: Buffer, length: number): void {
    if (this.phase === "closing" || this.phase === "over") return;
    this.#lastActive = this.#context.wheel.now;
    this.#clientSpokeLast = true;
    const behind = this.websocket
      ? this.#fromClient.walk(bytes, 0, length, this.phase === "said" ? "close" : null)
      : -1;
    const end = behind === -1 ? length : behind;
    this.bytesIn += end;
    const { scratch } = this.#context;
    scratch.length = 0;
    pass(scratch, this.#client, this.#upstream.wire, bytes, 0, end);
    flush(scratch, this.#client, this.#upstream.wire);
    if (this.phase === "said" && this.#fromClient.closed) this.#finish();
  }

  onClientEnd(): void {
    const open = this.phase === "open" || this.phase === "leaving";
    this.#left = this.websocket && open && !this.#fromApp.closed && !this.#fromClient.closed;
    this.#upstream.wire.end();
    if (this.phase === "said") this.#finish();
    else this.#maybeOver();
  }

  onClientFlushed(): void {
    this.#upstream.wire.resume();
  }

  onClientClosed(): void {
    const polite = this.phase === "closing" || (this.#client.ended && this.#upstream.wire.ended);
    this.#over(polite ? "completed" : "client_gone");
  }

  // From the app.

  onConnected(): void {
    // It was, long ago.
  }

  onAnswer(bytes: Buffer, length: number): void {
    this.#lastActive = this.#context.wheel.now;
    this.#clientSpokeLast = false;
    if (this.phase !== "open" && this.phase !== "leaving") return;
    const forced = this.phase === "leaving" && this.#lastActive >= this.#forceAt + OWED_MS;
    const behind = this.websocket ? this.#fromApp.walk(bytes, 0, length, forced ? "boundary" : null) : -1;
    const end = behind === -1 ? length : behind;
    this.bytesOut += end;
    const { scratch } = this.#context;
    scratch.length = 0;
    pass(scratch, this.#upstream.wire, this.#client, bytes, 0, end);
    flush(scratch, this.#upstream.wire, this.#client);
    const parts = this.phase === "leaving" && this.#lastActive >= this.#forceAt && this.#mayPart(this.#lastActive);
    if (parts || (forced && behind !== -1)) this.#sayClose();
  }

  onAnswerEnd(): void {
    if (this.phase === "said" || this.phase === "closing") return;
    // A WebSocket that ends without a Close from either side was not ended but broken.
    if (this.websocket && !this.#fromApp.closed && !this.#fromClient.closed && !this.#client.ended) {
      this.#over("tunnel_cut");
      return;
    }
    this.#client.end();
    this.#maybeOver();
  }

  onSent(): void {
    this.#client.resume();
  }

  onBroken(): void {
    if (this.phase === "over") return;
    const ended = this.#upstream.wire.ended || this.#fromApp.closed;
    if (this.phase === "said" || this.phase === "closing") this.#finish();
    else if (ended || this.#client.ended) {
      // It had said all that it had to say; what is still on its way to the client gets there.
      this.#client.end();
      this.#finish();
    } else this.#over("tunnel_cut");
  }

  /** The hard cap: both ends at once. */
  cut(): void {
    this.phase = "over";
    this.#context.wheel.remove(this.#deadline);
    this.#upstream.discard();
    this.#client.destroy();
  }

  #sayClose(): void {
    if (this.#fromApp.closed || this.#fromClient.closed) return; // they are about to part by themselves
    this.phase = "said";
    this.#client.write(closeFrame(SERVICE_RESTART, null));
    // What the app still sends is read and dropped, so that it can write its own Close.
    this.#upstream.wire.resume();
    this.#context.wheel.arm(this.#deadline, this.#context.limits.farewellMs);
  }

  /** Everything is said: FIN both ways, and a bounded wait for theirs. */
  #finish(): void {
    if (this.phase === "over") return;
    this.phase = "closing";
    this.#client.end();
    this.#client.resume();
    this.#upstream.wire.end();
    this.#context.wheel.arm(this.#deadline, this.#context.limits.farewellMs);
    this.#maybeOver();
  }

  #maybeOver(): void {
    if (this.#client.ended && (this.#upstream.wire.ended || this.#upstream.wire.closed)) this.#over("completed");
  }

  #write(frame: Buffer): void {
    if (this.#upstream.wire.write(frame) === WRITE.failed) this.#upstream.discard();
  }

  #over(end: TunnelEnd): void {
    if (this.phase === "over") return;
    this.phase = "over";
    this.#context.wheel.remove(this.#deadline);
    if (end === "completed" && this.#upstream.wire.ended) {
      // What is still on its way to the app gets there; then the socket closes by itself.
      this.#upstream.user = null;
      this.#upstream.wire.end();
    } else this.#upstream.discard();
    this.#owner.onTunnelEnd(end === "completed" && this.#left ? "client_gone" : end);
  }
}
