/** Any valid session message, for properties. */
import * as fc from "fast-check";
import type { Applied, AssignedRevision, AssignedService, Assignment } from "../../proto/contract/assignment.ts";
import { LATENCY_BUCKETS } from "../../proto/contract/histogram.ts";
import { CUT_CAUSES, INCIDENT_KINDS, INSTANCE_STATES, LOSS_CAUSES } from "../../proto/contract/report.ts";
import type { InstanceReport, Report, TrafficReport } from "../../proto/contract/report.ts";
import { INBOUND_PORTS } from "../../proto/contract/session.ts";
import type { AgentMessage, ControllerMessage } from "../../proto/contract/session.ts";
import { WHOLE } from "../../proto/contract/units.ts";
import { basisPointsArb, matchArb, stickyArb } from "./arbitrary-match.ts";
import { drainArb, healthArb, hostnameArb, listenerArb, portArb, ruleArb, runArb } from "./arbitrary-spec.ts";
import { nameArb, textArb, versionArb } from "./arbitrary-text.ts";

const countArb = fc.oneof(fc.nat(), fc.maxSafeNat());
const hashArb = fc.string({ unit: fc.constantFrom(...Array.from("0123456789abcdef")), minLength: 64, maxLength: 64 });
const idArb = fc.oneof(nameArb, fc.constant("shop-r2-0-1a2b"));
const noNull = { noNullPrototype: true } as const;

export const appliedArb: fc.Arbitrary<Applied> = fc.record({
  epoch: countArb,
  generation: countArb,
  hash: hashArb,
  services: fc.dictionary(nameArb, hashArb, { ...noNull, maxKeys: 4 }),
});

/** Serving weights that sum to the whole, as a controller makes them. */
function weighed(revisions: AssignedRevision[]): AssignedRevision[] {
  const serving = revisions.filter((r) => r.mode === "serving");
  let left = WHOLE;
  return revisions.map((r) => {
    if (r.mode !== "serving") return r;
    const weight = r === serving.at(-1) ? left : Math.min(left, r.weight);
    left -= weight;
    return { ...r, weight };
  });
}

const revisionArb: fc.Arbitrary<AssignedRevision> = fc.record({
  revision: fc.integer({ min: 1, max: 0xffff_ffff }),
  version: versionArb,
  mode: fc.constantFrom("standby" as const, "serving" as const, "draining" as const),
  weight: fc.integer({ min: 0, max: WHOLE }),
  run: runArb,
  health: fc.option(healthArb),
});

const unroutedServiceArb = fc.record({
  name: nameArb,
  rollout: fc.oneof(fc.constant(""), idArb),
  listeners: fc.array(listenerArb, { maxLength: 3 }),
  hostnames: fc.array(hostnameArb, { maxLength: 2 }),
  rules: fc.array(ruleArb, { maxLength: 3 }),
  drain: drainArb,
  accepting: fc.boolean(),
  revisions: fc.uniqueArray(revisionArb, { maxLength: 3, selector: (r) => r.revision }).map(weighed),
  endpoints: fc.array(
    fc.record({
      host: nameArb,
      address: fc.constantFrom("127.0.0.1", "::1", "host-1.internal"),
      port: portArb,
      mode: fc.constantFrom("serving" as const, "draining" as const),
    }),
    { maxLength: 3 },
  ),
  sticky: fc.option(stickyArb),
});

/** Routes and mirrors name revisions that are there. */
export const assignedServiceArb: fc.Arbitrary<AssignedService> = unroutedServiceArb.chain((service) => {
  const numbers = service.revisions.map((r) => r.revision);
  const route = {
    name: nameArb,
    revision: fc.constantFrom(...(numbers.length === 0 ? [0] : numbers)),
    matches: fc.array(matchArb, { minLength: 1, maxLength: 2 }),
  };
  const bounds = { maxLength: numbers.length === 0 ? 0 : 2, selector: (r: { readonly name: string }) => r.name };
  return fc
    .record({
      routes: fc.uniqueArray(fc.record(route), bounds),
      mirrors: fc.uniqueArray(fc.record({ ...route, percentage: basisPointsArb }), bounds),
    })
    .map((routed) => ({ ...service, ...routed }));
});

export const assignmentArb: fc.Arbitrary<Assignment> = fc.record({
  epoch: countArb,
  generation: countArb,
  hash: hashArb,
  services: fc.uniqueArray(assignedServiceArb, { maxLength: 3, selector: (s) => s.name }),
});

const instanceArb: fc.Arbitrary<InstanceReport> = fc.record({
  service: nameArb,
  revision: fc.nat(),
  version: versionArb,
  id: idArb,
  state: fc.constantFrom(...INSTANCE_STATES),
  sinceMs: countArb,
  healthySinceMs: countArb,
  wasReady: fc.boolean(),
  pid: fc.nat(),
  address: fc.constantFrom("", "127.0.0.1", "::1"),
  port: fc.oneof(portArb, fc.constant(0)),
  restarts: fc.nat(),
  exit: fc.option(
    fc.record({
      code: fc.option(fc.integer({ min: -1, max: 255 })),
      signal: fc.option(fc.constantFrom("SIGKILL", "")),
    }),
  ),
  reason: textArb,
  output: fc.array(textArb, { maxLength: 20 }),
  inFlight: countArb,
  started: countArb,
});

const countsArb = (length: number): fc.Arbitrary<number[]> =>
  fc.array(countArb, { minLength: length, maxLength: length });

const trafficArb: fc.Arbitrary<TrafficReport> = fc.record({
  service: nameArb,
  version: fc.oneof(versionArb, fc.constant("")),
  endpoint: fc.oneof(idArb, fc.constant("")),
  started: countArb,
  inFlight: countArb,
  completed: countArb,
  statusClasses: countsArb(6),
  retried: countArb,
  drained: countArb,
  clientGone: countArb,
  tunnels: countArb,
  eventStreams: countArb,
  bytesIn: countArb,
  bytesOut: countArb,
  lost: countsArb(LOSS_CAUSES.length),
  cut: countsArb(CUT_CAUSES.length),
  latency: fc
    .uniqueArray(fc.integer({ min: 0, max: LATENCY_BUCKETS - 1 }), { maxLength: 8 })
    .chain((buckets) => fc.tuple(...buckets.toSorted((a, b) => a - b).map((b) => fc.tuple(fc.constant(b), countArb)))),
});

export const reportArb: fc.Arbitrary<Report> = fc.record({
  boot: idArb,
  seq: countArb,
  applied: fc.option(appliedArb),
  instances: fc.array(instanceArb, { maxLength: 3 }),
  endpoints: fc.array(
    fc.record({
      service: nameArb,
      listener: fc.integer({ min: 0, max: 15 }),
      address: fc.constant("::"),
      port: portArb,
    }),
    { maxLength: 3 },
  ),
  traffic: fc.array(trafficArb, { maxLength: 3 }),
  incidents: fc.array(
    fc.record({
      seq: countArb,
      atMs: countArb,
      kind: fc.constantFrom(...INCIDENT_KINDS),
      service: fc.oneof(nameArb, fc.constant("")),
      message: textArb,
    }),
    { maxLength: 3 },
  ),
});

export const agentMessageArb: fc.Arbitrary<AgentMessage> = fc.oneof(
  fc.record({
    kind: fc.constant("hello" as const),
    hello: fc.record({
      protocolVersion: fc.nat(),
      host: nameArb,
      role: fc.constantFrom("host" as const, "gateway" as const),
      labels: fc.dictionary(versionArb, fc.oneof(versionArb, fc.constant("")), { ...noNull, maxKeys: 3 }),
      boot: idArb,
      software: textArb,
      address: fc.constantFrom("127.0.0.1", "::1", "host-1.internal"),
      highestEpoch: countArb,
      applied: fc.option(appliedArb),
      inboundPorts: fc.constantFrom(...INBOUND_PORTS),
    }),
  }),
  fc.record({ kind: fc.constant("applied" as const), applied: appliedArb }),
  fc.record({
    kind: fc.constant("rejected" as const),
    rejected: fc.record({ epoch: countArb, generation: countArb, hash: hashArb, why: textArb }),
  }),
  fc.record({ kind: fc.constant("report" as const), report: reportArb }),
);

export const controllerMessageArb: fc.Arbitrary<ControllerMessage> = fc.oneof(
  fc.record({
    kind: fc.constant("welcome" as const),
    welcome: fc.record({
      epoch: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
      session: idArb,
      reportEveryMs: fc.integer({ min: 10, max: 60_000 }),
      leaseMs: fc.integer({ min: 100, max: 60_000 }),
    }),
  }),
  fc.record({ kind: fc.constant("assignment" as const), assignment: assignmentArb }),
  fc.record({
    kind: fc.constant("reconnect" as const),
    reconnect: fc.record({ withinMs: fc.integer({ min: 0, max: 60_000 }), reason: textArb }),
  }),
);
