/**
 * What an agent tells of itself, whole, every `reportEveryMs`: repeated or lost reports change nothing, because every
 * number is a total since `boot`. The controller takes differences.
 */
import type { Applied } from "./assignment.ts";

export const INSTANCE_STATES = ["starting", "ready", "serving", "draining", "stopping", "stopped", "failed"] as const;
export type InstanceState = (typeof INSTANCE_STATES)[number];

export interface InstanceReport {
  readonly service: string;
  readonly revision: number;
  readonly version: string;
  /** Unique on its host for ever: `shop-r2-0-1a2b`. */
  readonly id: string;
  readonly state: InstanceState;
  /** Wall clock, when it got into this state. */
  readonly sinceMs: number;
  /** Wall clock, since when it has passed its readiness probe without a break; 0 when it does not now. */
  readonly healthySinceMs: number;
  /** This run of it has passed its readiness probe before, as far as the agent's core has seen. */
  readonly wasReady: boolean;
  readonly pid: number;
  readonly address: string;
  readonly port: number;
  /** Starts beyond the first, of this revision's slot. */
  readonly restarts: number;
  /** Of the last exit; null while the first one runs. Exit code, or the signal's name. */
  readonly exit: { readonly code: number | null; readonly signal: string | null } | null;
  /** Why it is in this state, for people: "readiness: 503", "exited with 3 after 5.0 s". */
  readonly reason: string;
  /** Last lines of output; only while it is not healthy, to keep reports small. */
  readonly output: readonly string[];
  /** Requests, streams and tunnels on it now, over all workers. */
  readonly inFlight: number;
  /** Ever started on it: the barrier asks that this stands still once it is out of the table. */
  readonly started: number;
}

/** Why Baton, and not the app or the client, ended something. The names are metric labels and ledger rows. */
export const LOSS_CAUSES = [
  "connect_failed", // no instance could be connected to, after every safe retry
  "upstream_reset", // the connection broke before any byte of an answer and could not be retried
  "response_cut", // the connection broke in mid-answer (R11)
  "upstream_timeout", // the answer did not begin in the route's time
  "upstream_protocol", // the answer broke HTTP's rules
  "no_instance", // nothing to route to
  "overload", // a bound was hit: queue, connections
  "tunnel_cut", // an upgraded connection broke without the client's doing
  "worker_killed", // it was in flight on a worker that died
  "internal", // a defect of Baton's
] as const;
export type LossCause = (typeof LOSS_CAUSES)[number];

/** What Baton ended on purpose, under a policy that says so; counted apart from what was lost. */
export const CUT_CAUSES = [
  "drain_deadline", // still in flight at drain.timeout
  "slow_client", // below the minimum rate at drain (R18)
] as const;
export type CutCause = (typeof CUT_CAUSES)[number];

/** Totals since `boot` for one (service, version, endpoint). `endpoint` is an instance id, a host's name at a gateway, or "" for what reached none. */
export interface TrafficReport {
  readonly service: string;
  readonly version: string;
  readonly endpoint: string;
  readonly started: number;
  readonly inFlight: number;
  /** Answered in full, by the app's own answer, whatever its status. */
  readonly completed: number;
  /** Answers by class: index 1..5 is 1xx..5xx; index 0 is unused. */
  readonly statusClasses: readonly number[];
  /** Exchanges that needed more than one attempt and were carried all the same. */
  readonly retried: number;
  /** Carried to their end on an instance that was already draining; includes streams that were ended politely. */
  readonly drained: number;
  /** Ended by the client before they were over. */
  readonly clientGone: number;
  readonly tunnels: number;
  readonly eventStreams: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Indexed as LOSS_CAUSES, CUT_CAUSES. */
  readonly lost: readonly number[];
  readonly cut: readonly number[];
  /** Log-linear counts of time to the answer's head; see contract/histogram.ts. Sparse: pairs [bucket, count]. */
  readonly latency: readonly (readonly [number, number])[];
}

export interface EndpointReport {
  readonly service: string;
  /** Index of the listener in the assignment. */
  readonly listener: number;
  readonly address: string;
  readonly port: number;
}

export const INCIDENT_KINDS = [
  "worker_died",
  "core_started",
  "instance_exited",
  "state_set_aside",
  "bind_failed",
] as const;

export interface Incident {
  /** Grows by one within a boot; the controller takes each once. */
  readonly seq: number;
  readonly atMs: number;
  readonly kind: (typeof INCIDENT_KINDS)[number];
  readonly service: string;
  readonly message: string;
}

export interface Report {
  /** New at every start of the keeper: totals begin at 0 again. */
  readonly boot: string;
  readonly seq: number;
  readonly applied: Applied | null;
  readonly instances: readonly InstanceReport[];
  readonly endpoints: readonly EndpointReport[];
  readonly traffic: readonly TrafficReport[];
  /** The newest, at most 64. */
  readonly incidents: readonly Incident[];
}
