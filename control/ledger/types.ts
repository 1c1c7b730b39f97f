/**
 * What the ledger keeps. Agents report totals since their boot; the books hold totals since ever, taken from them by
 * differences, so that neither a new boot nor a lost report nor a restart of the controller loses or doubles a count.
 * A rollout's ledger is the difference of the books between its start and its end.
 */
import type { CutCause, InstanceReport, LossCause } from "../../proto/contract/report.ts";

/** Counts of one version of a service at one agent. `lost`, `cut` are indexed as LOSS_CAUSES, CUT_CAUSES. */
export interface Totals {
  /** Attempts: one that moved from one endpoint to another is in here twice. */
  readonly started: number;
  readonly completed: number;
  /** 5xx of the app's own. */
  readonly errors: number;
  readonly retried: number;
  readonly drained: number;
  readonly clientGone: number;
  readonly tunnels: number;
  readonly eventStreams: number;
  readonly lost: readonly number[];
  readonly cut: readonly number[];
  /** Sparse [bucket, count], ascending by bucket (contract/histogram.ts). */
  readonly latency: readonly (readonly [number, number])[];
}

/** The last totals seen of one (version, endpoint) in the agent's present boot: what the next difference is taken to. */
export interface LastSeen {
  readonly version: string;
  readonly endpoint: string;
  readonly totals: Totals;
}

/** One agent's page of the books. */
export interface HostCounts {
  readonly host: string;
  readonly role: "host" | "gateway";
  readonly boot: string;
  /** The newest incident of this boot that was taken. */
  readonly incidentSeq: number;
  readonly services: Readonly<Record<string, ServiceCounts>>;
  /** What was lately seen there that may explain a loss: the next controller is told of that loss, and not of this again. */
  readonly seen?: readonly KeptSeen[];
}

/** Something that may explain a loss. */
export interface Seen {
  readonly host: string;
  readonly kind: "worker-died" | "instance-ended" | "instance-silent" | "agent-restarted" | "host-gone";
  /** "" for what concerns every service there. */
  readonly service: string;
  readonly message: string;
}

export interface KeptSeen extends Omit<Seen, "host"> {
  /** The controller's wall clock. */
  readonly atMs: number;
}

export interface ServiceCounts {
  /** Since ever, by version. */
  readonly versions: Readonly<Record<string, Totals>>;
  readonly last: readonly LastSeen[];
}

/** Totals of one service by agent and version, at one moment. */
export type Snapshot = Readonly<Record<string, HostTotals>>;
export interface HostTotals {
  readonly role: "host" | "gateway";
  /** At that moment, over all versions. */
  readonly inFlight: number;
  readonly versions: Readonly<Record<string, Totals>>;
}

/** A loss just counted at one agent, not yet judged. */
export interface Loss {
  readonly host: string;
  readonly role: "host" | "gateway";
  readonly service: string;
  readonly version: string;
  /** An instance id at a host, a host's name at a gateway, "" when it reached none. */
  readonly endpoint: string;
  readonly cause: LossCause;
  readonly count: number;
  /** Wall clock, for people. */
  readonly atMs: number;
  /** Nothing of the service had ever been sent to an instance there: it was asked for before it first was ready. */
  readonly tooEarly?: true;
}

export interface Note {
  readonly atMs: number;
  readonly host: string;
  readonly cause: LossCause;
  readonly count: number;
  /** "" = unexplained. */
  readonly explanation: string;
}

export interface Evidence {
  readonly host: string;
  readonly instance: InstanceReport;
}

/** What is kept of one rollout's ledger. */
export interface RolloutLedger {
  readonly rollout: string;
  readonly service: string;
  readonly baseline: Snapshot;
  /** null while it runs; then what was counted in it, summed by role (`baseline` is empty). */
  readonly end: Snapshot | null;
  /** Losses at the edge that were judged to be accounted for by nothing that was seen. */
  readonly unexplained: number;
  /** Counted, not yet judged: judged anew after a restart of the controller. */
  readonly pending: readonly Loss[];
  /** The newest instance of the target that did not run as it should, a host: what an operator wants to read later. */
  readonly evidence: readonly Evidence[];
  readonly notes: readonly Note[];
}

/** The sum that people see. */
export interface LedgerSum {
  readonly edge: "gateway" | "host";
  /**
   * Begun since, and those that were in flight when it began: they are carried across too. Each counts once, however
   * often it was tried; what Baton refused as malformed is no request of the service's.
   */
  readonly requests: number;
  readonly carried: number;
  readonly retried: number;
  /** Counted at the hosts, gateways or not: it is their instances that drain. */
  readonly drained: number;
  readonly tunnels: number;
  readonly eventStreams: number;
  readonly clientGone: number;
  /** Now, or when it ended. requests = carried + clientGone + cut + lost + inFlight. */
  readonly inFlight: number;
  readonly cut: Readonly<Partial<Record<CutCause, number>>>;
  readonly lost: Readonly<Partial<Record<LossCause, number>>>;
  readonly lostTotal: number;
  readonly unexplained: number;
  readonly notes: readonly Note[];
}
