/**
 * Reports: whole, four times a second from each agent.
 *
 * Cost  one pass over the fields, one short string for each list entry (its name in an error).
 */
import type * as wire from "../../gen/baton/v1/session.ts";
import { MAX_PORT } from "../address.ts";
import { LATENCY_BUCKETS } from "../histogram.ts";
import { LIMITS } from "../limits.ts";
import { CUT_CAUSES, INCIDENT_KINDS, INSTANCE_STATES, LOSS_CAUSES } from "../report.ts";
import type { EndpointReport, Incident, InstanceReport, Report, TrafficReport } from "../report.ts";
import { encodeApplied, readApplied } from "./assignment.ts";
import { fail, list, text, u32, u64, whole, word } from "./reader.ts";
import { name, version } from "./spec.ts";

export const encodeReport = (r: Report): wire.Report => ({
  boot: r.boot,
  seq: u64(r.seq),
  applied: r.applied === null ? undefined : encodeApplied(r.applied),
  instances: r.instances.map(encodeInstance),
  endpoints: r.endpoints.map((e) => ({ ...e, listener: u32(e.listener), port: u32(e.port) })),
  traffic: r.traffic.map(encodeTraffic),
  incidents: r.incidents.slice(-LIMITS.incidents).map((i) => ({
    ...i,
    seq: u64(i.seq),
    atMs: u64(i.atMs),
    message: forPeople(i.message),
  })),
});

export const readReport = (r: wire.Report): Report => ({
  boot: id("boot", r.boot),
  seq: whole("seq", r.seq),
  applied: r.applied === undefined ? null : readApplied(r.applied),
  instances: list("instances", r.instances, LIMITS.statSlots, readInstance),
  endpoints: list("endpoints", r.endpoints, LIMITS.servicesPerAgent * LIMITS.listenersPerService, readEndpoint),
  traffic: list("traffic", r.traffic, LIMITS.statSlots, readTraffic),
  incidents: list("incidents", r.incidents, LIMITS.incidents, readIncident),
});

const id = (field: string, value: string): string => text(field, value, LIMITS.idLength, (t) => t !== "");
const forPeople = (value: string): string => value.slice(0, LIMITS.textLength);

const encodeInstance = (i: InstanceReport): wire.InstanceReport => ({
  ...i,
  revision: u32(i.revision),
  sinceMs: u64(i.sinceMs),
  healthySinceMs: u64(i.healthySinceMs),
  wasReady: i.wasReady,
  pid: u32(i.pid),
  port: u32(i.port),
  restarts: u32(i.restarts),
  exit: i.exit === null ? undefined : { code: i.exit.code ?? undefined, signal: i.exit.signal ?? undefined },
  reason: forPeople(i.reason),
  output: i.output.slice(-LIMITS.outputLines).map((line) => line.slice(0, LIMITS.outputLineBytes)),
  inFlight: u64(i.inFlight),
  started: u64(i.started),
});

function readInstance(field: string, i: wire.InstanceReport): InstanceReport {
  return {
    service: name(`${field}.service`, i.service),
    revision: whole(`${field}.revision`, i.revision),
    version: version(`${field}.version`, i.version),
    id: id(`${field}.id`, i.id),
    state: word(`${field}.state`, i.state, INSTANCE_STATES),
    sinceMs: whole(`${field}.since_ms`, i.sinceMs),
    healthySinceMs: whole(`${field}.healthy_since_ms`, i.healthySinceMs),
    wasReady: i.wasReady,
    pid: whole(`${field}.pid`, i.pid),
    address: text(`${field}.address`, i.address, 253),
    port: whole(`${field}.port`, i.port, MAX_PORT),
    restarts: whole(`${field}.restarts`, i.restarts),
    exit: i.exit === undefined ? null : readExit(`${field}.exit`, i.exit),
    reason: text(`${field}.reason`, i.reason, LIMITS.textLength),
    output: list(`${field}.output`, i.output, LIMITS.outputLines, (f, line) => text(f, line, LIMITS.outputLineBytes)),
    inFlight: whole(`${field}.in_flight`, i.inFlight),
    started: whole(`${field}.started`, i.started),
  };
}

const readExit = (field: string, e: wire.ExitInfo): NonNullable<InstanceReport["exit"]> => ({
  code: e.code === undefined ? null : whole(`${field}.code`, e.code, 0x7fff_ffff, -0x8000_0000),
  signal: e.signal === undefined ? null : text(`${field}.signal`, e.signal, 32),
});

const readEndpoint = (field: string, e: wire.EndpointReport): EndpointReport => ({
  service: name(`${field}.service`, e.service),
  listener: whole(`${field}.listener`, e.listener, LIMITS.listenersPerService - 1),
  address: text(`${field}.address`, e.address, 253),
  port: whole(`${field}.port`, e.port, MAX_PORT),
});

/** The plain totals of a TrafficReport, which travel alike. */
const TOTALS = [
  "started",
  "inFlight",
  "completed",
  "retried",
  "drained",
  "clientGone",
  "tunnels",
  "eventStreams",
  "bytesIn",
  "bytesOut",
] as const;
type Totals = Pick<TrafficReport, (typeof TOTALS)[number]>;

/** Index 0 is unused. */
const STATUS_CLASSES = 6;

function encodeTraffic(t: TrafficReport): wire.TrafficReport {
  const totals = {} as Record<keyof Totals, bigint>;
  for (const key of TOTALS) totals[key] = u64(t[key]);
  return {
    service: t.service,
    version: t.version,
    endpoint: t.endpoint,
    ...totals,
    statusClasses: t.statusClasses.map(u64),
    lost: t.lost.map(u64),
    cut: t.cut.map(u64),
    latencyBuckets: t.latency.map(([bucket]) => u32(bucket)),
    latencyCounts: t.latency.map(([, count]) => u64(count)),
  };
}

function readTraffic(field: string, t: wire.TrafficReport): TrafficReport {
  const totals = {} as Record<keyof Totals, number>;
  for (const key of TOTALS) totals[key] = whole(`${field}.${key}`, t[key]);
  return {
    service: name(`${field}.service`, t.service),
    // Empty for what reached no version at all.
    version: t.version === "" ? "" : version(`${field}.version`, t.version),
    endpoint: text(`${field}.endpoint`, t.endpoint, LIMITS.idLength),
    ...totals,
    statusClasses: counts(`${field}.status_classes`, t.statusClasses, STATUS_CLASSES),
    lost: counts(`${field}.lost`, t.lost, LOSS_CAUSES.length),
    cut: counts(`${field}.cut`, t.cut, CUT_CAUSES.length),
    latency: readLatency(`${field}.latency`, t.latencyBuckets, t.latencyCounts),
  };
}

/** Counts by index. An older agent knows fewer causes: the rest are 0; more than are known here can't be named. */
function counts(field: string, values: readonly bigint[], length: number): number[] {
  const read = list(field, values, length, whole);
  while (read.length < length) read.push(0);
  return read;
}

function readLatency(field: string, buckets: readonly number[], of: readonly bigint[]): [number, number][] {
  if (buckets.length !== of.length) fail(field, `${String(buckets.length)} buckets with ${String(of.length)} counts`);
  let before = -1;
  return list(field, buckets, LATENCY_BUCKETS, (f, value) => {
    const bucket = whole(f, value, LATENCY_BUCKETS - 1, before + 1);
    before = bucket;
    return bucket;
  }).map((bucket, i) => [bucket, whole(`${field}[${String(i)}]`, of[i] ?? 0n)]);
}

const readIncident = (field: string, i: wire.Incident): Incident => ({
  seq: whole(`${field}.seq`, i.seq),
  atMs: whole(`${field}.at_ms`, i.atMs),
  kind: word(`${field}.kind`, i.kind, INCIDENT_KINDS),
  service: i.service === "" ? "" : name(`${field}.service`, i.service),
  message: text(`${field}.message`, i.message, LIMITS.textLength),
});
