/**
 * The streams of agents that are connected to this controller by gRPC, in a fleet that stands on NATS: each is carried
 * over the same subjects as if the agent itself spoke there, so that whoever leads hears every agent in one way.
 *
 * Ends  when this controller stops, and when it has been without NATS for so long that the agents are better off with
 *       another: both are said first (Reconnect), so that they don't all come to that one at once.
 */
import { status } from "@grpc/grpc-js";
import { SESSION } from "../../../proto/contract/limits.ts";
import { LEAD } from "../../../proto/contract/nats.ts";
import { decodeCall } from "../../../proto/contract/wire.ts";
import type { Call } from "../../../proto/contract/wire.ts";
import type { Timer } from "../../../proto/kernel/clock.ts";
import { Bridge } from "./bridge.ts";
import type { AgentStream, BridgeOptions } from "./bridge.ts";

/** Without NATS for so long, a controller is of no use to its agents. */
const LINK_LOST_MS = 3_000;
/** Longer than it takes another controller to lead. */
const SILENT_MS = LEAD.takeOverMs + LEAD.callMs;

export class Bridges {
  readonly #options: BridgeOptions;
  readonly #open = new Set<Bridge>();
  readonly #hearNoMore: () => void;
  readonly #unfollow: () => void;
  #called: { readonly epoch: number; readonly at: number };
  #losing: Timer | null = null;
  #stopped = "";

  constructor(options: BridgeOptions) {
    const { link, names, clock } = options;
    this.#options = options;
    this.#called = { epoch: 0, at: clock.monotonic() };
    this.#hearNoMore = link.listen(names.call, ({ data }) => {
      const read = decodeCall(data);
      if (read.kind === "ok") this.#call(read.value);
    });
    this.#unfollow = link.follow((connected) => {
      this.#losing?.cancel();
      this.#losing = connected ? null : clock.after(LINK_LOST_MS, () => this.#endAll(this.#noLink()));
      if (connected) for (const bridge of this.#open) bridge.linked();
    });
  }

  /** Streams that are carried now. */
  get size(): number {
    return this.#open.size;
  }

  serve(stream: AgentStream): void {
    const refuse = (details: string): void => void stream.emit("error", { code: status.UNAVAILABLE, details });
    if (this.#stopped !== "") refuse(this.#stopped);
    else if (!this.#options.link.connected) refuse(this.#noLink());
    else this.#open.add(new Bridge(stream, this.#options, (bridge) => this.#open.delete(bridge)));
  }

  /** Idempotent: agents are told to come back, to another controller if they know one. */
  stop(reason: string): void {
    if (this.#stopped !== "") return;
    this.#stopped = reason === "" ? "the controller is stopping" : reason;
    this.#losing?.cancel();
    this.#unfollow();
    this.#hearNoMore();
    this.#endAll(this.#stopped);
  }

  #noLink(): string {
    return `this controller has no connection to NATS: ${this.#options.link.trouble}`;
  }

  #call(call: Call): void {
    const now = this.#options.clock.monotonic();
    if (!call.again) {
      // Of a controller that was replaced (I4), unless nobody else has called for long: then the store counts anew.
      if (call.epoch < this.#called.epoch && now - this.#called.at < SILENT_MS) return;
      this.#called = { epoch: call.epoch, at: now };
    }
    for (const bridge of this.#open) bridge.called(call);
  }

  #endAll(reason: string): void {
    const withinMs = Math.min(SESSION.reconnectMaxMs, 500 + this.#open.size * 10);
    for (const bridge of [...this.#open]) bridge.leave(reason, withinMs);
  }
}
