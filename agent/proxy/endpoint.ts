/**
 * One instance, or one next agent, as this worker sees it: what runs on it, which connections are open, whether it may
 * be picked. It outlives tables: the same (service, id, address, port) in the next one is the same endpoint.
 *
 * Passive ejection (R6): a failed connect, or resets in a row, take it out of the picks for a time that doubles with
 * every ejection, without waiting for a probe. One success puts it right.
 */
import type { Millis } from "../../proto/kernel/clock.ts";
import type { EndpointConfig } from "./config.ts";
import type { Ground } from "./ground.ts";
import { Shadow } from "./mirror/shadow.ts";
import { Pool } from "./pool.ts";
import { COUNTER } from "./stats-layout.ts";

const NEVER = Number.NEGATIVE_INFINITY;
/** A reset may be one request's fault; this many in a row are the endpoint's. */
const RESETS = 3;

export class Endpoint extends Pool {
  readonly id: string;
  /** The next hop is a Baton agent: its `baton-error` is its own word, and the app is behind it. */
  readonly believed: boolean;
  version = "";
  revision = 0;
  slot: number;
  /** Exchanges and tunnels on it, of this worker. */
  inFlight = 0;
  #shadow: Shadow | null = null;
  #ejectedUntil: Millis = NEVER;
  #ejections = 0;
  #resets = 0;
  #bornAt: Millis = NEVER;

  constructor(ground: Ground, config: EndpointConfig, fresh: boolean) {
    super(ground, { host: config.address, port: config.port });
    this.id = config.id;
    this.believed = config.kind === "agent";
    this.slot = config.slot;
    if (fresh) this.#bornAt = ground.wheel.now;
  }

  get full(): boolean {
    return this.idle.length === 0 && this.open >= this.ground.limits.upstreamConnections;
  }

  /** Where copies of requests go in. */
  get shadow(): Shadow {
    return (this.#shadow ??= new Shadow(this.ground, this));
  }

  ejected(now: Millis): boolean {
    return this.#ejectedUntil > now;
  }

  /** 0.1 .. 1: the chance that a pick which fell on it stands (R17). */
  warmth(now: Millis): number {
    const age = now - this.#bornAt;
    const { slowStartMs } = this.ground.limits;
    return age >= slowStartMs ? 1 : 0.1 + (0.9 * age) / slowStartMs;
  }

  /** Takes its new place in the statistics; levels move along. */
  assign(version: string, revision: number, slot: number): void {
    this.version = version;
    this.revision = revision;
    if (slot === this.slot) return;
    this.ground.stats.add(this.slot, COUNTER.connections, -this.open);
    this.ground.stats.add(slot, COUNTER.connections, this.open);
    this.slot = slot;
  }

  override opened(): void {
    super.opened();
    this.ground.stats.add(this.slot, COUNTER.connections, 1);
  }

  override closed(): void {
    super.closed();
    this.ground.stats.add(this.slot, COUNTER.connections, -1);
  }

  /** An answer came: what was held against it is forgotten. */
  succeeded(): void {
    this.#resets = 0;
    this.#ejections = 0;
    this.#ejectedUntil = NEVER;
  }

  /** `refusedConnect`: it could not be connected to at all, which needs no second witness. */
  failed(refusedConnect: boolean, error: string): void {
    this.#resets += 1;
    const { wheel, limits } = this.ground;
    if (this.draining || this.ejected(wheel.now) || (!refusedConnect && this.#resets < RESETS)) return;
    this.#ejectedUntil = wheel.now + Math.min(limits.ejectMaxMs, limits.ejectMs * 2 ** this.#ejections);
    this.#ejections += 1;
    this.#resets = 0;
    this.ground.onEndpointFailed(this.id, error);
  }

  /** Nothing new comes: idle connections are of no use, and nobody waits for copies. */
  startDraining(): void {
    if (this.draining) return;
    this.drainingSince = this.ground.wheel.now;
    this.close();
  }

  stopDraining(): void {
    this.drainingSince = -1;
    this.succeeded();
  }

  /** What carries no client's request. */
  close(): void {
    this.closeIdle();
    this.#shadow?.close();
  }
}
