/**
 * What JetStream answers, in a sentence with the remedy, and what it means for a write.
 *
 * Source  error codes: nats-server's server/errors.json.
 */
import { NatsError } from "nats";
import type { NatsConnection } from "nats";

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

const MISMATCH = [10071, 10164];
/** Refused before it is proposed to the others, so by one server and in a cluster alike. */
const REFUSED = [10002, 10039, 10047, 10054, 10076, 10109];
/** Said by a server that could not write what may have been agreed on: final where it is stored on that one alone. */
const REFUSED_BY_ONE = [10023, 10077, 10122];
const NO_STREAM = [10059];

export const codeOf = (error: unknown): number => (error instanceof NatsError ? (error.api_error?.err_code ?? 0) : 0);

/** Nobody serves what was asked: no JetStream, or no stream, or none that leads it. */
const nobody = (error: unknown): boolean => error instanceof NatsError && error.code === "503" && codeOf(error) === 0;
const timedOut = (error: unknown): boolean => error instanceof NatsError && error.code === "TIMEOUT";
const forbidden = (error: unknown): boolean => error instanceof NatsError && error.code === "PERMISSIONS_VIOLATION";
export const streamIsGone = (error: unknown): boolean =>
  NO_STREAM.includes(codeOf(error)) || (error instanceof NatsError && error.message === "stream not found");

export function faultOf(error: unknown, replicas: number): Fault {
  const code = codeOf(error);
  if (MISMATCH.includes(code)) return "mismatch";
  if (nobody(error)) return "untaken";
  if (forbidden(error) || REFUSED.includes(code)) return "refused";
  return replicas === 1 && REFUSED_BY_ONE.includes(code) ? "refused" : "unknown";
}

/** It may be over in a moment: servers that just elect who leads. */
export const isPassing = (connection: NatsConnection, error: unknown): boolean =>
  [10008, 10009].includes(codeOf(error)) || timedOut(error) || (nobody(error) && connection.info?.jetstream === true);

/** One sentence. `doing`: a clause such as "a commit". */
export function sentence(connection: NatsConnection, bucket: string, doing: string, error: unknown): string {
  const where = `NATS at ${connection.getServer()}`;
  const code = codeOf(error);
  const words = error instanceof Error ? error.message : String(error);
  if (streamIsGone(error)) {
    return `the bucket ${bucket} is gone from ${where}: it was deleted, and with it what this fleet's controllers knew`;
  }
  if (forbidden(error)) {
    const { operation = "use", subject = words } = (error as NatsError).permissionContext ?? {};
    return `${where} forbids this user to ${operation} ${subject}: grant it in the servers' configuration`;
  }
  switch (code) {
    case 10002:
    case 10023:
    case 10047:
    case 10077:
    case 10122:
      return (
        `${where} has no room for ${doing} (${words}): free disk space there, or raise max_file_store ` +
        `or the account's limit`
      );
    case 10039:
    case 10076:
      return `JetStream is not enabled for this account on ${where} (${words}): grant it in the servers' configuration`;
    case 10005:
    case 10074:
      return `${where} can't keep ${bucket} on three servers yet (${words}): a cluster needs three that run JetStream`;
    case 10007:
    case 10008:
    case 10009:
      return `JetStream on ${where} is not ready (${words}): most of the cluster's servers must run`;
  }
  if (nobody(error) && connection.info?.jetstream !== true) {
    return `JetStream is not enabled on ${where}: start nats-server with -js, or give its configuration a jetstream block`;
  }
  if (nobody(error) || timedOut(error)) {
    return `${where} has no server that leads ${bucket}: most of its servers must run; ${doing} waits for them in vain`;
  }
  return `${where} could not be used for ${doing}: ${words}${code === 0 ? "" : ` (${String(code)})`}`;
}
