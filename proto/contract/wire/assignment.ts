/** Assignments and what agents answer to them. */
import type * as wire from "../../gen/baton/v1/session.ts";
import { MAX_PORT } from "../address.ts";
import type {
  Applied,
  AssignedEndpoint,
  AssignedRevision,
  AssignedService,
  Assignment,
  Fence,
  Rejected,
  VersionMirror,
  VersionRoute,
} from "../assignment.ts";
import { isHash } from "../canonical.ts";
import { isName } from "../ids.ts";
import { LIMITS } from "../limits.ts";
import { WHOLE } from "../units.ts";
import { encodeMatch, encodeSticky, readMatch, readSticky } from "./match.ts";
import { fail, list, present, table, text, u32, u64, unique, whole, word } from "./reader.ts";
import { encodeRun, readRun } from "./run.ts";
import * as spec from "./spec.ts";

const encodeFence = (f: Fence): { epoch: bigint; generation: bigint } => ({
  epoch: u64(f.epoch),
  generation: u64(f.generation),
});
const readFence = (f: { epoch: bigint; generation: bigint }): Fence => ({
  epoch: whole("epoch", f.epoch),
  generation: whole("generation", f.generation),
});
const hash = (field: string, value: string): string => text(field, value, 64, isHash);

export const encodeAssignment = (a: Assignment): wire.Assignment => ({
  ...encodeFence(a),
  hash: a.hash,
  services: a.services.map((s) => ({
    name: s.name,
    rollout: s.rollout,
    listeners: s.listeners.map(spec.encodeListener),
    hostnames: [...s.hostnames],
    rules: s.rules.map(spec.encodeRule),
    drain: spec.encodeDrain(s.drain),
    accepting: s.accepting,
    revisions: s.revisions.map(encodeRevision),
    endpoints: s.endpoints.map((e) => ({ ...e, port: u32(e.port) })),
    sticky: encodeSticky(s.sticky),
    routes: s.routes.map(encodeRoute),
    mirrors: s.mirrors.map((m) => ({ ...encodeRoute(m), percentage: u32(m.percentage) })),
  })),
});

const encodeRoute = (r: VersionRoute): wire.VersionRoute => ({
  name: r.name,
  revision: u32(r.revision),
  matches: r.matches.map(encodeMatch),
});

const encodeRevision = (r: AssignedRevision): wire.AssignedRevision => ({
  revision: u32(r.revision),
  version: r.version,
  mode: r.mode,
  weight: u32(r.weight),
  run: encodeRun(r.run),
  health: spec.encodeHealth(r.health),
});

export const readAssignment = (a: wire.Assignment): Assignment => ({
  ...readFence(a),
  hash: hash("hash", a.hash),
  services: unique("services", list("services", a.services, LIMITS.servicesPerAgent, readService), (s) => s.name),
});

function readService(field: string, s: wire.AssignedService): AssignedService {
  const revisions = list(`${field}.revisions`, s.revisions, LIMITS.revisionsPerService, readRevision);
  unique(`${field}.revisions`, revisions, (r) => r.revision);
  // split.ts lays shares out over the whole and asks no more per request.
  const shared = revisions.filter((r) => r.mode === "serving").reduce((sum, r) => sum + r.weight, 0);
  if (shared !== 0 && shared !== WHOLE) {
    fail(`${field}.revisions`, `the serving weights sum to ${String(shared)}, not to ${String(WHOLE)} or 0`);
  }
  const numbers = new Set(revisions.map((r) => r.revision));
  const routes = list(`${field}.routes`, s.routes, LIMITS.versionRoutes, (f, r) => readRoute(f, r, numbers));
  const mirrors = list(`${field}.mirrors`, s.mirrors, LIMITS.versionRoutes, (f, m): VersionMirror => ({
    ...readRoute(f, m, numbers),
    percentage: whole(`${f}.percentage`, m.percentage, WHOLE),
  }));
  return {
    name: spec.name(`${field}.name`, s.name),
    rollout: text(`${field}.rollout`, s.rollout, LIMITS.idLength),
    listeners: list(`${field}.listeners`, s.listeners, LIMITS.listenersPerService, spec.readListener),
    hostnames: list(`${field}.hostnames`, s.hostnames, LIMITS.hostnames, spec.readHostname),
    rules: list(`${field}.rules`, s.rules, LIMITS.rules, spec.readRule),
    drain: spec.readDrain(`${field}.drain`, present(`${field}.drain`, s.drain)),
    accepting: s.accepting,
    revisions,
    endpoints: list(`${field}.endpoints`, s.endpoints, LIMITS.endpointsPerService, readEndpoint),
    sticky: readSticky(`${field}.sticky`, s.sticky),
    routes: unique(`${field}.routes`, routes, (r) => r.name),
    mirrors: unique(`${field}.mirrors`, mirrors, (m) => m.name),
  };
}

/** A route to a version that is not here would send its requests nowhere. */
function readRoute(field: string, r: wire.VersionRoute, here: ReadonlySet<number>): VersionRoute {
  if (!here.has(r.revision)) fail(`${field}.revision`, `${String(r.revision)} is none of the service's revisions`);
  if (r.matches.length === 0) fail(`${field}.matches`, "empty");
  return {
    name: spec.name(`${field}.name`, r.name),
    revision: r.revision,
    matches: list(`${field}.matches`, r.matches, LIMITS.routeMatches, readMatch),
  };
}

const readRevision = (field: string, r: wire.AssignedRevision): AssignedRevision => ({
  revision: whole(`${field}.revision`, r.revision),
  version: spec.version(`${field}.version`, r.version),
  mode: word(`${field}.mode`, r.mode, ["standby", "serving", "draining"]),
  weight: whole(`${field}.weight`, r.weight, WHOLE),
  run: readRun(`${field}.run`, present(`${field}.run`, r.run)),
  health: spec.readHealth(`${field}.health`, r.health),
});

const readEndpoint = (field: string, e: wire.AssignedEndpoint): AssignedEndpoint => ({
  host: spec.name(`${field}.host`, e.host),
  address: spec.hostAddress(`${field}.address`, e.address),
  port: whole(`${field}.port`, e.port, MAX_PORT, 1),
  mode: word(`${field}.mode`, e.mode, ["serving", "draining"]),
});

export const encodeApplied = (a: Applied): wire.Applied => ({
  ...encodeFence(a),
  hash: a.hash,
  services: { ...a.services },
});

export const readApplied = (a: wire.Applied): Applied => ({
  ...readFence(a),
  hash: hash("hash", a.hash),
  services: table("services", a.services, LIMITS.servicesPerAgent, hash, isName),
});

/** A reason is for people: one that is too long is cut rather than refused. */
export const encodeRejected = (r: Rejected): wire.Rejected => ({
  ...encodeFence(r),
  hash: r.hash,
  why: r.why.slice(0, LIMITS.textLength),
});

export const readRejected = (r: wire.Rejected): Rejected => ({
  ...readFence(r),
  hash: hash("hash", r.hash),
  why: text("why", r.why, LIMITS.textLength),
});
