/**
 * Operators' calls that change something, from a follower to whoever leads: NATS request and reply, the request's own
 * bytes in an envelope. Who asked was checked by the follower; that only controllers speak here is NATS's matter.
 *
 * While nobody leads, nobody answers, and NATS says so at once: then the call waits for the next leader. A call that
 * was heard and is not answered may have been carried out: that is said, and it is not sent twice.
 *
 * Errors  every outcome is a gRPC status for the operator. An answer that one message can't hold is deflated; one that it
 *         can't hold then either is told as done, without what it shows.
 */
import { deflate, inflateSync } from "node:zlib";
import { promisify } from "node:util";
import { Metadata, status } from "@grpc/grpc-js";
import type { handleUnaryCall, ServerUnaryCall, UntypedHandleCall } from "@grpc/grpc-js";
import { NatsError } from "nats";
import type { Msg } from "nats";
import { LIMITS } from "../../proto/contract/limits.ts";
import { LEAD, NOT_DONE } from "../../proto/contract/nats.ts";
import type { NatsLink } from "../../proto/contract/nats-link.ts";
import { Answered, Forwarded } from "../../proto/gen/baton/v1/nats.ts";
import { OperatorService } from "../../proto/gen/baton/v1/operator.ts";
import type { OperatorServer } from "../../proto/gen/baton/v1/operator.ts";
import { sleep } from "../../proto/kernel/clock.ts";
import type { Clock } from "../../proto/kernel/clock.ts";
import { allows, authorizationOf } from "./auth.ts";
import type { Token } from "./auth.ts";
import { actorOf, UNAUTHENTICATED } from "./operator.ts";

/** What only the leader may do. The rest are reads: each controller answers them itself. */
const WRITES = [
  ...["apply", "deleteService", "deploy", "pause", "resume", "promote", "abort", "undo", "retry"],
  ...["setWeight", "drain", "undrain"],
] as const satisfies readonly string[];

const AGAIN_MS = 250;
/** What a zlib stream begins with, and no Answered does. */
const ZLIB = 0x78;
/** Of an answer: what gRPC would take, and the envelope. */
const MOST_BYTES = LIMITS.messageBytes + 1_024;
const deflated = promisify<Uint8Array, { readonly level: number }, Buffer>(deflate);

/** Nobody was there to be asked. */
class NotDone extends Error {}

export type Forward = (asked: Forwarded) => Promise<Answered>;

interface Passing {
  readonly forward: Forward;
  readonly token: Token;
  readonly clock: Clock;
  /** Resolves when what the leader had stored by then is known here. */
  readonly caughtUp: (position: number) => Promise<void>;
}

type Unary = handleUnaryCall<unknown, unknown>;
interface Method {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  requestSerialize(value: unknown): Buffer;
  requestDeserialize(bytes: Buffer): unknown;
  responseSerialize(value: unknown): Buffer;
  responseDeserialize(bytes: Buffer): unknown;
}

const METHODS = OperatorService as unknown as Readonly<Record<string, Method>>;
const nameOf = ({ path }: Method): string => path.slice(path.lastIndexOf("/") + 1);

/** The follower's side: `reads` with every write passed on. */
export function forwarding(reads: OperatorServer, passing: Passing): OperatorServer {
  const all: Record<string, UntypedHandleCall> = { ...reads };
  for (const name of WRITES) {
    const method = METHODS[name];
    if (method !== undefined) all[name] = passOn(method, passing) as UntypedHandleCall;
  }
  return all as OperatorServer;
}

function passOn(method: Method, { forward, token, clock, caughtUp }: Passing): Unary {
  return (call, callback) => {
    if (!allows(token, authorizationOf(call.metadata))) {
      callback(UNAUTHENTICATED);
      return;
    }
    const pass = async (): Promise<void> => {
      const actor = actorOf(call.metadata);
      const request = method.requestSerialize(call.request);
      const { code, details, response, position } = await forward({ method: nameOf(method), actor, request });
      if (code !== 0) {
        callback({ code: status[status[code] as keyof typeof status], details });
        return;
      }
      // What is shown next, here, is not to be older than this answer.
      const over = new AbortController();
      await Promise.race([caughtUp(Number(position)), sleep(clock, LEAD.forwardMs, over.signal)]);
      over.abort();
      callback(null, method.responseDeserialize(Buffer.from(response)));
    };
    pass().catch((error: unknown) => {
      const metadata = new Metadata();
      if (error instanceof NotDone) metadata.set(NOT_DONE, "1");
      callback({ code: status.UNAVAILABLE, details: error instanceof Error ? error.message : String(error), metadata });
    });
  };
}

/** Over NATS; rejects with a sentence. */
export function forwardOver(link: NatsLink, subject: string, clock: Clock): Forward {
  return async (asked) => {
    const bytes = Forwarded.encode(asked).finish();
    const most = link.connection.info?.max_payload ?? Infinity;
    if (bytes.length > most) {
      const why = `the request has ${String(bytes.length)} bytes, NATS takes ${String(most)}: raise max_payload, or ask the leader itself`;
      return { code: status.RESOURCE_EXHAUSTED, details: why, response: Buffer.alloc(0), position: 0n };
    }
    for (const until = clock.monotonic() + LEAD.forwardMs; ;) {
      if (!link.connected) throw new NotDone(link.trouble);
      try {
        const { data } = await link.connection.request(subject, bytes, { timeout: LEAD.forwardMs });
        return Answered.decode(data[0] === ZLIB ? inflateSync(data, { maxOutputLength: MOST_BYTES }) : data);
      } catch (error) {
        if (!(error instanceof NatsError)) throw error;
        if (error.code === "TIMEOUT") {
          throw new Error(
            "the leader did not answer in time; it may have been done all the same: look before you ask again",
          );
        }
        if (error.code !== "503") throw new Error(`the leader can't be asked: ${error.message}`);
        if (clock.monotonic() >= until)
          throw new NotDone("no controller leads at the moment; try again in some seconds");
      }
      await sleep(clock, AGAIN_MS);
    }
  };
}

interface Led {
  readonly trusted: OperatorServer;
  readonly position: number;
}

/** The leader's side, until the answer is called: nobody answers here any more then. */
export function answerForwarded(link: NatsLink, subject: string, led: Led): () => void {
  return link.listen(subject, (message) => answer(message, led, (answered) => void send(link, message, answered)));
}

/** Never rejects: what can't be sent is not answered, and the follower says so. */
async function send(link: NatsLink, message: Msg, answered: Answered): Promise<void> {
  let bytes: Uint8Array = Answered.encode(answered).finish();
  const most = link.connection.info?.max_payload ?? bytes.length;
  if (bytes.length > most) bytes = await deflated(bytes, { level: 1 });
  if (bytes.length > most) {
    const details =
      `it is done, but what it shows has ${String(bytes.length)} bytes, and NATS takes ${String(most)}: ` +
      "look at it on its own; raise max_payload, or ask the leader itself";
    bytes = Answered.encode({
      ...answered,
      code: status.RESOURCE_EXHAUSTED,
      details,
      response: Buffer.alloc(0),
    }).finish();
  }
  if (link.connected && !link.connection.isClosed()) message.respond(bytes);
}

function answer(message: Msg, led: Led, send: (answered: Answered) => void): void {
  const said = (code: number, details: string, response: Uint8Array = new Uint8Array()): void => {
    send({ code, details, response: Buffer.from(response), position: BigInt(led.position) });
  };
  let asked: Forwarded;
  try {
    asked = Forwarded.decode(message.data);
  } catch {
    said(status.INVALID_ARGUMENT, "the forwarded call can't be read");
    return;
  }
  const name = WRITES.find((write) => METHODS[write] !== undefined && nameOf(METHODS[write]) === asked.method);
  const method = name === undefined ? undefined : METHODS[name];
  if (name === undefined || method === undefined) {
    said(status.UNIMPLEMENTED, `${asked.method} is not a call that is passed on`);
    return;
  }
  try {
    const call = { request: method.requestDeserialize(asked.request), metadata: actorIn(asked.actor) };
    (led.trusted[name] as Unary)(call as unknown as ServerUnaryCall<unknown, unknown>, (error, value) => {
      if (error !== null) said(error.code ?? status.UNKNOWN, error.details ?? "");
      else said(0, "", method.responseSerialize(value));
    });
  } catch (error) {
    said(status.INVALID_ARGUMENT, (error as Error).message);
  }
}

function actorIn(actor: string): Metadata {
  const metadata = new Metadata();
  metadata.set("baton-actor", actor);
  return metadata;
}
