/**
 * What the engine is told of the fleet: evidence only. Everything here was reported by an agent or is the passing of
 * its lease; nothing is inferred from what was asked. Built by control/fleet from the newest reports.
 */
import type { InstanceState } from "../../proto/contract/report.ts";

export interface FleetView {
  /**
   * The rollout's `change` that every `askedHash` below was compiled from. A view of an older one confirms nothing:
   * its hashes agree about what was asked before.
   */
  readonly change: number;
  readonly hosts: Readonly<Record<string, HostView>>;
  /** Traffic of the service per revision's version since the rollout began, over the whole fleet, counted at hosts. */
  readonly traffic: Readonly<Record<string, VersionTraffic>>;
  /** Losses since the rollout began that no known incident explains. */
  readonly unexplainedLoss: number;
}

export interface HostView {
  readonly name: string;
  readonly role: "host" | "gateway";
  /**
   * live     its lease runs and it has reported in this epoch
   * unknown  the controller has just started (or the host just connected): no news yet; neither live nor lost (I5)
   * lost     its lease ran out
   */
  readonly lease: "live" | "unknown" | "lost";
  /** `drain`: the operator took it out. It is still moved, but counts as not serving. */
  readonly adminState: "ready" | "drain";
  /**
   * Hash of this service's AssignedService that is live in every worker of it; "" when it has none. Taken from the same
   * report as `instances` and `endpointInFlight`, never from an Applied message alone: counts that are older than the
   * table prove nothing about it.
   */
  readonly appliedHash: string;
  /** Hash of what it was last asked for this service; "" when nothing. */
  readonly askedHash: string;
  /** Why it refused what was asked, "" if it did not. */
  readonly rejected: string;
  readonly instances: readonly InstanceView[];
  /** At a gateway: per host name, requests and tunnels in flight to it. Empty at hosts. */
  readonly endpointInFlight: Readonly<Record<string, number>>;
}

export interface InstanceView {
  readonly id: string;
  readonly revision: number;
  readonly state: InstanceState;
  readonly healthySinceMs: number;
  /** This run has been ready before: one that is not now has not just started. */
  readonly wasReady: boolean;
  readonly restarts: number;
  readonly inFlight: number;
  /** "exit code 3", "signal SIGKILL", "" while the first run goes on. */
  readonly exit: string;
  readonly reason: string;
}

/** Totals since the rollout began. */
export interface VersionTraffic {
  /** Attempts begun. */
  readonly requests: number;
  /** 5xx of the app's own. */
  readonly errors: number;
  /** Requests that Baton lost on it: they count as errors when it is judged. */
  readonly lost: number;
  /** Of answers: sparse [bucket, count], ascending (contract/histogram.ts). */
  readonly latency: readonly (readonly [number, number])[];
}
