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
import type { Home, Upstream } from "./http1/upstream.ts";
import { COUNTER } from "./stats-layout.ts";

const NEVER = Number.NEGATIVE_INFINITY;
/** A reset may be one request's fault; this many in a row are the endpoint's. */
const RESETS = 3;

export class Endpoint implements Home {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  readonly believed: boolean;
  version = "";
  slot: number;
  /** When it began to drain (wheel time), or -1. */
  drainingSince: Millis = -1;
  /** Exchanges and tunnels on it, of this worker. */
  inFlight = 0;
  /** Open connections, idle ones too. */
  open = 0;
  /** Idle connections, the most recently used last. */
  readonly idle: Upstream[] = [];
  /** How long an idle connection may be kept: what the app said, or what was seen of it (R1). */
  idleMs: Millis;
  readonly #ground: Ground;
  #ejectedUntil: Millis = NEVER;
  #ejections = 0;
  #resets = 0;
  #bornAt: Millis = NEVER;

  constructor(ground: Ground, config: EndpointConfig, fresh: boolean) {
    this.#ground = ground;
    this.id = config.id;
    this.host = config.address;
    this.port = config.port;
    this.believed = config.kind === "agent";
    this.slot = config.slot;
    this.idleMs = ground.limits.upstreamIdleMs;
    if (fresh) this.#bornAt = ground.wheel.now;
  }

  get draining(): boolean {
    return this.drainingSince >= 0;
  }

  get full(): boolean {
    return this.idle.length === 0 && this.open >= this.#ground.limits.upstreamConnections;
  }

  ejected(now: Millis): boolean {
    return this.#ejectedUntil > now;
  }

  /** 0.1 .. 1: the chance that a pick which fell on it stands (R17). */
  warmth(now: Millis): number {
    const age = now - this.#bornAt;
    const { slowStartMs } = this.#ground.limits;
    return age >= slowStartMs ? 1 : 0.1 + (0.9 * age) / slowStartMs;
  }

  /** Takes its new place in the statistics; levels move along. */
  assign(version: string, slot: number): void {
    this.version = version;
    if (slot === this.slot) return;
    this.#ground.stats.add(this.slot, COUNTER.connections, -this.open);
    this.#ground.stats.add(slot, COUNTER.connections, this.open);
    this.slot = slot;
  }

  opened(): void {
    this.open += 1;
    this.#ground.stats.add(this.slot, COUNTER.connections, 1);
  }

  closed(): void {
    this.open -= 1;
    this.#ground.stats.add(this.slot, COUNTER.connections, -1);
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
    const { wheel, limits } = this.#ground;
    if (this.draining || this.ejected(wheel.now) || (!refusedConnect && this.#resets < RESETS)) return;
    this.#ejectedUntil = wheel.now + Math.min(limits.ejectMaxMs, limits.ejectMs * 2 ** this.#ejections);
    this.#ejections += 1;
    this.#resets = 0;
    this.#ground.onEndpointFailed(this.id, error);
  }

  /** The warmest idle connection that its app has surely not begun to close; others that are too old go. */
  takeIdle(): Upstream | null {
    const { now } = this.#ground.wheel;
    for (;;) {
      const upstream = this.idle.pop();
      if (upstream === undefined) return null;
      if (now - upstream.idleSince < this.idleMs && upstream.usable) return upstream;
      upstream.discard();
    }
  }

  /** The app says how long it keeps an idle connection: ours goes a good while earlier. */
  learnKeepAlive(timeoutMs: Millis): void {
    this.idleMs = Math.min(this.#ground.limits.upstreamIdleMs, Math.max(timeoutMs / 2, timeoutMs - 1_000));
  }

  /** The app closed one after `idle`: a restart closes young ones too, so only what is no accident teaches. */
  learnClose(idle: Millis): void {
    if (idle >= 1_000) this.idleMs = Math.min(this.idleMs, idle * 0.8);
  }

  /** Nothing new comes: idle connections are of no use. */
  startDraining(): void {
    if (this.draining) return;
    this.drainingSince = this.#ground.wheel.now;
    this.closeIdle();
  }

  stopDraining(): void {
    this.drainingSince = -1;
    this.succeeded();
  }

  closeIdle(): void {
    for (const upstream of this.idle.splice(0)) upstream.discard();
  }
}
