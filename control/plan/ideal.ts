/**
 * A fleet in which everything goes well: each agent applies at once what it is asked, instances are ready as soon as they
 * start, nothing is in flight, so whatever drains has drained. What the engine is shown of it is what it would be shown
 * of a real one.
 */
import type { AssignedRevision, AssignedService } from "../../proto/contract/assignment.ts";
import type { Host } from "../model/service.ts";
import type { FleetView, HostView, InstanceView } from "../model/view.ts";

/** What is applied is always what is asked; the engine only compares. */
const CONFIRMED = "confirmed";

export type Assigned = ReadonlyMap<string, readonly AssignedService[]>;

export class IdealFleet {
  readonly #service: string;
  readonly #hosts: readonly Host[];
  /** Host and revision → since when it runs there. */
  #since = new Map<string, number>();

  constructor(service: string, hosts: readonly Host[]) {
    this.#service = service;
    this.#hosts = hosts;
  }

  /** After every agent has done what it is asked. `change`: the rollout's, that this was compiled from. */
  view(assigned: Assigned, change: number, now: number): FleetView {
    const since = new Map<string, number>();
    const hosts = this.#hosts.map((host): HostView => {
      const own = assigned.get(host.name)?.find((service) => service.name === this.#service);
      const instances = (own?.revisions ?? []).flatMap((revision) => {
        const key = `${host.name}/${String(revision.revision)}`;
        const at = this.#since.get(key) ?? now;
        since.set(key, at);
        return instancesOf(revision, host.name, at);
      });
      const { name, role, adminState } = host;
      const hashes = { appliedHash: CONFIRMED, askedHash: CONFIRMED, rejected: "" };
      return { name, role, lease: "live", adminState, ...hashes, instances, endpointInFlight: {} };
    });
    this.#since = since;
    return {
      change,
      hosts: Object.fromEntries(hosts.map((host) => [host.name, host])),
      traffic: {},
      unexplainedLoss: 0,
    };
  }
}

const STATES = { standby: "ready", serving: "serving", draining: "draining" } as const;

function instancesOf({ revision, mode, run }: AssignedRevision, host: string, since: number): InstanceView[] {
  const count = run.kind === "external" ? run.instances.length : run.count;
  return Array.from({ length: count }, (_, slot) => ({
    id: `${host}-r${String(revision)}-${String(slot)}`,
    revision,
    state: STATES[mode],
    healthySinceMs: since,
    wasReady: true,
    restarts: 0,
    inFlight: 0,
    exit: "",
    reason: "",
  }));
}

/** Instances that one assigned revision comes to. */
export const sizeOf = ({ run }: AssignedRevision): number =>
  run.kind === "external" ? run.instances.length : run.count;
