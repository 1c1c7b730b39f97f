/** Idle connections to one address, the warmest first out, and how long one may be kept before its app closes it (R1). */
import type { Millis } from "../../proto/kernel/clock.ts";
import type { Ground } from "./ground.ts";
import type { Home, Upstream } from "./http1/upstream.ts";

/** Whoever stood still for so long has not read yet who said farewell meanwhile. */
const STALL_MS: Millis = 500;

export class Pool implements Home {
  readonly host: string;
  readonly port: number;
  /** When it began to drain (wheel time), or -1. */
  drainingSince: Millis = -1;
  /** Open connections, idle ones too. */
  open = 0;
  /** The most recently used last. */
  readonly idle: Upstream[] = [];
  /** How long an idle connection may be kept: what the app said, or what was seen of it. */
  idleMs: Millis;
  protected readonly ground: Ground;

  constructor(ground: Ground, { host, port }: { readonly host: string; readonly port: number }) {
    this.ground = ground;
    this.host = host;
    this.port = port;
    this.idleMs = ground.limits.upstreamIdleMs;
  }

  get draining(): boolean {
    return this.drainingSince >= 0;
  }

  opened(): void {
    this.open += 1;
  }

  closed(): void {
    this.open -= 1;
  }

  /** The warmest idle connection that its app has surely not begun to close; others that are too old go. */
  takeIdle(): Upstream | null {
    const now = this.ground.clock.monotonic();
    if (now - this.ground.wheel.now >= STALL_MS) return null;
    for (;;) {
      const upstream = this.idle.pop();
      if (upstream === undefined) return null;
      if (now - upstream.idleSince < this.idleMs && upstream.usable) return upstream;
      upstream.discard();
    }
  }

  /** The app says how long it keeps an idle connection: ours goes a good while earlier. */
  learnKeepAlive(timeoutMs: Millis): void {
    this.idleMs = Math.min(this.ground.limits.upstreamIdleMs, Math.max(timeoutMs / 2, timeoutMs - 1_000));
  }

  /** The app closed one after `idle`: a restart closes young ones too, so only what is no accident teaches. */
  learnClose(idle: Millis): void {
    if (idle >= 1_000) this.idleMs = Math.min(this.idleMs, idle * 0.8);
  }

  closeIdle(): void {
    for (const upstream of this.idle.splice(0)) upstream.discard();
  }
}
