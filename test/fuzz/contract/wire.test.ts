import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeAgentMessage,
  decodeControllerMessage,
  encodeAgentMessage,
  encodeControllerMessage,
} from "../../../proto/contract/wire.ts";
import * as wire from "../../../proto/gen/baton/v1/session.ts";
import { agentMessageArb, controllerMessageArb } from "../../support/arbitrary-messages.ts";

const agentBytes = (m: Parameters<typeof encodeAgentMessage>[0]): Uint8Array =>
  wire.AgentMessage.encode(encodeAgentMessage(m)).finish();
const controllerBytes = (m: Parameters<typeof encodeControllerMessage>[0]): Uint8Array =>
  wire.ControllerMessage.encode(encodeControllerMessage(m)).finish();

test("what an agent says arrives as it was said, through real protobuf bytes", () => {
  fc.assert(
    fc.property(agentMessageArb, (message) => {
      const value = decodeAgentMessage(wire.AgentMessage.decode(agentBytes(message)));
      expect(value).toEqual({ kind: "ok", value: message });
    }),
    { numRuns: 400 },
  );
});

test("what a controller says arrives as it was said, through real protobuf bytes", () => {
  fc.assert(
    fc.property(controllerMessageArb, (message) => {
      const value = decodeControllerMessage(wire.ControllerMessage.decode(controllerBytes(message)));
      expect(value).toEqual({ kind: "ok", value: message });
    }),
    { numRuns: 400 },
  );
});

/** Flips, drops and adds bytes; protobuf's own reader may refuse the result, ours must answer whatever gets through. */
test("no bytes make the reading of a message throw", () => {
  const bytes = fc.oneof(agentMessageArb.map(agentBytes), controllerMessageArb.map(controllerBytes));
  const edits = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 6 });
  let answered = 0;
  fc.assert(
    fc.property(bytes, edits, (original, changes) => {
      const mutated = Uint8Array.from(original);
      for (const [at, byte] of changes) if (mutated.length > 0) mutated[at % mutated.length] = byte;
      for (const [codec, decode] of [
        [wire.AgentMessage, decodeAgentMessage],
        [wire.ControllerMessage, decodeControllerMessage],
      ] as const) {
        let message;
        try {
          message = codec.decode(mutated);
        } catch {
          continue; // not protobuf any more
        }
        const read = decode(message as never);
        if (read.kind === "invalid") expect(read.why).toMatch(/^[\w.[\]/-]+: ./);
        answered += 1;
      }
    }),
    { numRuns: 1_500 },
  );
  expect(answered).toBeGreaterThan(500);
});
