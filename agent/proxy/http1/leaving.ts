/**
 * An exchange's way out when its endpoint, or the whole worker, is leaving. What has an end of its own is left to reach
 * it; event streams and WebSockets are told to go, each at its own random moment of the window so that not all come
 * back at once (R17); the hard cap ends the rest, if the policy says so.
 *
 * Units   milliseconds; moments are counted from the drain's start, not from when this exchange began.
 */
import type { CutCause } from "../../../proto/contract/report.ts";
import type { DrainSpec } from "../../../proto/contract/spec/types.ts";
import type { Ground } from "../ground.ts";
import type { Wire } from "../sockets.ts";
import { Deadline } from "../wheel.ts";
import type { Expiring } from "../wheel.ts";

/** What is to go, as this sees it. */
export interface Departing {
  endStream(): void;
  leaveTunnel(askMs: number, forceMs: number): void;
  cut(cause: CutCause): void;
}

export type Kind = "plain" | "event-stream" | "websocket" | "upgrade";

export class Leaving implements Expiring {
  active = false;
  readonly #ground: Ground;
  readonly #client: { readonly wire: Wire };
  readonly #departing: Departing;
  readonly #deadline = new Deadline(this);
  #drain: DrainSpec | null = null;
  #since = 0;
  #streamAt = Number.POSITIVE_INFINITY;
  #checkedAt = 0;
  /** What the client had taken at the last check, -1 when it kept up then. */
  #taken = -1;

  constructor(ground: Ground, client: { readonly wire: Wire }, departing: Departing) {
    this.#ground = ground;
    this.#client = client;
    this.#departing = departing;
  }

  /** Also when its kind has become known: a head may come in mid-drain. */
  start(kind: Kind, since: number, drain: DrainSpec): void {
    const { wheel, random } = this.#ground;
    this.active = true;
    this.#drain = drain;
    this.#since = since;
    this.#streamAt = Number.POSITIVE_INFINITY;
    this.#taken = -1;
    this.#checkedAt = wheel.now;
    const elapsed = wheel.now - since;
    if (kind === "event-stream") {
      this.#streamAt = Math.max(wheel.now, since + random.next() * drain.sseMs);
    } else if (kind === "websocket") {
      const force = Math.max(0, drain.websocketMs - elapsed);
      this.#departing.leaveTunnel(random.next() * force, force);
    }
    this.#arm();
  }

  /** It stays after all, or it is over. */
  stop(): void {
    if (!this.active) return;
    this.active = false;
    this.#ground.wheel.remove(this.#deadline);
  }

  onDeadline(): void {
    const { wheel } = this.#ground;
    const drain = this.#drain;
    if (!this.active || drain === null) return;
    if (drain.onTimeout === "cut") {
      const cause =
        wheel.now >= this.#since + drain.timeoutMs ? "drain_deadline" : this.#tooSlow() ? "slow_client" : null;
      if (cause !== null) {
        this.#departing.cut(cause);
        return;
      }
    }
    if (wheel.now >= this.#streamAt) {
      this.#streamAt = Number.POSITIVE_INFINITY;
      // It may be the last step, and `stop` come out of it.
      this.#departing.endStream();
    }
    this.#arm();
  }

  /** R18: less than the minimum rate taken since the last check, with bytes waiting all the while. */
  #tooSlow(): boolean {
    const { wheel, limits } = this.#ground;
    const elapsed = wheel.now - this.#checkedAt;
    if (elapsed < limits.slowAfterMs) return false;
    const { wire } = this.#client;
    const unsent = wire.pending ? wire.unsent : 0;
    const before = this.#taken;
    this.#taken = unsent > 0 ? wire.written - unsent : -1;
    this.#checkedAt = wheel.now;
    return before >= 0 && unsent > 0 && ((this.#taken - before) * 1_000) / elapsed < limits.slowBytesPerSecond;
  }

  #arm(): void {
    const { wheel, limits } = this.#ground;
    const drain = this.#drain;
    if (drain === null || !this.active) return;
    const cap = drain.onTimeout === "cut" ? this.#since + drain.timeoutMs : Number.POSITIVE_INFINITY;
    wheel.armAt(this.#deadline, Math.min(cap, this.#streamAt, wheel.now + limits.slowAfterMs));
  }
}
