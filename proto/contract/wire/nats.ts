/**
 * What is said over NATS, as bytes: envelopes that name the session a message belongs to, the Call of controllers, and
 * the value of an agent's key in the assignments bucket.
 *
 * Value   one byte of form, then an Assignment as protobuf: 0 as it is, 1 deflated (raw, RFC 1951) beyond DEFLATE_FROM.
 * Errors  decoding never throws, whatever the bytes: not protobuf, too large and against a rule are all `invalid`.
 * Cost    as the gRPC session's, and one envelope; deflating is for gateways of large fleets alone (fastest level).
 */
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import * as wire from "../../gen/baton/v1/nats.ts";
import { Assignment as WireAssignment } from "../../gen/baton/v1/session.ts";
import type { Assignment, Fence } from "../assignment.ts";
import { isHash } from "../canonical.ts";
import { LIMITS } from "../limits.ts";
import type { AgentMessage, ControllerMessage } from "../session.ts";
import { encodeAssignment, readAssignment } from "./assignment.ts";
import {
  decodeAgentMessage,
  decodeControllerMessage,
  encodeAgentMessage,
  encodeControllerMessage,
} from "./messages.ts";
import { decoded, fail, present, text, u32, u64, whole } from "./reader.ts";
import type { Decoded } from "./reader.ts";

/** Ends a session, or refuses it. */
export interface Farewell {
  readonly kind: "farewell";
  readonly reason: string;
}

export interface AgentEnvelope {
  /** The agent's, another one for each Hello that begins anew. */
  readonly session: string;
  readonly what: AgentMessage | Farewell;
}

export interface ControllerEnvelope {
  readonly session: string;
  readonly what: ControllerMessage | Farewell;
}

/** Who leads, or with `again`: a controller that knows nobody yet asks for every agent's Hello. */
export interface Call {
  readonly epoch: number;
  readonly controller: string;
  readonly spreadMs: number;
  readonly again: boolean;
}

const DEFLATE_FROM = 64 << 10;
const PLAIN = 0;
const DEFLATED = 1;

export const encodeAgentEnvelope = ({ session, what }: AgentEnvelope): Uint8Array =>
  wire.AgentEnvelope.encode({
    session,
    what:
      what.kind === "farewell"
        ? { $case: "farewell", value: encodeFarewell(what) }
        : { $case: "message", value: encodeAgentMessage(what) },
  }).finish();

export const decodeAgentEnvelope = (bytes: Uint8Array): Decoded<AgentEnvelope> =>
  read(bytes, wire.AgentEnvelope, ({ session, what }) => {
    const { $case, value } = present("what", what);
    if ($case === "farewell") return { session: readSession(session), what: readFarewell(value) };
    return { session: readSession(session), what: taken(decodeAgentMessage(value)) };
  });

export const encodeControllerEnvelope = ({ session, what }: ControllerEnvelope): Uint8Array =>
  wire.ControllerEnvelope.encode({
    session,
    what:
      what.kind === "farewell"
        ? { $case: "farewell", value: encodeFarewell(what) }
        : { $case: "message", value: encodeControllerMessage(what) },
  }).finish();

export const decodeControllerEnvelope = (bytes: Uint8Array): Decoded<ControllerEnvelope> =>
  read(bytes, wire.ControllerEnvelope, ({ session, what }) => {
    const { $case, value } = present("what", what);
    if ($case === "farewell") return { session: readSession(session), what: readFarewell(value) };
    return { session: readSession(session), what: taken(decodeControllerMessage(value)) };
  });

export const encodeCall = (c: Call): Uint8Array =>
  wire.Call.encode({ ...c, epoch: u64(c.epoch), spreadMs: u32(c.spreadMs) }).finish();

export const decodeCall = (bytes: Uint8Array): Decoded<Call> =>
  read(bytes, wire.Call, (c) => ({
    epoch: whole("epoch", c.epoch),
    controller: text("controller", c.controller, LIMITS.idLength),
    spreadMs: whole("spread_ms", c.spreadMs, 3_600_000),
    again: c.again,
  }));

export function encodeAssignmentValue(assignment: Assignment): Uint8Array {
  const plain = WireAssignment.encode(encodeAssignment(assignment)).finish();
  if (plain.length <= DEFLATE_FROM) return Buffer.concat([Uint8Array.of(PLAIN), plain]);
  const deflated = deflateRawSync(plain, { level: constants.Z_BEST_SPEED });
  return Buffer.concat([Uint8Array.of(DEFLATED), deflated]);
}

export type DecodedAssignment =
  | { readonly kind: "ok"; readonly value: Assignment }
  /** `asked` is what it can be answered by, if that much can be read of it. */
  | { readonly kind: "invalid"; readonly why: string; readonly asked: (Fence & { readonly hash: string }) | null };

export function decodeAssignmentValue(bytes: Uint8Array): DecodedAssignment {
  let message: WireAssignment;
  try {
    message = WireAssignment.decode(inflated(bytes));
  } catch (error) {
    return { kind: "invalid", why: `assignment: not readable (${(error as Error).message})`, asked: null };
  }
  const assignment = decoded(() => readAssignment(message));
  if (assignment.kind === "ok") return assignment;
  const asked = { epoch: Number(message.epoch), generation: Number(message.generation), hash: message.hash };
  const readable = [asked.epoch, asked.generation].every(Number.isSafeInteger) && isHash(asked.hash);
  return { ...assignment, asked: readable ? asked : null };
}

function inflated(bytes: Uint8Array): Uint8Array {
  const content = bytes.subarray(1);
  if (bytes[0] === DEFLATED) return inflateRawSync(content, { maxOutputLength: LIMITS.messageBytes });
  if (bytes[0] !== PLAIN) throw new Error(`its form is ${String(bytes[0])}, this reads 0 and 1`);
  if (content.length > LIMITS.messageBytes) throw new Error(`${String(content.length)} bytes`);
  return content;
}

function read<W, T>(bytes: Uint8Array, codec: { decode(bytes: Uint8Array): W }, make: (message: W) => T): Decoded<T> {
  if (bytes.length > LIMITS.messageBytes) return { kind: "invalid", why: `message: ${String(bytes.length)} bytes` };
  let message: W;
  try {
    message = codec.decode(bytes);
  } catch (error) {
    return { kind: "invalid", why: `message: not protobuf (${(error as Error).message})` };
  }
  return decoded(() => make(message));
}

const taken = <T>(read: Decoded<T>): T => (read.kind === "ok" ? read.value : fail("message", read.why));
const readSession = (session: string): string => text("session", session, LIMITS.idLength, (t) => t !== "");
const encodeFarewell = ({ reason }: Farewell): wire.Farewell => ({ reason: reason.slice(0, LIMITS.textLength) });
const readFarewell = ({ reason }: wire.Farewell): Farewell => ({
  kind: "farewell",
  reason: text("reason", reason, LIMITS.textLength),
});
