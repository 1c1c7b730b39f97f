/**
 * What Prometheus scrapes: made from the typed arrays at scrape time, so that nothing is counted twice and the data path
 * knows no metrics library.
 *
 * Names   baton_*, with the unit last. Labels are bounded: service, version, cause, class, state; never an instance or a
 *         path.
 * Sum     of a latency histogram is an estimate from its buckets (off by at most 12.5 %).
 */
import { Counter, Gauge, Registry } from "prom-client";
import type { Metric } from "prom-client";
import { bucketLimit } from "../../../proto/contract/histogram.ts";
import { CUT_CAUSES, LOSS_CAUSES } from "../../../proto/contract/report.ts";
import type { TrafficReport } from "../../../proto/contract/report.ts";
import { COUNTER } from "../../proxy/stats-layout.ts";
import type { Core } from "../core.ts";
import { trafficReports } from "../report.ts";
import { readiness } from "./readiness.ts";

/** Seconds. */
const BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [Labels, number];

export function metricsOf(core: Core, software: string): Registry {
  const registry = new Registry();
  const counter = (name: string, help: string, labelNames: string[], read: () => Iterable<Sample>): void => {
    new Counter({
      ...{ name, help, labelNames, registers: [registry] },
      collect() {
        this.reset();
        for (const [labels, value] of read()) this.inc({ ...labels }, value);
      },
    });
  };
  const gauge = (name: string, help: string, labelNames: string[], read: () => Iterable<Sample>): void => {
    new Gauge({
      ...{ name, help, labelNames, registers: [registry] },
      collect() {
        this.reset();
        for (const [labels, value] of read()) this.inc({ ...labels }, value);
      },
    });
  };
  const traffic = (): TrafficReport[] => trafficReports(core.slots, core.statistics.totals);
  const per = (value: (one: TrafficReport) => number) => (): Sample[] =>
    traffic().map((one) => [{ service: one.service, version: one.version }, value(one)]);
  const perCause = (causes: readonly string[], of: (one: TrafficReport) => readonly number[]) => (): Sample[] =>
    traffic().flatMap((one) =>
      causes.map((cause, at): Sample => [{ service: one.service, version: one.version, cause }, of(one)[at] ?? 0]),
    );
  const own = ["service", "version"];
  // No requests, and so not in the reports: nothing but these counters knows of them.
  const copies = (index: number) => (): Sample[] =>
    core.slots
      .owners()
      .map(({ service, version }, slot): Sample => [
        { service, version },
        core.statistics.totals.counters(slot)[index] ?? 0,
      ])
      .filter(([, count]) => count > 0);

  counter(
    "baton_requests_started_total",
    "Requests begun.",
    own,
    per((one) => one.started),
  );
  counter(
    "baton_requests_completed_total",
    "Requests answered in full.",
    own,
    per((one) => one.completed),
  );
  counter(
    "baton_requests_retried_total",
    "Carried, by more than one attempt.",
    own,
    per((one) => one.retried),
  );
  counter(
    "baton_requests_drained_total",
    "Finished on a draining instance.",
    own,
    per((one) => one.drained),
  );
  counter(
    "baton_requests_client_gone_total",
    "Left by the client.",
    own,
    per((one) => one.clientGone),
  );
  counter(
    "baton_tunnels_total",
    "Upgraded connections.",
    own,
    per((one) => one.tunnels),
  );
  counter(
    "baton_event_streams_total",
    "Server-sent event streams.",
    own,
    per((one) => one.eventStreams),
  );
  counter(
    "baton_received_bytes_total",
    "From clients.",
    own,
    per((one) => one.bytesIn),
  );
  counter(
    "baton_sent_bytes_total",
    "To clients.",
    own,
    per((one) => one.bytesOut),
  );
  gauge(
    "baton_requests_in_flight",
    "Requests, streams and tunnels now.",
    own,
    per((one) => one.inFlight),
  );
  counter(
    "baton_requests_lost_total",
    "Failed by neither app nor client.",
    [...own, "cause"],
    perCause(LOSS_CAUSES, (one) => one.lost),
  );
  counter(
    "baton_requests_cut_total",
    "Ended on purpose, by policy.",
    [...own, "cause"],
    perCause(CUT_CAUSES, (one) => one.cut),
  );
  counter("baton_responses_total", "Answers by class of status.", [...own, "class"], () =>
    traffic().flatMap((one) =>
      [1, 2, 3, 4, 5].map((digit): Sample => [
        { service: one.service, version: one.version, class: `${String(digit)}xx` },
        one.statusClasses[digit] ?? 0,
      ]),
    ),
  );
  counter("baton_mirrored_requests_total", "Copies sent to it.", own, copies(COUNTER.mirrored));
  counter(
    "baton_mirrored_errors_total",
    "Of these without a good answer: none, or 5xx.",
    own,
    copies(COUNTER.mirrorErrors),
  );
  counter("baton_mirrored_dropped_total", "Not sent, or ended unanswered.", own, copies(COUNTER.mirrorsDropped));
  histogram(registry, "baton_time_to_head_seconds", "From a request's head to its answer's head.", traffic);
  gauge("baton_downstream_connections", "Clients' connections open now.", [], () => [
    [{}, core.statistics.totals.downstreamOpen],
  ]);
  counter("baton_downstream_connections_accepted_total", "Clients' connections ever accepted.", [], () => [
    [{}, core.statistics.totals.downstreamAccepted],
  ]);
  gauge("baton_instances", "Instances on this host.", [...own, "state"], () =>
    core.instanceReports().map(({ service, version, state }): Sample => [{ service, version, state }, 1]),
  );
  counter("baton_instance_restarts_total", "Starts beyond the first, of instances still known.", own, () =>
    core.instanceReports().map(({ service, version, restarts }): Sample => [{ service, version }, restarts]),
  );
  gauge("baton_workers", "Worker processes.", ["phase"], () =>
    [...core.link.workers.values()].map(({ phase }): Sample => [{ phase }, 1]),
  );
  gauge("baton_applied_epoch", "Of the assignment that is live.", [], () => [
    [{}, core.assignments.applied?.epoch ?? 0],
  ]);
  gauge("baton_applied_generation", "Of the assignment that is live.", [], () => [
    [{}, core.assignments.applied?.generation ?? 0],
  ]);
  gauge("baton_ready", "1 when /readyz says 200.", [], () => [[{}, readiness(core).length === 0 ? 1 : 0]]);
  gauge("baton_build_info", "Always 1.", ["version"], () => [[{ version: software }, 1]]);
  return registry;
}

/** prom-client's own Histogram observes one value at a time; this one is told its buckets. */
function histogram(registry: Registry, name: string, help: string, traffic: () => TrafficReport[]): void {
  const get = (): Promise<object> => {
    const values: { metricName: string; labels: Record<string, string>; value: number }[] = [];
    for (const [labels, latency] of summed(traffic())) {
      const counts = BOUNDS.map(() => 0);
      let count = 0;
      let sum = 0;
      for (const [bucket, seen] of latency) {
        const seconds = bucketLimit(bucket) / 1e6;
        count += seen;
        sum += seconds * seen;
        BOUNDS.forEach((bound, at) => {
          if (seconds <= bound) counts[at] = (counts[at] ?? 0) + seen;
        });
      }
      BOUNDS.forEach((bound, at) => {
        values.push({ metricName: `${name}_bucket`, labels: { ...labels, le: String(bound) }, value: counts[at] ?? 0 });
      });
      values.push({ metricName: `${name}_bucket`, labels: { ...labels, le: "+Inf" }, value: count });
      values.push({ metricName: `${name}_sum`, labels: { ...labels }, value: sum });
      values.push({ metricName: `${name}_count`, labels: { ...labels }, value: count });
    }
    return Promise.resolve({ name, help, type: "histogram", aggregator: "sum", values });
  };
  registry.registerMetric({ name, help, type: "histogram", get } as unknown as Metric);
}

function summed(traffic: readonly TrafficReport[]): Map<Labels, Map<number, number>> {
  const byName = new Map<string, { readonly labels: Labels; readonly buckets: Map<number, number> }>();
  for (const { service, version, latency } of traffic) {
    if (latency.length === 0) continue;
    const key = `${service}/${version}`;
    const entry = byName.get(key) ?? { labels: { service, version }, buckets: new Map<number, number>() };
    for (const [bucket, count] of latency) entry.buckets.set(bucket, (entry.buckets.get(bucket) ?? 0) + count);
    byName.set(key, entry);
  }
  return new Map([...byName.values()].map(({ labels, buckets }) => [labels, buckets]));
}
