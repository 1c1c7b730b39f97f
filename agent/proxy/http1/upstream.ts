/**
 * One connection to an endpoint: connecting, in use by one exchange or tunnel, or idle in the pool. Strictly one
 * request at a time (R8). While idle it is read-watched: a FIN, an RST or bytes that no one asked for end it, so that
 * it is not found dead by a request (R1).
 */
import type { Ground } from "../ground.ts";
import { Wire } from "../sockets.ts";
import type { WireOwner } from "../sockets.ts";
import { Deadline } from "../wheel.ts";
import type { Expiring } from "../wheel.ts";

/** Whoever it works for now. */
export interface UpstreamUser {
  onConnected(): void;
  onAnswer(bytes: Buffer, length: number): void;
  /** The app's FIN. */
  onAnswerEnd(): void;
  /** What was written has left. */
  onSent(): void;
  /** It is gone; nothing more comes from it. */
  onBroken(error: string): void;
}

/** The endpoint, as its connections see it. */
export interface Home {
  readonly host: string;
  readonly port: number;
  readonly draining: boolean;
  readonly idle: Upstream[];
  readonly idleMs: number;
  opened(): void;
  closed(): void;
  learnClose(idleFor: number): void;
}

export class Upstream implements WireOwner, Expiring {
  readonly wire: Wire;
  user: UpstreamUser | null;
  /** Answers that came over it in full. */
  carried = 0;
  idleSince = 0;
  readonly #ground: Ground;
  readonly #home: Home;
  readonly #deadline = new Deadline(this);
  #connected = false;
  #why = "";

  constructor(ground: Ground, home: Home, user: UpstreamUser) {
    this.#ground = ground;
    this.#home = home;
    this.user = user;
    home.opened();
    ground.wheel.arm(this.#deadline, ground.limits.connectMs);
    this.wire = Wire.connect({ host: home.host, port: home.port }, this, ground.buffers, () => {
      this.#connected = true;
      ground.wheel.disarm(this.#deadline);
      this.user?.onConnected();
    });
  }

  get connected(): boolean {
    return this.#connected;
  }

  get usable(): boolean {
    return this.#connected && !this.wire.ended && !this.wire.closed && !this.wire.pending;
  }

  /** Back to the pool, the last in and first out: the app will take another request on it. */
  release(): void {
    this.user = null;
    this.carried += 1;
    if (this.#home.draining || !this.usable) {
      this.discard();
      return;
    }
    this.wire.resume();
    this.idleSince = this.#ground.wheel.before;
    this.#ground.wheel.arm(this.#deadline, this.#home.idleMs);
    this.#home.idle.push(this);
  }

  /** Its user wants no more of it, whatever its state. */
  discard(): void {
    this.user = null;
    this.wire.destroy();
  }

  onDeadline(): void {
    if (!this.#connected) {
      this.#why = `connect timed out after ${this.#ground.limits.connectMs} ms`;
      this.wire.destroy();
    } else if (this.user === null) this.#leavePool();
  }

  onBytes(bytes: Buffer, length: number): void {
    if (this.user === null) this.#leavePool();
    else this.user.onAnswer(bytes, length);
  }

  onEnd(): void {
    if (this.user !== null) {
      this.user.onAnswerEnd();
      return;
    }
    this.#home.learnClose(this.#ground.wheel.now - this.idleSince);
    this.#leavePool();
  }

  onFlushed(): void {
    this.user?.onSent();
  }

  onClosed(error: Error | null): void {
    this.#ground.wheel.remove(this.#deadline);
    this.#home.closed();
    const { user } = this;
    this.user = null;
    if (user === null) this.#leavePool();
    else user.onBroken(this.#why || (error === null ? "connection closed" : error.message));
  }

  #leavePool(): void {
    const at = this.#home.idle.indexOf(this);
    if (at !== -1) this.#home.idle.splice(at, 1);
    this.wire.destroy();
  }
}
