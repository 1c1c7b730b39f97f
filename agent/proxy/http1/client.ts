/**
 * A client's connection: heads are found in what it sends, requests are run one after another (R8), and it is closed
 * so that no answer is torn and no request falls into a closing door (R2, R3).
 *
 *   idle ─bytes─▶ head ─whole─▶ busy ─answered─▶ idle … ─close─▶ closing ─▶ gone
 *                                ├─101─▶ tunnel ─────────────────┘
 *                                └─answered in mid-body─▶ discarding ─body's end─▶ idle
 */
import type { Context } from "../context.ts";
import { FAILURE, errorAnswer, refused } from "../errors.ts";
import type { Failure } from "../errors.ts";
import { Wire } from "../sockets.ts";
import type { WireOwner } from "../sockets.ts";
import { COUNTER } from "../stats-layout.ts";
import { Deadline } from "../wheel.ts";
import type { Expiring } from "../wheel.ts";
import { CR, LF } from "./chars.ts";
import type { Client } from "./client-port.ts";
import { Exchange } from "./exchange.ts";
import { INCOMPLETE } from "./fields.ts";

export type ClientPhase = "idle" | "head" | "busy" | "discarding" | "tunnel" | "closing" | "gone";

export interface ClientOwner {
  onClientGone(client: ClientConnection): void;
}

export class ClientConnection implements WireOwner, Expiring, Client {
  readonly wire: Wire;
  readonly exchange: Exchange;
  readonly listener: string;
  readonly address: string;
  readonly hopLines: Buffer;
  readonly openedAt: number;
  phase: ClientPhase = "idle";
  requests = 0;
  readonly #context: Context;
  readonly #owner: ClientOwner;
  readonly #deadline = new Deadline(this);
  /** Read, and not used yet: a part of a head, or requests behind the one that runs. */
  #pending: Buffer | null = null;
  /** `#consume` is at work further up the stack: what becomes idle meanwhile is taken up there. */
  #consuming = false;
  /** Unsent bytes at the last look, while a write is pending. */
  #unsent = 0;
  #discarded = 0;
  /** When the first byte of the head came that is being gathered; -1: none. */
  #headSince = -1;
  /** Where that request is counted as in flight until its head is whole; -1: nowhere. */
  #headSlot = -1;

  constructor(
    context: Context,
    owner: ClientOwner,
    listener: string,
    address: string,
    open: (self: WireOwner) => Wire,
  ) {
    this.#context = context;
    this.#owner = owner;
    this.listener = listener;
    this.address = address;
    this.openedAt = context.wheel.now;
    const { agent } = context.table;
    this.hopLines = Buffer.from(`X-Forwarded-For: ${address}\r\nVia: 1.1 ${agent || "baton"} (baton)\r\n`, "latin1");
    this.exchange = new Exchange(context, this);
    this.wire = open(this);
    this.#rest();
  }

  get hasMore(): boolean {
    return this.#pending !== null;
  }

  // What the client sends.

  onBytes(bytes: Buffer, length: number): void {
    switch (this.phase) {
      case "idle":
        this.#consume(bytes, 0, length);
        return;
      case "head":
        this.#gather(bytes, length);
        return;
      case "busy":
        this.#during(bytes, length);
        return;
      case "discarding":
        this.#discard(bytes, length);
        return;
      case "tunnel":
        this.exchange.tunnel?.onClientBytes(bytes, length);
        return;
      case "closing":
        // R3: read, so that closing does not reset the answer that is on its way.
        this.#discarded += length;
        if (this.#discarded > this.#context.limits.lingerBytes) this.wire.destroy();
        return;
      case "gone":
        return;
    }
  }

  /** Runs every whole request in `bytes[start, end)`, as far as each is answered at once; keeps the rest. */
  #consume(bytes: Buffer, start: number, end: number): void {
    this.#consuming = true;
    let at = start;
    while (at < end && this.phase === "idle") {
      // RFC 9112 §2.2: a CRLF before a request line is read over.
      if (bytes[at] === CR && (at + 1 === end || bytes[at + 1] === LF)) {
        if (at + 1 === end) break;
        at += 2;
        continue;
      }
      const found = this.#context.request.parse(bytes, at, end);
      if (found === INCOMPLETE) break;
      if (found < 0) {
        this.#refuse(refused(found));
        at = end;
        break;
      }
      this.phase = "busy";
      this.requests += 1;
      this.#headOver();
      this.#context.wheel.disarm(this.#deadline);
      at = this.exchange.begin(this.#context.request, bytes, end);
    }
    this.#consuming = false;
    this.#keepRest(bytes, at, end);
  }

  #keepRest(bytes: Buffer, at: number, end: number): void {
    const { wheel, limits } = this.#context;
    if (at < end && this.phase !== "closing" && this.phase !== "gone") {
      const rest = Buffer.from(bytes.subarray(at, end));
      if (this.phase === "tunnel") {
        this.exchange.tunnel?.onClientBytes(rest, rest.length);
        return;
      }
      this.#pending = rest;
      if (this.phase === "idle") {
        this.phase = "head";
        // From its first byte: one that trickles gets no more time for it.
        if (this.#headSince === -1) {
          this.#headSince = wheel.now;
          wheel.arm(this.#deadline, limits.headMs);
          this.#headBegun();
        }
      }
    } else if (this.phase === "idle") this.#rest();
    if (this.phase === "busy" && !this.exchange.upload.done) wheel.arm(this.#deadline, limits.stallMs);
    // Behind a request that runs, more is read only to see the client go; pipelined bytes wait in the kernel.
    if (this.phase === "busy" && this.#pending !== null) this.wire.pause();
    else if (this.phase === "idle" || this.phase === "head") this.wire.resume();
  }

  /** If the worker dies now, a request is cut that nobody else could name. */
  #headBegun(): void {
    const { table, stats } = this.#context;
    this.#headSlot = table.listeners.get(this.listener)?.slot ?? -1;
    if (this.#headSlot >= 0) stats.add(this.#headSlot, COUNTER.inFlight, 1);
  }

  #headOver(): void {
    if (this.#headSlot >= 0) this.#context.stats.add(this.#headSlot, COUNTER.inFlight, -1);
    this.#headSlot = -1;
  }

  #gather(bytes: Buffer, length: number): void {
    const fresh = bytes.subarray(0, length);
    const all = this.#pending === null ? Buffer.from(fresh) : Buffer.concat([this.#pending, fresh]);
    // Read again only when a line has been completed, or a limit has been passed (fields.ts).
    if (fresh.indexOf(LF) === -1 && all.length <= this.#context.limits.targetBytes) {
      this.#pending = all;
      return;
    }
    this.#pending = null;
    this.phase = "idle";
    this.#consume(all, 0, all.length);
  }

  /** While a request runs: its body, then whatever the client has sent ahead. */
  #during(bytes: Buffer, length: number): void {
    const { wheel, limits } = this.#context;
    const { upload } = this.exchange;
    const behind = upload.done ? 0 : this.exchange.delivery.onRequestBytes(bytes, length);
    if (!upload.done) wheel.arm(this.#deadline, limits.stallMs);
    if (behind === length) return;
    const phase: ClientPhase = this.phase;
    if (phase === "idle") this.#consume(bytes, behind, length);
    else if (phase === "busy") {
      const rest = bytes.subarray(behind, length);
      this.#pending = this.#pending === null ? Buffer.from(rest) : Buffer.concat([this.#pending, rest]);
      this.wire.pause();
    }
  }

  /** R12: the rest of a body that was answered before its end, and then the next request. */
  #discard(bytes: Buffer, length: number): void {
    const { upload } = this.exchange;
    const behind = upload.take(bytes, 0, length, this.wire, null);
    this.#discarded += length;
    if (behind !== -1 && upload.done) {
      this.phase = "idle";
      this.#consume(bytes, behind, length);
    } else if (behind === -1 || this.#discarded > this.#context.limits.lingerBytes) this.#close();
    else this.#awaitRest();
  }

  #awaitRest(): void {
    const { wheel, limits } = this.#context;
    wheel.arm(this.#deadline, this.#parting ? limits.drainIdleMs : limits.stallMs);
  }

  onEnd(): void {
    switch (this.phase) {
      case "idle":
      case "head":
      case "discarding":
        this.#close();
        return;
      case "busy":
        // R7: a FIN ends what the client says, not what it waits for; in mid-body there is nothing to wait for.
        if (!this.exchange.upload.done) {
          this.exchange.onClientGone();
          this.wire.destroy();
        }
        return;
      case "tunnel":
        this.exchange.tunnel?.onClientEnd();
        return;
      case "closing":
      case "gone":
        return;
    }
  }

  onFlushed(): void {
    if (this.phase === "busy") this.exchange.reply.onClientFlushed();
    else if (this.phase === "tunnel") this.exchange.tunnel?.onClientFlushed();
    else if (this.phase === "idle") this.#advance();
  }

  onClosed(): void {
    if (this.phase === "gone") return;
    this.exchange.onClientGone();
    this.phase = "gone";
    this.#headOver();
    this.#pending = null;
    this.#context.wheel.remove(this.#deadline);
    this.#owner.onClientGone(this);
  }

  // What the exchange says.

  onExchangeDone(keep: boolean): void {
    if (this.phase !== "busy" && this.phase !== "tunnel") return;
    if (!keep || this.wire.closed || (this.wire.ended && this.#pending === null)) {
      this.#close();
      return;
    }
    this.#headSince = -1;
    if (!this.exchange.upload.done) {
      this.phase = "discarding";
      this.#discarded = 0;
      this.wire.resume();
      this.#awaitRest();
      return;
    }
    this.phase = "idle";
    if (!this.#consuming) this.#advance();
  }

  /** The next request, if it has been read already; else rest. */
  #advance(): void {
    const pending = this.#pending;
    if (pending === null) {
      this.#rest();
      this.wire.resume();
      // What was written must leave before more is answered: a client that never reads is not read either.
    } else if (!this.wire.pending) {
      this.#pending = null;
      this.#consume(pending, 0, pending.length);
      if (this.phase === "head" && this.wire.ended) this.#close();
    }
  }

  onTunnel(): void {
    this.phase = "tunnel";
    this.#context.wheel.disarm(this.#deadline);
    const pending = this.#pending;
    this.#pending = null;
    this.wire.resume();
    if (pending !== null) this.exchange.tunnel?.onClientBytes(pending, pending.length);
  }

  onWritePending(): void {
    const { wheel, limits } = this.#context;
    this.#unsent = this.wire.unsent;
    wheel.arm(this.#deadline, limits.stallMs);
  }

  abort(reset: boolean): void {
    this.phase = "closing";
    if (reset) this.wire.reset();
    else this.wire.destroy();
  }

  // Its end.

  /** There are too many. */
  turnAway(): void {
    this.#refuse(FAILURE.connections);
  }

  /**
   * The worker, the service or an endpoint may be taking leave. What runs sees to itself; what comes on an idle connection
   * is answered, and is its last. It is closed as it would be anyhow, or after a short time if there is a hurry: the
   * client may be writing at that very moment (R2).
   */
  leave(): void {
    if (this.phase === "idle" && this.#hurried) this.#rest();
    else if (this.phase === "discarding") this.#awaitRest();
    this.exchange.leave();
  }

  get #parting(): boolean {
    const { drainingSince, table } = this.#context;
    return drainingSince >= 0 || table.listeners.get(this.listener)?.accepting === false;
  }

  get #hurried(): boolean {
    const { hurry, table } = this.#context;
    return hurry || table.listeners.get(this.listener)?.accepting === false;
  }

  #rest(): void {
    const { wheel, limits } = this.#context;
    this.#headSince = -1;
    wheel.arm(this.#deadline, this.#hurried ? limits.drainIdleMs : limits.idleMs);
  }

  #refuse(failure: Failure): void {
    const { agent } = this.#context.table;
    this.wire.write(errorAnswer(failure, { agent, sent: false, close: true, toHead: false }));
    this.#close();
  }

  /** R3: our FIN, then what still comes is read and thrown away, up to a limit and a time. */
  #close(): void {
    if (this.phase === "closing" || this.phase === "gone") return;
    this.phase = "closing";
    this.#pending = null;
    this.#discarded = 0;
    this.#headOver();
    this.wire.end();
    this.wire.resume();
    this.#unsent = this.wire.unsent;
    this.#context.wheel.arm(this.#deadline, this.#context.limits.lingerMs);
  }

  onDeadline(): void {
    const { wheel, limits } = this.#context;
    switch (this.phase) {
      case "idle":
      case "discarding":
        this.#close();
        return;
      case "head":
        this.#refuse(FAILURE.headTimeout);
        return;
      case "busy":
        if (this.wire.pending) {
          if (this.wire.unsent >= this.#unsent) this.wire.destroy();
          else this.onWritePending();
        } else if (!this.exchange.upload.done) {
          // Held back by us, for a slow app, or held back by the client?
          if (this.wire.paused) wheel.arm(this.#deadline, limits.stallMs);
          else this.exchange.onClientStalled();
        }
        return;
      case "closing": {
        // A slow reader still takes its answer: as long as it does, it may.
        const { unsent } = this.wire;
        if (unsent > 0 && unsent < this.#unsent) {
          this.#unsent = unsent;
          wheel.arm(this.#deadline, limits.lingerMs);
        } else this.wire.destroy();
        return;
      }
      case "tunnel":
      case "gone":
        return;
    }
  }
}
