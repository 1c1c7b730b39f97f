/**
 * What operators are shown of services, hosts and ledgers, in the words of operator.proto. Reads everything, changes
 * nothing. Rollouts are shown by rollout-view.ts.
 */
import { stringify } from "yaml";
import { formatHostPort } from "../../proto/contract/address.ts";
import type { InstanceReport } from "../../proto/contract/report.ts";
import { specToDocument } from "../../proto/contract/spec/document.ts";
import type * as wire from "../../proto/gen/baton/v1/operator.ts";
import type { Clock } from "../../proto/kernel/clock.ts";
import { placed } from "../desired/placement.ts";
import type { Agent, Lease, Sync } from "../fleet/agent.ts";
import type { Fleet } from "../fleet/fleet.ts";
import { exitText } from "../fleet/view.ts";
import type { Books } from "../ledger/books.ts";
import { sum } from "../ledger/totals.ts";
import type { LedgerSum } from "../ledger/types.ts";
import type { Rollout } from "../model/rollout.ts";
import type { Host, Revision, Service } from "../model/service.ts";
import type { Registry } from "../registry.ts";
import { phaseOf } from "../rollout/describe.ts";
import type { StoredEvent } from "../store/store.ts";

/** The newest of a service that are shown. */
const REVISIONS = 100;

export interface Shown {
  readonly registry: Registry;
  readonly fleet: Fleet;
  readonly books: Books;
  readonly clock: Clock;
}

export function serviceView(shown: Shown, service: Service): wire.ServiceView {
  const { registry, fleet, books } = shown;
  const { name, stable } = service;
  const rollout = registry.activeOf(name) ?? registry.newest(name);
  const resting = registry.revision(name, stable);
  const towards = rollout?.endedAtMs === 0 ? registry.revision(name, rollout.to) : undefined;
  const spec = (towards ?? resting ?? registry.revision(name, service.newest))?.spec;
  const wanted = spec === undefined ? [] : placed(spec, registry.hosts());
  const serve = (revision: number): number =>
    wanted.filter((host) => {
      const agent = fleet.agent(host);
      if (agent === undefined || fleet.leaseOf(agent) !== "live") return false;
      const instances = agent.report?.instances ?? [];
      return instances.some((i) => {
        return i.service === name && i.state === "serving" && (revision === 0 || i.revision === revision);
      });
    }).length;
  return {
    name,
    stableRevision: stable,
    stableVersion: resting?.version ?? "",
    revisions: registry.revisions(name).slice(-REVISIONS).map(revisionView),
    rollout: rollout?.id ?? "",
    phase: phaseOfService(shown, service, rollout, wanted.length > 0 && serve(stable) === wanted.length),
    hostsServing: serve(0),
    hostsWanted: wanted.length,
    listeners: listenersOf(shown, service),
    ledger: ledgerView(books.sumOfService(name)),
  };
}

/** `rests`: every host serves the stable revision. Then a rollout that was taken back is its own matter. */
function phaseOfService(
  { registry }: Shown,
  service: Service,
  rollout: Rollout | undefined,
  rests: boolean,
): wire.ServiceView["phase"] {
  if (registry.retirement(service.name) !== undefined) return "Deleting";
  if (rollout?.stage.kind === "rolled-back" && service.stable > 0 && rests) return "Healthy";
  if (rollout !== undefined) return phaseOf(rollout);
  return service.stable > 0 ? "Healthy" : "Pending";
}

const revisionView = ({ revision, version, createdAtMs, spec }: Revision): wire.RevisionView => ({
  revision,
  version,
  createdAtMs: BigInt(createdAtMs),
  document: stringify(specToDocument(spec)),
});

/** Where clients reach it: at the gateways if any serve it, else at the hosts; as bound, as far as that is reported. */
function listenersOf({ registry, fleet }: Shown, service: Service): string[] {
  const at = (role: Host["role"]): string[] =>
    registry.hosts().flatMap((host) => {
      if (host.role !== role) return [];
      const bound = fleet.agent(host.name)?.report?.endpoints ?? [];
      return bound.filter((e) => e.service === service.name).map((e) => formatHostPort(e.address, e.port));
    });
  const gateways = at("gateway");
  return [...new Set(gateways.length > 0 ? gateways : at("host"))];
}

export function hostView(shown: Shown, host: Host): wire.HostView {
  const { fleet, clock } = shown;
  const agent = fleet.agent(host.name);
  const lease = agent === undefined ? "lost" : fleet.leaseOf(agent);
  const heard = heardAt(agent, clock);
  const { sync, reason, sinceMs } = syncOf(agent, { lease, heard, clock });
  const report = agent?.report ?? null;
  const asked = agent?.asked ?? agent?.applied;
  return {
    name: host.name,
    role: host.role,
    labels: { ...host.labels },
    address: host.address,
    adminState: host.adminState,
    live: lease === "live",
    sync,
    syncReason: reason,
    lastReportMs: BigInt(agent?.reportedAtMs ?? 0),
    epoch: BigInt(agent?.applied?.epoch ?? 0),
    generation: BigInt(agent?.applied?.generation ?? 0),
    software: host.software,
    instances: (report?.instances ?? []).map(instanceView),
    inFlight: BigInt(sum((report?.traffic ?? []).map((row) => row.inFlight))),
    syncSinceMs: BigInt(Math.round(sinceMs)),
    askedEpoch: BigInt(asked?.epoch ?? 0),
    askedGeneration: BigInt(asked?.generation ?? 0),
    heardAtMs: BigInt(Math.round(heard)),
    peer: agent?.session?.peer ?? "",
    held: agent?.held ?? "",
    refused: agent?.parked?.why ?? "",
  };
}

/** What was confirmed by a host that nothing is heard of any more says nothing of what it does now. */
function syncOf(
  agent: Agent | undefined,
  { lease, heard, clock }: { readonly lease: Lease; readonly heard: number; readonly clock: Clock },
): { readonly sync: Sync; readonly reason: string; readonly sinceMs: number } {
  if (agent === undefined) return { sync: "NOT_SENT", reason: "never heard of", sinceMs: 0 };
  const said = { ...agent.sync(clock.monotonic()), sinceMs: agent.syncSinceMs };
  if (lease !== "lost" || said.sync !== "SYNCED") return said;
  const reason = heard === 0 ? "nothing is heard of it" : "nothing is heard of it any more";
  return { sync: "STALE", reason, sinceMs: heard };
}

const heardAt = (agent: Agent | undefined, clock: Clock): number =>
  typeof agent?.heardAt === "number" ? clock.now() - (clock.monotonic() - agent.heardAt) : 0;

export const instanceView = (i: InstanceReport): wire.InstanceView => ({
  service: i.service,
  revision: i.revision,
  version: i.version,
  id: i.id,
  state: i.state,
  sinceMs: BigInt(Math.round(i.sinceMs)),
  address: formatHostPort(i.address, i.port),
  restarts: i.restarts,
  exit: exitText(i.exit),
  reason: i.reason,
  output: [...i.output],
  inFlight: BigInt(i.inFlight),
});

export function ledgerView(ledger: LedgerSum | null): wire.LedgerView | undefined {
  if (ledger === null) return undefined;
  const big = (counts: Readonly<Record<string, number>>): Record<string, bigint> =>
    Object.fromEntries(Object.entries(counts).map(([cause, count]) => [cause, BigInt(count)]));
  return {
    requests: BigInt(ledger.requests),
    carried: BigInt(ledger.carried),
    retried: BigInt(ledger.retried),
    drained: BigInt(ledger.drained),
    tunnels: BigInt(ledger.tunnels),
    eventStreams: BigInt(ledger.eventStreams),
    clientGone: BigInt(ledger.clientGone),
    inFlight: BigInt(ledger.inFlight),
    cut: big(ledger.cut),
    lost: big(ledger.lost),
    lostTotal: BigInt(ledger.lostTotal),
    unexplained: BigInt(ledger.unexplained),
    edge: ledger.edge,
    notes: ledger.notes.map(({ atMs, host, cause, count, explanation }) => {
      return { atMs: BigInt(Math.round(atMs)), host, cause, count: BigInt(count), explanation };
    }),
  };
}

export const eventView = (event: StoredEvent): wire.Event => ({
  seq: BigInt(event.seq),
  atMs: BigInt(Math.round(event.atMs)),
  kind: event.kind,
  service: event.service,
  rollout: event.rollout,
  host: event.host,
  actor: event.actor,
  message: event.message,
});
