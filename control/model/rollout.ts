/**
 * A rollout as a value: everything the engine needs to go on after a restart, and everything an operator asks about.
 * The store keeps it whole; each change of it is journalled before it is acted on.
 */
import type { RollingStrategy } from "../../proto/contract/spec/types.ts";

/** Argo's words, for people and scripts. */
export type Phase = "Progressing" | "Paused" | "Healthy" | "Degraded";

export type PauseReason =
  | "Manual"
  | "Step"
  | "AwaitingApproval"
  | "Inconclusive"
  | "FleetPartitioned"
  | "DrainTimeout"
  | "UnexplainedLoss"
  | "Rejected";

export type Stage =
  | { readonly kind: "pending" }
  | { readonly kind: "preparing" }
  /** Batch `step` is on its way; each host's own stage says how far. */
  | { readonly kind: "step"; readonly step: number; readonly of: "applying" | "converging" | "analyzing" | "baking" }
  | { readonly kind: "promoting" }
  | { readonly kind: "draining" }
  | { readonly kind: "finalizing" }
  | { readonly kind: "succeeded" }
  | { readonly kind: "aborting"; readonly why: string }
  | { readonly kind: "rolling-back"; readonly of: "capacity" | "traffic" | "drain"; readonly why: string }
  | { readonly kind: "rolled-back"; readonly why: string }
  /** A rollback that can't go on safely: traffic stays on what is healthy. */
  | { readonly kind: "failed"; readonly why: string }
  | { readonly kind: "superseded"; readonly by: string };

export interface Pause {
  readonly reason: PauseReason;
  readonly message: string;
  readonly sinceMs: number;
}

/**
 * How far one host is. Surge on the host keeps the old version until the new one serves; in place takes the host out of
 * the gateways first (RACES R5), then swaps.
 *
 *   surge     waiting → starting → shifting → draining → stopping → done
 *   in place  waiting → removing → draining → stopping → starting → restoring → done
 *   back      the same words towards the old revision
 */
export type HostStage =
  "waiting" | "removing" | "starting" | "shifting" | "draining" | "stopping" | "restoring" | "done";

export interface HostTrack {
  readonly host: string;
  readonly way: "surge" | "in-place";
  readonly stage: HostStage;
  /** Which revision it is being taken to: the target while rolling on, the old one while rolling back. */
  readonly towards: number;
  readonly sinceMs: number;
  /** When its drain began; 0 before. */
  readonly drainSinceMs: number;
  /** One clause for people: what this host is waited for. */
  readonly waitingFor: string;
}

export interface Rollout {
  readonly id: string;
  readonly service: string;
  /** 0: there was nothing before. */
  readonly from: number;
  readonly to: number;
  readonly strategy: RollingStrategy;
  readonly stage: Stage;
  readonly pause: Pause | null;
  readonly hosts: readonly HostTrack[];
  readonly startedAtMs: number;
  /** 0 while it runs. */
  readonly endedAtMs: number;
  /** The last time that anything moved forward: the progress deadline counts from here. Stands still while paused. */
  readonly progressAtMs: number;
  /** Incremented by each change: the journal's key together with the id. */
  readonly change: number;
  readonly actor: string;
}

/** What an operator may say to a rollout. `supersede` is said by the controller when a newer revision is deployed. */
export type Command =
  | { readonly kind: "pause"; readonly actor: string; readonly reason: string }
  | { readonly kind: "resume"; readonly actor: string }
  | { readonly kind: "promote"; readonly actor: string; readonly full: boolean }
  | { readonly kind: "abort"; readonly actor: string; readonly reason: string }
  | { readonly kind: "supersede"; readonly actor: string; readonly by: string };

/** One row of the journal, written before anything is done about it. */
export interface JournalEntry {
  readonly rollout: string;
  readonly change: number;
  readonly atMs: number;
  readonly epoch: number;
  readonly actor: string;
  readonly stage: string;
  readonly reason: string;
  /** One sentence with the evidence: numbers, hosts, exit codes. */
  readonly message: string;
}

/** What one host is asked for, for one service: the engine's whole output towards the fleet. */
export interface HostDesire {
  readonly host: string;
  readonly revisions: readonly { readonly revision: number; readonly mode: "standby" | "serving" | "draining" }[];
  /** May gateways send to it? */
  readonly routed: boolean;
}
