import * as fc from "fast-check";
import { expect, test } from "vitest";
import { LIMITS } from "../../../proto/contract/limits.ts";
import type { Assignment, AssignedRevision } from "../../../proto/contract/assignment.ts";
import { EVERY_REQUEST, NO_FILTERS } from "../../../proto/contract/spec/types.ts";
import type { RuleSpec, StickySpec } from "../../../proto/contract/spec/types.ts";
import {
  decodeAgentMessage,
  decodeControllerMessage,
  encodeAgentMessage,
  encodeControllerMessage,
} from "../../../proto/contract/wire.ts";
import { assignmentHash } from "../../../proto/contract/canonical.ts";
import { ControllerMessage } from "../../../proto/gen/baton/v1/session.ts";
import type * as wire from "../../../proto/gen/baton/v1/session.ts";
import { assignedServiceArb, assignmentArb, reportArb } from "../../support/arbitrary-messages.ts";

const HASH = "0".repeat(64);
const one = <T>(arb: fc.Arbitrary<T>): T => fc.sample(arb, { numRuns: 1, seed: 7 })[0]!;

const why = (read: { kind: "ok" } | { kind: "invalid"; why: string }): string =>
  read.kind === "invalid" ? read.why : "taken";

const HELLO: wire.Hello = {
  protocolVersion: 1,
  host: "host-1",
  role: "host",
  labels: {},
  boot: "b",
  software: "0.1.0",
  address: "127.0.0.1",
  highestEpoch: 0n,
  inboundPorts: "",
  applied: undefined,
};
const hello = (change: Partial<wire.Hello>): string =>
  why(decodeAgentMessage({ message: { $case: "hello", value: { ...HELLO, ...change } } }));

test("a message without content is no message", () => {
  expect(why(decodeAgentMessage({ message: undefined }))).toBe("message: missing");
  expect(why(decodeControllerMessage({ message: undefined }))).toBe("message: missing");
});

test("a hello is refused by the field that is wrong", () => {
  expect(hello({})).toBe("taken");
  expect(hello({ protocolVersion: 99 })).toBe("taken");
  expect(hello({ host: "Host 1" })).toBe('host: "Host 1" is not valid here');
  expect(hello({ role: "spy" })).toBe('role: "spy" is none of host, gateway');
  expect(hello({ inboundPorts: "any" })).toBe('inbound_ports: "any" is none of declared, assigned');
  expect(hello({ boot: "" })).toBe('boot: "" is not valid here');
  expect(hello({ address: "" })).toBe('address: "" is not valid here');
  expect(hello({ address: "", role: "gateway" })).toBe("taken");
  expect(hello({ labels: { "a b": "x" } })).toBe('labels: "a b" is not a valid key');
  expect(hello({ highestEpoch: 2n ** 53n })).toMatch(/^highest_epoch: 9007199254740992 is not a whole number/);
  expect(hello({ applied: { epoch: 1n, generation: 1n, hash: "x", services: {} } })).toMatch(/^hash: "x"/);
  expect(hello({ software: "x".repeat(LIMITS.idLength + 1) })).toBe("software: 129 characters; at most 128");
});

function assignment(change: (a: Assignment) => unknown): string {
  const valid = { ...one(assignmentArb), services: [one(assignedServiceArb)] };
  const changed = { ...valid, ...(change(valid) as Partial<Assignment>) };
  const message = encodeControllerMessage({ kind: "assignment", assignment: changed });
  return why(decodeControllerMessage(message));
}
const withService = (change: object): string =>
  assignment((a) => ({ services: [{ ...a.services[0]!, routes: [], mirrors: [], ...change }] }));
const revision = (revision: number, weight: number, mode: AssignedRevision["mode"] = "serving"): AssignedRevision => ({
  revision,
  version: `v${revision}`,
  mode,
  weight,
  run: { kind: "external", instances: [] },
  health: null,
});

const RULE: RuleSpec = {
  ...EVERY_REQUEST,
  ...NO_FILTERS,
  timeouts: { requestMs: null },
  retry: { attempts: 1, methods: [] },
};

test("an assignment is refused by the field that is wrong, before anything acts on it", () => {
  expect(assignment(() => ({}))).toBe("taken");
  expect(assignment((a) => ({ services: [a.services[0], a.services[0]] }))).toMatch(/^services: .* stands here twice$/);
  expect(withService({ name: "../etc" })).toBe('services[0].name: "../etc" is not valid here');
  expect(withService({ listeners: [{ address: "shop", port: 1, protocol: "http" }] })).toMatch(
    /^services\[0\]\.listeners\[0\]\.address/,
  );
  expect(withService({ listeners: [{ address: "::1", port: 65_536, protocol: "http" }] })).toMatch(
    /port: 65536 is not/,
  );
  expect(withService({ listeners: [{ address: "::1", port: 1, protocol: "udp" }] })).toMatch(/"udp" is none of http$/);
  expect(withService({ rules: [{ ...RULE, path: { type: "Exact", value: "x" } }] })).toMatch(
    /^services\[0\]\.rules\[0\]\.path_value/,
  );
  expect(withService({ endpoints: [{ host: "h", address: "::1", port: 0, mode: "serving" }] })).toMatch(
    /port: 0 is not/,
  );
});

test("weights that do not sum to the whole never reach the split", () => {
  const weights = (...all: AssignedRevision[]): string => withService({ revisions: all });
  expect(weights(revision(1, 7_000), revision(2, 3_000))).toBe("taken");
  expect(weights(revision(1, 0), revision(2, 0))).toBe("taken");
  expect(weights(revision(1, 10_000), revision(2, 5_000, "standby"))).toBe("taken");
  expect(weights(revision(1, 7_000), revision(2, 2_000))).toBe(
    "services[0].revisions: the serving weights sum to 9000, not to 10000 or 0",
  );
  expect(weights(revision(1, 10_001))).toMatch(/weight: 10001 is not a whole number from 0 to 10000$/);
  expect(weights(revision(1, 0), revision(1, 0))).toBe("services[0].revisions: 1 stands here twice");
});

test("a match that no document may say is refused before any request is asked for it", () => {
  const rule = (change: Partial<RuleSpec>): string => withService({ rules: [{ ...RULE, ...change }] });
  const regex = (value: string): string => rule({ path: { type: "RegularExpression", value } });
  expect(rule({})).toBe("taken");
  expect(regex("/users/[0-9]+")).toBe("taken");
  expect(regex("(a")).toBe('services[0].rules[0].path_value: "(a" is not valid here');
  expect(regex("(?=a)b")).toMatch(/path_value: .* is not valid here$/);
  expect(regex("(a{30}){30}")).toMatch(/path_value: .* is not valid here$/);
  expect(regex("x".repeat(1_025))).toBe("services[0].rules[0].path_value: 1025 characters; at most 1024");
  expect(rule({ method: "get" })).toBe('services[0].rules[0].method: "get" is not valid here');
  const header = (name: string, value: string, type: "Exact" | "RegularExpression" = "Exact"): string =>
    rule({ headers: [{ type, name, value }] });
  expect(header("x-a", "1")).toBe("taken");
  expect(header("x-a", "[0-9]+", "RegularExpression")).toBe("taken");
  expect(header("X-A", "1")).toBe('services[0].rules[0].headers[0].name: "X-A" is not valid here');
  expect(header("x a", "1")).toMatch(/headers\[0\]\.name: "x a" is not valid here$/);
  expect(header("x-a", "1\r\nx: y")).toMatch(/headers\[0\]\.value: .* is not valid here$/);
  expect(header("x-a", "*", "RegularExpression")).toMatch(/headers\[0\]\.value: .* is not valid here$/);
  const twice = { type: "Exact", name: "a", value: "1" } as const;
  expect(rule({ headers: [twice, twice] })).toBe("services[0].rules[0].headers: a stands here twice");
  expect(rule({ queryParams: [twice, twice] })).toBe("services[0].rules[0].query_params: a stands here twice");
  expect(rule({ queryParams: Array.from({ length: 17 }, (_, i) => ({ ...twice, name: `q${i}` })) })).toBe(
    "services[0].rules[0].query_params: 17 entries; at most 16",
  );
});

test("no filter can end a message's line, or change what frames and routes it", () => {
  const set = (name: string, value = "1"): string =>
    withService({ rules: [{ ...RULE, requestHeaders: { set: [{ name, value }], add: [], remove: [] } }] });
  const remove = (name: string): string =>
    withService({ rules: [{ ...RULE, responseHeaders: { set: [], add: [], remove: [name] } }] });
  expect(set("X-Env", "blue, green")).toBe("taken");
  expect(set("x-env", "a\r\nb: c")).toMatch(/request_headers\.set\[0\]\.value: .* is not valid here$/);
  expect(set("x env")).toMatch(/request_headers\.set\[0\]\.name: "x env" is not valid here$/);
  expect(set("Content-Length")).toBe(
    "services[0].rules[0].request_headers.set[0].name: Content-Length may not be changed: it belongs to one connection, and Baton writes it",
  );
  for (const name of ["transfer-encoding", "connection", "proxy-authorization", "host", "via", "baton-error", "te"]) {
    expect(remove(name), name).toMatch(/response_headers\.remove\[0\]: .* may not be changed: /);
  }
  expect(remove("server")).toBe("taken");
});

test("a route names a revision that is here, a mirror a share that there is", () => {
  const route = { name: "beta", revision: 2, matches: [EVERY_REQUEST] };
  const both = { revisions: [revision(1, 10_000), revision(2, 0)] };
  const routes = (...all: object[]): string => withService({ ...both, routes: all });
  const mirrors = (...all: object[]): string => withService({ ...both, mirrors: all });
  expect(routes(route)).toBe("taken");
  expect(routes({ ...route, revision: 3 })).toBe(
    "services[0].routes[0].revision: 3 is none of the service's revisions",
  );
  expect(routes({ ...route, matches: [] })).toBe("services[0].routes[0].matches: empty");
  expect(routes(route, route)).toBe("services[0].routes: beta stands here twice");
  expect(routes({ ...route, name: "a b" })).toBe('services[0].routes[0].name: "a b" is not valid here');
  expect(mirrors({ ...route, percentage: 500 })).toBe("taken");
  expect(mirrors({ ...route, revision: 3, percentage: 500 })).toMatch(/^services\[0\]\.mirrors\[0\]\.revision: 3 /);
  expect(mirrors({ ...route, percentage: 10_001 })).toMatch(/percentage: 10001 is not a whole number from 0 to 10000$/);
});

test("a sticky key is a header or a cookie that can be sent", () => {
  const sticky = (of: StickySpec): string => withService({ sticky: of });
  expect(sticky({ kind: "cookie", name: "baton", maxAgeMs: 60_000 })).toBe("taken");
  expect(sticky({ kind: "cookie", name: "a;b", maxAgeMs: 60_000 })).toBe(
    'services[0].sticky.name: "a;b" is not valid here',
  );
  expect(sticky({ kind: "cookie", name: "a", maxAgeMs: 0 })).toMatch(/^services\[0\]\.sticky\.max_age_ms: 0 is not/);
  expect(sticky({ kind: "header", name: "X-User" })).toMatch(/sticky\.name: "X-User" is not valid here$/);
});

test("what an assignment says of routing comes back as it was, to the hash", () => {
  fc.assert(
    fc.property(assignmentArb, (assignment) => {
      const bytes = ControllerMessage.encode(encodeControllerMessage({ kind: "assignment", assignment })).finish();
      const read = decodeControllerMessage(ControllerMessage.decode(bytes));
      if (read.kind !== "ok" || read.value.kind !== "assignment") throw new Error(why(read));
      expect(assignmentHash(read.value.assignment.services)).toBe(assignmentHash(assignment.services));
    }),
    { numRuns: 100 },
  );
});

test("a list beyond its limit is refused, not worked through", () => {
  const services = Array.from({ length: LIMITS.servicesPerAgent + 1 }, () => ({}) as wire.AssignedService);
  const value: wire.Assignment = { epoch: 1n, generation: 1n, hash: HASH, services };
  expect(why(decodeControllerMessage({ message: { $case: "assignment", value } }))).toBe(
    "services: 257 entries; at most 256",
  );
});

test("a report of an older agent, with fewer causes, is read with zeros for the rest", () => {
  const report = { ...one(reportArb), traffic: fc.sample(reportArb, 50).find((r) => r.traffic.length > 0)!.traffic };
  const message = encodeAgentMessage({ kind: "report", report });
  if (message.message?.$case !== "report") throw new Error("no report");
  message.message.value.traffic[0]!.lost.length = 2;
  const read = decodeAgentMessage(message);
  expect(read.kind === "ok" && read.value.kind === "report" && read.value.report.traffic[0]?.lost.slice(2)).toEqual(
    report.traffic[0]!.lost.slice(2).map(() => 0),
  );
  message.message.value.traffic[0]!.lost = new Array<bigint>(40).fill(1n);
  expect(why(decodeAgentMessage(message))).toBe("traffic[0].lost: 40 entries; at most 10");
});

test("latency buckets come in order, each once, with a count each", () => {
  const message = (latencyBuckets: number[], latencyCounts: bigint[]): string => {
    const report = fc.sample(reportArb, 50).find((r) => r.traffic.length > 0)!;
    const encoded = encodeAgentMessage({ kind: "report", report: { ...report, traffic: [report.traffic[0]!] } });
    if (encoded.message?.$case === "report") {
      Object.assign(encoded.message.value.traffic[0]!, { latencyBuckets, latencyCounts });
    }
    return why(decodeAgentMessage(encoded));
  };
  expect(message([1, 5], [2n, 3n])).toBe("taken");
  expect(message([5, 5], [2n, 3n])).toMatch(/latency\[1\]: 5 is not a whole number from 6/);
  expect(message([240], [1n])).toMatch(/latency\[0\]: 240 is not/);
  expect(message([1], [])).toBe("traffic[0].latency: 1 buckets with 0 counts");
});

test("a defect in a count, or a long story, does not end the session", () => {
  const instance = fc.sample(reportArb, 50).find((r) => r.instances.length > 0)!.instances[0]!;
  const odd = {
    ...instance,
    inFlight: -1,
    sinceMs: 1.5,
    reason: "x".repeat(9_999),
    output: Array.from({ length: 99 }, String),
  };
  const report = { ...one(reportArb), instances: [odd] };
  const read = decodeAgentMessage(encodeAgentMessage({ kind: "report", report }));
  expect(read.kind === "ok" && read.value.kind === "report" && read.value.report.instances[0]).toMatchObject({
    inFlight: 0,
    sinceMs: 2,
    reason: "x".repeat(LIMITS.textLength),
  });
});
