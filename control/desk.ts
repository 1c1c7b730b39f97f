/**
 * Where a controller's work is done while it leads or follows: everything that is made anew when that changes, on the
 * ground that stays (listeners, store, tokens). A controller that stands alone has one for life.
 */
import type { Clock, Millis } from "../proto/kernel/clock.ts";
import type { Log } from "../proto/kernel/log.ts";
import type { Random } from "../proto/kernel/random.ts";
import type { Measure } from "./analysis/measure.ts";
import type { Token } from "./api/auth.ts";
import type { Metrics } from "./api/metrics.ts";
import type { OperatorServer } from "./api/service.ts";

export type Role = "leader" | "follower" | "candidate";

/** What every desk of one process stands on. */
export interface Ground {
  /** This controller's name among several. */
  readonly id: string;
  readonly software: string;
  readonly startedAtMs: Millis;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Wall time that no step of the wall clock moves while this process lives. */
  now(): Millis;
  readonly operatorToken: Token;
  readonly measure: Measure;
  readonly leaseMs: Millis;
  readonly reportEveryMs: Millis;
  /** Who leads, as far as is known; "" when nobody does. */
  leader(): string;
  /** Of the process beyond its desk: the way to NATS, the lease. */
  troubles(): readonly string[];
}

export interface Desk {
  readonly role: Role;
  readonly epoch: number;
  readonly operators: OperatorServer;
  readonly metrics: Metrics;
  /** "" when what is asked here can be answered, else why not. */
  notReady(): string;
  /** Of the store's newest batch that is known here. */
  readonly position: number;
  /** The same for those whose token another controller has looked at. */
  readonly trusted: OperatorServer;
  /** Gentle and idempotent; the store is left open. */
  stop(reason: string): Promise<void>;
}
