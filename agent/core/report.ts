/** The report: everything the agent tells of itself, made new each time from what is known now. Bounds are LIMITS'. */
import type { Applied } from "../../proto/contract/assignment.ts";
import { CUT_CAUSES, LOSS_CAUSES } from "../../proto/contract/report.ts";
import type { EndpointReport, Incident, InstanceReport, Report, TrafficReport } from "../../proto/contract/report.ts";
import { COUNTER } from "../proxy/stats-layout.ts";
import type { Assignments } from "./apply/assignments.ts";
import type { Slots } from "./stats/slots.ts";
import { sparse } from "./stats/totals.ts";
import type { Totals } from "./stats/totals.ts";

export interface ReportParts {
  readonly boot: string;
  readonly seq: number;
  readonly applied: Applied | null;
  readonly instances: readonly InstanceReport[];
  readonly listeners: ReturnType<Assignments["listeners"]>;
  readonly slots: Slots;
  readonly totals: Totals;
  readonly incidents: readonly Incident[];
}

export function report(parts: ReportParts): Report {
  const { boot, seq, applied, instances, incidents } = parts;
  return {
    ...{ boot, seq, applied, instances, incidents },
    endpoints: endpointReports(parts.listeners),
    traffic: trafficReports(parts.slots, parts.totals),
  };
}

function endpointReports(listeners: ReportParts["listeners"]): EndpointReport[] {
  return listeners.flatMap(({ wanted, bound: { address, port } }) =>
    wanted.uses.map(({ service, index }) => ({ service, listener: index, address, port })),
  );
}

export function trafficReports(slots: Slots, totals: Totals): TrafficReport[] {
  return slots.owners().map((owner, slot) => {
    const counters = totals.counters(slot);
    const of = (index: number): number => counters[index] ?? 0;
    return {
      ...owner,
      started: of(COUNTER.started),
      inFlight: of(COUNTER.inFlight),
      completed: of(COUNTER.completed),
      statusClasses: [0, 1, 2, 3, 4, 5].map((digit) => (digit === 0 ? 0 : of(COUNTER.status1xx + digit - 1))),
      retried: of(COUNTER.retried),
      drained: of(COUNTER.drained),
      clientGone: of(COUNTER.clientGone),
      tunnels: of(COUNTER.tunnels),
      eventStreams: of(COUNTER.eventStreams),
      bytesIn: of(COUNTER.bytesIn),
      bytesOut: of(COUNTER.bytesOut),
      lost: LOSS_CAUSES.map((_, cause) => of(COUNTER.lost + cause)),
      cut: CUT_CAUSES.map((_, cause) => of(COUNTER.cut + cause)),
      latency: sparse(totals.latency(slot)),
    };
  });
}
