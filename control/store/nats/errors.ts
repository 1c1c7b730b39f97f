/** What an answer of JetStream's means for a write. In words: proto/contract/nats-errors.ts. */
import type { NatsConnection } from "nats";
import { codeOf, forbidden, MOVED_ON, nobody, timedOut } from "../../../proto/contract/nats-errors.ts";

/** What became of a write that did not succeed. */
export type Fault =
  /** The key is at another revision. */
  | "mismatch"
  /** No server took it: it may be tried again. */
  | "untaken"
  /** It was looked at and refused: trying again soon is of no use. */
  | "refused"
  /** It may be stored or not. */
  | "unknown";

/** Refused before it is proposed to the others, so by one server and in a cluster alike. */
const REFUSED = [10002, 10039, 10047, 10054, 10076, 10109];
/** Said by a server that could not write what may have been agreed on: final where it is stored on that one alone. */
const REFUSED_BY_ONE = [10023, 10077, 10122];

export function faultOf(error: unknown, replicas: number): Fault {
  const code = codeOf(error);
  if (MOVED_ON.includes(code)) return "mismatch";
  if (nobody(error)) return "untaken";
  if (forbidden(error) || REFUSED.includes(code)) return "refused";
  return replicas === 1 && REFUSED_BY_ONE.includes(code) ? "refused" : "unknown";
}

/** It may be over in a moment: servers that just elect who leads. */
export const isPassing = (connection: NatsConnection, error: unknown): boolean =>
  [10008, 10009].includes(codeOf(error)) || timedOut(error) || (nobody(error) && connection.info?.jetstream === true);
