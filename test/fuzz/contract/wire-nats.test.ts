/** Envelopes, calls and kept assignments, through real bytes. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeAgentEnvelope,
  decodeAssignmentValue,
  decodeCall,
  decodeControllerEnvelope,
  encodeAgentEnvelope,
  encodeAssignmentValue,
  encodeCall,
  encodeControllerEnvelope,
} from "../../../proto/contract/wire.ts";
import { agentMessageArb, assignmentArb, controllerMessageArb } from "../../support/arbitrary-messages.ts";

const sessionArb = fc.string({ unit: fc.constantFrom(...Array.from("0123456789abcdef")), minLength: 1, maxLength: 16 });
const farewellArb = fc.record({ kind: fc.constant("farewell" as const), reason: fc.string({ maxLength: 40 }) });
const upArb = fc.record({ session: sessionArb, what: fc.oneof(agentMessageArb, farewellArb) });
const downArb = fc.record({ session: sessionArb, what: fc.oneof(controllerMessageArb, farewellArb) });
const callArb = fc.record({
  ...{ epoch: fc.maxSafeNat(), controller: fc.string({ maxLength: 40 }), again: fc.boolean() },
  spreadMs: fc.integer({ min: 0, max: 3_600_000 }),
});

test("what is said over NATS arrives as it was said", () => {
  fc.assert(
    fc.property(upArb, downArb, callArb, assignmentArb, (up, down, call, assignment) => {
      expect(decodeAgentEnvelope(encodeAgentEnvelope(up))).toEqual({ kind: "ok", value: up });
      expect(decodeControllerEnvelope(encodeControllerEnvelope(down))).toEqual({ kind: "ok", value: down });
      expect(decodeCall(encodeCall(call))).toEqual({ kind: "ok", value: call });
      expect(decodeAssignmentValue(encodeAssignmentValue(assignment))).toEqual({ kind: "ok", value: assignment });
    }),
    { numRuns: 200 },
  );
});

test("no bytes make the reading throw, and what can't be read is answered with a reason", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    upArb.map(encodeAgentEnvelope),
    downArb.map(encodeControllerEnvelope),
    callArb.map(encodeCall),
    assignmentArb.map(encodeAssignmentValue),
  );
  const edits = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 6 });
  let refused = 0;
  fc.assert(
    fc.property(bytes, edits, (original, changes) => {
      const mutated = Uint8Array.from(original);
      for (const [at, byte] of changes) if (mutated.length > 0) mutated[at % mutated.length] = byte;
      for (const decode of [decodeAgentEnvelope, decodeControllerEnvelope, decodeCall, decodeAssignmentValue]) {
        const read = decode(mutated);
        if (read.kind === "ok") continue;
        refused += 1;
        expect(read.why).toMatch(/^[\w.[\]/-]+: ./);
      }
    }),
    { numRuns: 1_000 },
  );
  expect(refused).toBeGreaterThan(500);
});
