/**
 * A rollout as a value: everything the engine needs to go on after a restart, and everything an operator asks about.
 * The store keeps it whole; each change of it is journalled before it is acted on.
 */
import type { HeaderRoute, MirrorRoute, StickySpec, StrategySpec } from "../../proto/contract/spec/types.ts";
import type { BasisPoints } from "../../proto/contract/units.ts";
import type { AnalysisRun } from "./analysis.ts";
import type { VersionTraffic } from "./view.ts";

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
  | "Rejected"
  /** The new version failed and `autoRevert` is off: Nomad's "fails and stays". */
  | "Unhealthy"
  /** A plan would have broken an invariant: it was not acted on. A defect of Baton's; the message names it. */
  | "InvariantViolation";

export type Stage =
  | { readonly kind: "pending" }
  /** It waits for the rollout `behind`, which goes back first, and then begins. Nothing is asked for it meanwhile. */
  | { readonly kind: "blocked"; readonly behind: string; readonly why: string }
  | { readonly kind: "preparing" }
  /** Rolling: so many hosts have begun; each host's own stage says how far. Else: the program's step, from 0 (Rollout.step). */
  | {
      readonly kind: "step";
      readonly step: number;
      readonly of: "applying" | "converging" | "analyzing" | "baking" | "pausing";
    }
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
 *   split     waiting → starting → splitting → shifting → draining → stopping → done
 *   in place  waiting → removing → draining → stopping → starting → restoring → done
 *             … → restoring → waiting, where it comes back to what was before, to share from there (tracks.ts)
 *   back      the same words towards the old revision
 */
export type HostStage =
  "waiting" | "removing" | "starting" | "splitting" | "shifting" | "draining" | "stopping" | "restoring" | "done";

export interface HostTrack {
  readonly host: string;
  readonly way: "surge" | "in-place";
  readonly stage: HostStage;
  /** Which revision it is being taken to: `goal` (or first back `home`) while rolling on, `home` while rolling back. 0: to none. */
  readonly towards: number;
  /** Where the rollout takes it: the target, or 0 when the target is not placed here. */
  readonly goal: number;
  /** Where a rollback takes it: the revision before, or 0 when that is not placed here. */
  readonly home: number;
  /** What it is asked for now. Any revision may be here besides goal and home: a superseded target, on its way out. */
  readonly revisions: HostDesire["revisions"];
  readonly routed: boolean;
  readonly sinceMs: number;
  /** When its drain was confirmed to have begun; 0 before. */
  readonly drainSinceMs: number;
  /** When `towards` was confirmed to serve here; 0 before. The bake counts from here. */
  readonly servesSinceMs: number;
  /**
   * Since when `towards` has been ready without a break, by the controller's clock (0: it is not), and the agent's own
   * `healthySinceMs` at that moment: another value means that it was unready between two reports.
   */
  readonly healthyAtMs: number;
  readonly healthyMark: number;
  /** Since when `towards`, having served, has been seen unready; 0: it is ready, or never served. */
  readonly unhealthyAtMs: number;
  /** Exits of `towards` on this host up to this number are put up with: one before it serves, none after. */
  readonly exitsAllowed: number;
  /** The operator said that what is still in flight here may be ended. */
  readonly cutAllowed: boolean;
  /** One clause for people: what this host is waited for. */
  readonly waitingFor: string;
}

export interface Rollout {
  readonly id: string;
  readonly service: string;
  /** 0: there was nothing before. */
  readonly from: number;
  readonly to: number;
  readonly strategy: StrategySpec;
  readonly stage: Stage;
  readonly pause: Pause | null;
  readonly hosts: readonly HostTrack[];
  readonly startedAtMs: number;
  /** 0 while it runs. */
  readonly endedAtMs: number;
  /** The last time that anything moved forward: the progress deadline counts from here. Stands still while paused. */
  readonly progressAtMs: number;
  /** Grows by one with each journal entry, and by at least one with each change: the journal's key together with the id. */
  readonly change: number;
  /** The epoch that last acted on it: a lower one must not (I4), a higher one starts its clocks anew (I5). */
  readonly epoch: number;
  /** Unexplained losses that the operator has seen and gone on from: only more of them halt again. */
  readonly acknowledgedLoss: number;
  /** Lost hosts that the operator goes on without; one leaves the list when it reports again. */
  readonly without: readonly string[];
  /** `promote --full`: nothing is baked any more. */
  readonly skipBakes: boolean;
  /** Where the program of a canary or blueGreen rollout stands (rollout/program.ts). Of rolling: always its beginning. */
  readonly step: StepState;
  /** What the traffic is asked to be on hosts that run both versions to take a share each (`splitting`). */
  readonly split: SplitState;
  /** Running and ended ones. */
  readonly analyses: readonly AnalysisRun[];
  /** Analyses whose result (or lack of one) the operator has passed over. */
  readonly accepted: readonly string[];
  /** When the last host began; 0: none has. */
  readonly lastBegunAtMs: number;
  /** It goes back to a recent stable revision: steps and analyses are passed over (`rollbackWindow`). */
  readonly fastTrack: boolean;
  /** Traffic before this is not judged: the operator went on from what it showed. */
  readonly judgedFrom: Readonly<Record<string, VersionTraffic>>;
  readonly actor: string;
}

export interface StepState {
  /** Index into the program; its length when the program is over. */
  readonly index: number;
  /** When it was asked for; 0: not yet, hosts are made ready for it. */
  readonly sinceMs: number;
  /** When every live agent had confirmed what the step asks; 0: not yet. Pauses and analyses count from here. */
  readonly confirmedAtMs: number;
  /** The operator said `promote` to this very step. */
  readonly promoted: boolean;
}

export interface SplitState {
  /** The target's share of new requests. */
  readonly weight: BasisPoints;
  readonly routes: readonly HeaderRoute[];
  readonly mirrors: readonly MirrorRoute[];
}

/** What an operator may say to a rollout. `supersede` is said by the controller when a newer revision is deployed. */
export type Command =
  | { readonly kind: "pause"; readonly actor: string; readonly reason: string }
  | { readonly kind: "resume"; readonly actor: string }
  | { readonly kind: "promote"; readonly actor: string; readonly full: boolean }
  | { readonly kind: "abort"; readonly actor: string; readonly reason: string }
  /** The canary's share by hand, until the next setWeight. */
  | { readonly kind: "weight"; readonly actor: string; readonly weight: BasisPoints }
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
  /** Null: those that serve share equally. */
  readonly split: Split | null;
}

/** `target` takes its weight of new requests, what else serves the rest. */
export interface Split extends SplitState {
  readonly target: number;
  readonly sticky: StickySpec | null;
}
