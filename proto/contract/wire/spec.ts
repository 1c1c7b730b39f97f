/** The parts of a service's spec that travel. What a document may not say, a message may not either. */
import type * as wire from "../../gen/baton/v1/spec.ts";
import { isAddress, isHostname, MAX_PORT } from "../address.ts";
import { isMethod } from "../http-field.ts";
import { isName, isVersion } from "../ids.ts";
import { LIMITS } from "../limits.ts";
import type { DrainSpec, HealthSpec, ListenerSpec, ProbeSpec, RuleSpec } from "../spec/types.ts";
import { MAX_DURATION_MS } from "../units.ts";
import { encodeFilter, encodeMatch, isPath, readFilter, readMatch } from "./match.ts";
import { list, present, text, u32, whole, word } from "./reader.ts";

const ms = (field: string, value: number, min = 0): number => whole(field, value, MAX_DURATION_MS, min);

export const name = (field: string, value: string): string => text(field, value, LIMITS.nameLength, isName);
export const version = (field: string, value: string): string => text(field, value, LIMITS.nameLength, isVersion);
export const hostAddress = (field: string, value: string): string =>
  text(field, value, 253, (t) => isAddress(t) || isHostname(t));

export const encodeListener = (l: ListenerSpec): wire.ListenerSpec => ({ ...l, port: u32(l.port) });

export function readListener(field: string, l: wire.ListenerSpec): ListenerSpec {
  return {
    address: text(`${field}.address`, l.address, 64, isAddress),
    port: whole(`${field}.port`, l.port, MAX_PORT),
    protocol: word(`${field}.protocol`, l.protocol, ["http"]),
  };
}

export const readHostname = (field: string, value: string): string =>
  text(field, value, 255, (t) => isAddress(t) || isHostname(t.startsWith("*.") ? t.slice(2) : t));

export const encodeRule = (r: RuleSpec): wire.RuleSpec => ({
  ...encodeMatch(r),
  ...(r.timeouts.requestMs === null ? {} : { requestTimeoutMs: u32(r.timeouts.requestMs) }),
  retryAttempts: u32(r.retry.attempts),
  retryMethods: [...r.retry.methods],
  requestHeaders: encodeFilter(r.requestHeaders),
  responseHeaders: encodeFilter(r.responseHeaders),
});

export function readRule(field: string, r: wire.RuleSpec): RuleSpec {
  return {
    ...readMatch(field, r),
    timeouts: {
      requestMs: r.requestTimeoutMs === undefined ? null : ms(`${field}.request_timeout_ms`, r.requestTimeoutMs, 1),
    },
    retry: {
      attempts: whole(`${field}.retry_attempts`, r.retryAttempts, 10),
      methods: list(`${field}.retry_methods`, r.retryMethods, 16, (f, m) => text(f, m, 32, isMethod)),
    },
    requestHeaders: readFilter(`${field}.request_headers`, r.requestHeaders),
    responseHeaders: readFilter(`${field}.response_headers`, r.responseHeaders),
  };
}

const encodeProbe = (p: ProbeSpec): wire.ProbeSpec => ({
  kind: p.kind,
  path: p.path,
  intervalMs: u32(p.intervalMs),
  timeoutMs: u32(p.timeoutMs),
  healthyThreshold: u32(p.healthyThreshold),
  unhealthyThreshold: u32(p.unhealthyThreshold),
});

function readProbe(field: string, p: wire.ProbeSpec): ProbeSpec {
  const kind = word(`${field}.kind`, p.kind, ["http", "tcp", "container"]);
  return {
    kind,
    path: text(`${field}.path`, p.path, 1_024, (t) => isPath(t) || (kind !== "http" && t === "")),
    intervalMs: ms(`${field}.interval_ms`, p.intervalMs, 1),
    timeoutMs: ms(`${field}.timeout_ms`, p.timeoutMs, 1),
    healthyThreshold: whole(`${field}.healthy_threshold`, p.healthyThreshold, 100, 1),
    unhealthyThreshold: whole(`${field}.unhealthy_threshold`, p.unhealthyThreshold, 100, 1),
  };
}

export const encodeHealth = (h: HealthSpec | null): wire.HealthSpec | undefined =>
  h === null
    ? undefined
    : { readiness: encodeProbe(h.readiness), liveness: h.liveness === null ? undefined : encodeProbe(h.liveness) };

export function readHealth(field: string, h: wire.HealthSpec | undefined): HealthSpec | null {
  if (h === undefined) return null;
  return {
    readiness: readProbe(`${field}.readiness`, present(`${field}.readiness`, h.readiness)),
    liveness: h.liveness === undefined ? null : readProbe(`${field}.liveness`, h.liveness),
  };
}

export const encodeDrain = (d: DrainSpec): wire.DrainSpec => ({
  timeoutMs: u32(d.timeoutMs),
  sseMs: u32(d.sseMs),
  websocketMs: u32(d.websocketMs),
  killMs: u32(d.killMs),
  onTimeout: d.onTimeout,
});

export const readDrain = (field: string, d: wire.DrainSpec): DrainSpec => ({
  timeoutMs: ms(`${field}.timeout_ms`, d.timeoutMs),
  sseMs: ms(`${field}.sse_ms`, d.sseMs),
  websocketMs: ms(`${field}.websocket_ms`, d.websocketMs),
  killMs: ms(`${field}.kill_ms`, d.killMs),
  onTimeout: word(`${field}.on_timeout`, d.onTimeout, ["cut", "pause"]),
});
