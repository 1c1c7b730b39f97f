/**
 * The desired state of one agent, and what the agent says of it. An assignment is a whole snapshot: applying it twice
 * changes nothing, and what it does not name is drained and stopped.
 *
 * Fencing  (epoch, generation) only grows; an agent refuses anything below the highest it has seen (I4).
 * hash     SHA-256 over the canonical JSON of `services`: equal hash, equal state, whoever sent it.
 */
import type { DrainSpec, HealthSpec, ListenerSpec, MatchSpec, RuleSpec, RunSpec, StickySpec } from "./spec/types.ts";
import type { BasisPoints } from "./units.ts";

export interface Fence {
  readonly epoch: number;
  readonly generation: number;
}

export interface Assignment extends Fence {
  readonly hash: string;
  readonly services: readonly AssignedService[];
}

export interface AssignedService {
  readonly name: string;
  /** The rollout that moves it, "" when none does: the ledger is gathered under this. */
  readonly rollout: string;
  /** Bound by this agent. A port of 0 asks the kernel; the agent reports what it got, and keeps it over restarts. */
  readonly listeners: readonly ListenerSpec[];
  readonly hostnames: readonly string[];
  readonly rules: readonly RuleSpec[];
  readonly drain: DrainSpec;
  /** false: this agent takes no new traffic for it from outside (host drained); what runs is finished. */
  readonly accepting: boolean;
  /** Run and served here (a host agent, or a standalone one). */
  readonly revisions: readonly AssignedRevision[];
  /** Other agents that serve it (a gateway). */
  readonly endpoints: readonly AssignedEndpoint[];
  /** How callers are told apart for the weights; null: by chance. */
  readonly sticky: StickySpec | null;
  /** Asked before the weights, in order: a request that matches goes to that revision, if it can take one. */
  readonly routes: readonly VersionRoute[];
  /** Requests that match are also sent to that revision; its answers go nowhere. */
  readonly mirrors: readonly VersionMirror[];
}

/** Split, routes and mirrors are only asked where the next hop is the app: each request is decided about once. */
export interface VersionRoute {
  readonly name: string;
  readonly revision: number;
  /** Never empty; any of them. */
  readonly matches: readonly MatchSpec[];
}

export interface VersionMirror {
  readonly name: string;
  readonly revision: number;
  /** Never empty; any of them. */
  readonly matches: readonly MatchSpec[];
  readonly percentage: BasisPoints;
}

/**
 * standby   runs, probed, gets no traffic
 * serving   runs, gets its weight of new requests once ready
 * draining  runs, gets nothing new, finishes what it has; tunnels and event streams are told to go
 * A revision that is no longer named: drained if it was not yet, then stopped (R14).
 */
export type RevisionMode = "standby" | "serving" | "draining";

export interface AssignedRevision {
  readonly revision: number;
  readonly version: string;
  readonly mode: RevisionMode;
  /** Share of new requests among the serving revisions, basis points. */
  readonly weight: number;
  readonly run: RunSpec;
  readonly health: HealthSpec | null;
}

export interface AssignedEndpoint {
  /** The host agent's name. */
  readonly host: string;
  readonly address: string;
  readonly port: number;
  readonly mode: "serving" | "draining";
}

/** agent → controller */
export interface Applied extends Fence {
  readonly hash: string;
  /** Per service, the hash of the AssignedService that is now live in every worker: what the barrier compares. */
  readonly services: Readonly<Record<string, string>>;
}

export interface Rejected extends Fence {
  readonly hash: string;
  /** One sentence for an operator: what, where, what to do. */
  readonly why: string;
}
