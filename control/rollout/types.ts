/**
 * What goes into the engine and what comes out. The engine is pure: the same rollout and context give the same
 * decision, and a decision that changes nothing hands back the very same rollout object.
 *
 * How the controller uses it, once per report, command or wake-up:
 *   1. compile the rollout's desires (control/desired), so that every `askedHash` is of *this* rollout.change
 *   2. build the view, `view.change = rollout.change`
 *   3. step; if the rollout changed: store rollout and journal in one transaction, then begin again at 1
 *   4. send what was compiled
 * A rollout that enters `promoting` makes the controller store `stable := to` (and `previous := from`) in that same
 * transaction.
 */
import type { Millis } from "../../proto/kernel/clock.ts";
import type { ExternalMeasurement } from "../model/analysis.ts";
import type { JournalEntry, Rollout } from "../model/rollout.ts";
import type { Revision } from "../model/service.ts";
import type { FleetView } from "../model/view.ts";

/** Where both revisions are placed now, in the order in which hosts are to be moved (control/desired/placement.ts). */
export interface Cluster {
  /** Hosts that the target is placed on. */
  readonly hosts: readonly string[];
  /** Hosts that the revision before is placed on; empty when there was none. */
  readonly fromHosts: readonly string[];
  /** Per host, the value of the label that the strategy's `orderBy` names; a host that is not here has none. */
  readonly groups?: Readonly<Record<string, string>>;
}

export interface Context {
  readonly from: Revision | null;
  readonly to: Revision;
  readonly view: FleetView;
  readonly now: Millis;
  readonly epoch: number;
  readonly cluster: Cluster;
  /** What sources outside the controller have said since; one that was taken already, or is not due, changes nothing. */
  readonly measurements: readonly ExternalMeasurement[];
}

export interface Decision {
  /** The same object as before when nothing changed. */
  readonly rollout: Rollout;
  /** To be stored with the rollout before anything is done about it. */
  readonly journal: readonly JournalEntry[];
  /** When to step again though nothing is reported; `now` when the next step may be taken at once; null when never. */
  readonly wakeAtMs: Millis | null;
  /** It changed, but only what hosts are said to wait for: nothing is asked anew, and the next step is the same. */
  readonly onlyWords?: boolean;
}

export interface Refused {
  readonly kind: "refused";
  /** One sentence: why not, and which command would do. */
  readonly why: string;
}

export interface Beginning {
  readonly id: string;
  readonly service: string;
  readonly from: Revision | null;
  readonly to: Revision;
  /** Hosts that `to` is placed on, in order. */
  readonly hosts: readonly string[];
  /** Hosts that `from` is placed on; `hosts` when not given. */
  readonly fromHosts?: readonly string[];
  readonly now: Millis;
  readonly actor: string;
  readonly epoch: number;
  /** The rollout that this one supersedes: its hosts are taken on from where they are (RACES C6). */
  readonly over?: Rollout;
  /** It goes back to a revision within the rollback window: no steps, no analysis. */
  readonly fastTrack?: boolean;
}

/*
 * engine.ts   begin(beginning): Decision
 *             step(rollout, context): Decision
 *             command(rollout, command, context): Decision | Refused      ("kind" in answer ⇒ refused)
 *             desires(rollout): readonly HostDesire[]
 * describe.ts phaseOf(rollout): Phase · exitCodeOf(rollout): number · stageName(stage): string · ended(rollout): boolean
 *             describe(rollout, context): string
 * invariants.ts  check(previous, next, rollout, context): readonly Violation[]     (step calls it by itself)
 * desired/compile.ts    compile(input: CompileInput): Map<host, AssignedService[]>
 * desired/placement.ts  placed(spec, hosts): string[]     names, in order; gateways for an external service without hosts
 */
