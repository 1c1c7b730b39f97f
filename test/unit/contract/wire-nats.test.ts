import { deflateRawSync } from "node:zlib";
import { expect, test } from "vitest";
import { assignmentHash } from "../../../proto/contract/canonical.ts";
import { LIMITS } from "../../../proto/contract/limits.ts";
import {
  decodeAgentEnvelope,
  decodeAssignmentValue,
  decodeCall,
  decodeControllerEnvelope,
  encodeAssignmentValue,
} from "../../../proto/contract/wire.ts";
import * as wire from "../../../proto/gen/baton/v1/nats.ts";
import { endpoint, revision, service } from "../../support/core/assignments.ts";

const why = (read: { readonly kind: "ok" } | { readonly kind: "invalid"; readonly why: string }): string =>
  read.kind === "invalid" ? read.why : "taken";

test("an envelope is refused by the field that is wrong", () => {
  const up = (change: Partial<wire.AgentEnvelope>): string =>
    why(
      decodeAgentEnvelope(
        wire.AgentEnvelope.encode({
          session: "s",
          what: { $case: "farewell", value: { reason: "bye" } },
          ...change,
        }).finish(),
      ),
    );
  expect(up({})).toBe("taken");
  expect(up({ session: "" })).toBe('session: "" is not valid here');
  expect(up({ session: "x".repeat(129) })).toBe("session: 129 characters; at most 128");
  expect(up({ what: undefined })).toBe("what: missing");
  expect(up({ what: { $case: "message", value: { message: undefined } } })).toBe("message: message: missing");
  expect(why(decodeControllerEnvelope(Uint8Array.of()))).toBe("what: missing");
  expect(why(decodeAgentEnvelope(new Uint8Array(LIMITS.messageBytes + 1)))).toBe("message: 4194305 bytes");
  expect(why(decodeAgentEnvelope(Uint8Array.of(0xff)))).toMatch(/^message: not protobuf/);
});

test("a call names an epoch that can be, and a spread of an hour at most", () => {
  const call = (change: Partial<wire.Call>): string =>
    why(decodeCall(wire.Call.encode({ epoch: 1n, controller: "a", spreadMs: 5, again: false, ...change }).finish()));
  expect(call({})).toBe("taken");
  expect(call({ epoch: 2n ** 60n })).toMatch(/^epoch: 1152921504606846976 is not a whole number/);
  expect(call({ spreadMs: 3_600_001 })).toMatch(/^spread_ms: /);
  expect(call({ controller: "x".repeat(200) })).toMatch(/^controller: 200 characters/);
});

test("a kept assignment: small as it is, large deflated, and never inflated beyond what a message may be", () => {
  const of = (services: ReturnType<typeof service>[]) => ({
    ...{ epoch: 2, generation: 3, services },
    hash: assignmentHash(services),
  });
  const small = of([service([revision(1)])]);
  const endpoints = Array.from({ length: 1_024 }, (_, i) => endpoint(`${"host-".repeat(11)}${i}`));
  const large = of([service([], { endpoints })]);
  for (const [assignment, form] of [
    [small, 0],
    [large, 1],
  ] as const) {
    const bytes = encodeAssignmentValue(assignment);
    expect(bytes[0]).toBe(form);
    expect(bytes.length).toBeLessThan(64 << 10);
    expect(decodeAssignmentValue(bytes)).toEqual({ kind: "ok", value: assignment });
  }
  const bomb = Buffer.concat([Uint8Array.of(1), deflateRawSync(Buffer.alloc(LIMITS.messageBytes + 1))]);
  expect(bomb.length).toBeLessThan(10_000);
  expect(decodeAssignmentValue(bomb)).toMatchObject({ kind: "invalid", asked: null });
  expect(why(decodeAssignmentValue(Uint8Array.of(7, 1)))).toContain("its form is 7");
  expect(why(decodeAssignmentValue(Uint8Array.of()))).toContain("its form is undefined");
});

test("an assignment that breaks the contract says by what pair it can be answered", () => {
  const services = [service([revision(1, "serving", { weight: 20_000 })])];
  const bad = { epoch: 2, generation: 3, services, hash: assignmentHash(services) };
  const read = decodeAssignmentValue(encodeAssignmentValue(bad));
  expect(read).toMatchObject({ kind: "invalid", asked: { epoch: 2, generation: 3, hash: bad.hash } });
  expect(why(read)).toContain("weight");
  expect(decodeAssignmentValue(encodeAssignmentValue({ ...bad, hash: "x" }))).toMatchObject({ asked: null });
});
