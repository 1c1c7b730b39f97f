import * as fc from "fast-check";
import { expect, test } from "vitest";
import { LIMITS } from "../../../proto/contract/limits.ts";
import type { Assignment, AssignedRevision } from "../../../proto/contract/assignment.ts";
import {
  decodeAgentMessage,
  decodeControllerMessage,
  encodeAgentMessage,
  encodeControllerMessage,
} from "../../../proto/contract/wire.ts";
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
const withService = (change: object): string => assignment((a) => ({ services: [{ ...a.services[0]!, ...change }] }));
const revision = (revision: number, weight: number, mode: AssignedRevision["mode"] = "serving"): AssignedRevision => ({
  revision,
  version: `v${revision}`,
  mode,
  weight,
  run: { kind: "external", instances: [] },
  health: null,
});

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
  expect(
    withService({ rules: [{ path: { type: "Exact", value: "x" }, timeouts: {}, retry: { methods: [] } }] }),
  ).toMatch(/^services\[0\]\.rules\[0\]\.path_value/);
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
