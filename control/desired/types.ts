/**
 * What `compile` is made from. All of it is kept or reported; nothing is remembered between two calls but `previous`.
 *
 * What comes out for an agent stands on what that agent has reported. So the sender sends it nothing before its first
 * report of the present session: until then it may be running what this answer would stop (I1, I5).
 */
import type { AssignedService } from "../../proto/contract/assignment.ts";
import type { HostDesire, Rollout } from "../model/rollout.ts";
import type { Host, Revision, Service } from "../model/service.ts";
import type { FleetView } from "../model/view.ts";

export interface CompileInput {
  readonly services: readonly Service[];
  /** Every stored revision that anything still names; order does not matter. */
  readonly revisions: readonly Revision[];
  /** Those that have not ended, at most one a service. */
  readonly rollouts: readonly Rollout[];
  /** By service: `desires(rollout)` of its active rollout. */
  readonly desires: ReadonlyMap<string, readonly HostDesire[]>;
  readonly hosts: readonly Host[];
  /** By service, as for the engine. A service or host without one is one without news. */
  readonly views: ReadonlyMap<string, FleetView>;
  /** What `compile` answered last, empty after a start: an endpoint that is there stays, whatever is not heard (I5). */
  readonly previous: ReadonlyMap<string, readonly AssignedService[]>;
  /**
   * What a host that is asked this was told by the same state before, by whoever has kept it (compiled.ts): the answer is
   * the same with it or without.
   */
  readonly kept?: (host: Host, desire: HostDesire) => AssignedService | undefined;
}
