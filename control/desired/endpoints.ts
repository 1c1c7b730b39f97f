/**
 * The hosts that a gateway sends to. A host comes in on evidence: its port is known and something ready serves there. It
 * goes out only because it is meant to: by a rollout or an operator's drain, after what is in flight to it has ended.
 * Silence, a lost lease and failing probes take nobody out (I5): the gateway's own ejection deals with a dead host at
 * once, and takes it back at once. Nor does another controller, which does not know what the gateway was asked before:
 * it goes by what the gateway counts.
 */
import type { AssignedEndpoint } from "../../proto/contract/assignment.ts";
import type { HostDesire } from "../model/rollout.ts";
import type { Host } from "../model/service.ts";
import type { FleetView, HostView } from "../model/view.ts";

export function endpointsFor(
  gateway: Host,
  agents: readonly Host[],
  desired: ReadonlyMap<string, HostDesire>,
  view: FleetView | undefined,
  /** What this gateway was asked last; null when that is not known here. */
  before: readonly AssignedEndpoint[] | null,
  service: string,
): readonly AssignedEndpoint[] {
  const known = new Map((before ?? []).map((endpoint) => [endpoint.host, endpoint]));
  return agents.flatMap((host): AssignedEndpoint[] => {
    const desire = desired.get(host.name);
    const port = host.ports[`${service}/0`] ?? known.get(host.name)?.port ?? 0;
    if (host.role !== "host" || port === 0) return [];
    const endpoint = { host: host.name, address: host.address, port };
    const was =
      before === null && desire !== undefined && maySendTo(host.name, view?.hosts[gateway.name])
        ? { ...endpoint, mode: "serving" as const }
        : known.get(host.name);
    if (desire === undefined || host.adminState === "drain" || (desire.routed && desire.revisions.length === 0)) {
      // Not placed any more, drained by an operator, or asked to run nothing (a lost host may still run what a first
      // rollout left there): it goes when this gateway has nothing in flight to it.
      const gone = was === undefined || (was.mode === "draining" && idle(view, gateway.name, host.name));
      return gone ? [] : [{ ...endpoint, mode: "draining" }];
    }
    // Out of routing for a moment: it stays listed, so that the barrier compares one unchanging state.
    if (!desire.routed) return was === undefined ? [] : [{ ...endpoint, mode: "draining" }];
    return was !== undefined || mayServe(desire, view?.hosts[host.name]) ? [{ ...endpoint, mode: "serving" }] : [];
  });
}

/** It counts what it sends to this host; or has not said yet what it does for the service. */
function maySendTo(host: string, gateway: HostView | undefined): boolean {
  const told = gateway?.lease === "live" && gateway.appliedHash !== "";
  return !told || host in gateway.endpointInFlight;
}

/** Known to serve; or, after a start of the controller, not heard from yet: then it may well be serving. */
function mayServe(desire: HostDesire, host: HostView | undefined): boolean {
  if (host === undefined || host.lease !== "live") return true;
  // Whatever revision it is: a host that is behind serves all the same (revisions.ts).
  return (
    desire.revisions.length > 0 &&
    host.instances.some((instance) => instance.healthySinceMs > 0 && instance.state === "serving")
  );
}

/** This gateway has applied that the host drains, and nothing is in flight to it. */
function idle(view: FleetView | undefined, gateway: string, host: string): boolean {
  const hostView = view?.hosts[gateway];
  return (
    hostView?.lease === "live" &&
    hostView.appliedHash === hostView.askedHash &&
    (hostView.endpointInFlight[host] ?? 0) === 0
  );
}
