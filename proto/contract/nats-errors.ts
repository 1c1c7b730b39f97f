/**
 * What JetStream answers when it can't, in a sentence for an operator with the remedy where there is one: the one table
 * for all that is kept there.
 *
 * Source  error codes: nats-server's server/errors.json.
 */
import { NatsError } from "nats";
import type { NatsConnection } from "nats";
import { clusterOf } from "./nats.ts";

/** JetStream's own numbers for "wrong last sequence": the key, or the stream, has moved on. */
export const MOVED_ON: readonly number[] = [10071, 10164];
const NO_STREAM = [10059];
const SETTINGS_DIFFER = 10058;

/** 0: none of JetStream's. */
export const codeOf = (error: unknown): number => (error instanceof NatsError ? (error.api_error?.err_code ?? 0) : 0);

/** Nobody serves what was asked: no JetStream, or no stream, or none that leads it. */
export const nobody = (error: unknown): boolean =>
  error instanceof NatsError && error.code === "503" && codeOf(error) === 0;
export const timedOut = (error: unknown): boolean => error instanceof NatsError && error.code === "TIMEOUT";
export const forbidden = (error: unknown): boolean =>
  error instanceof NatsError && error.code === "PERMISSIONS_VIOLATION";
export const streamIsGone = (error: unknown): boolean =>
  NO_STREAM.includes(codeOf(error)) || (error instanceof NatsError && error.message === "stream not found");

/** As the client tells what a user may not do. */
export interface Forbidden {
  readonly operation: string;
  readonly subject: string;
}

export function forbids(where: string, cluster: string, { operation, subject }: Forbidden): string {
  const doing = operation === "publish" ? "publish to" : "subscribe to";
  return (
    `${where} forbids this user to ${doing} ${kindOf(subject)} (--cluster ${cluster}): grant it (control/NATS.md), ` +
    "or give the --cluster that this user's permissions are for"
  );
}

/** As the client makes names that nobody else has: of inboxes, with each that is refused. */
const RANDOM = /^[0-9A-Z]{22}$/;

/** The subject as it would be granted, the same with each try: without what is random, of inboxes all that lies below. */
function kindOf(subject: string): string {
  const tokens = subject.split(".");
  const random = tokens.findIndex((token) => RANDOM.test(token));
  if (random >= 0 && tokens[0] === "_INBOX") return [...tokens.slice(0, random), ">"].join(".");
  return tokens.map((token) => (RANDOM.test(token) ? "*" : token)).join(".");
}

/** One sentence. `doing`: a clause such as "a commit". */
export function sentence(connection: NatsConnection, bucket: string, doing: string, error: unknown): string {
  const where = `NATS at ${connection.getServer()}`;
  const code = codeOf(error);
  const words = error instanceof Error ? error.message : String(error);
  if (streamIsGone(error)) {
    return `the bucket ${bucket} is gone from ${where}: it was deleted, and what it held with it`;
  }
  if (forbidden(error)) {
    const context = (error as NatsError).permissionContext;
    if (context !== undefined) return forbids(where, clusterOf(bucket), context);
    return `${where} forbids this user ${doing}: ${words}`;
  }
  switch (code) {
    case 10002:
    case 10023:
    case 10028:
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
  if (code === SETTINGS_DIFFER) {
    return `the bucket ${bucket} is on ${where} with other settings (${words}): it is another program's, or was changed by hand`;
  }
  if (error instanceof NatsError && ["CONNECTION_CLOSED", "DISCONNECT"].includes(error.code)) {
    return `the connection to ${where} was lost during ${doing}`;
  }
  if (nobody(error) && connection.info?.jetstream !== true) {
    return `JetStream is not enabled on ${where}: start nats-server with -js, or give its configuration a jetstream block`;
  }
  if (nobody(error) || timedOut(error)) {
    return `${where} has no server that leads ${bucket}: most of its servers must run; ${doing} waits for them in vain`;
  }
  return `${where} could not be used for ${doing}: ${words}${code === 0 ? "" : ` (${String(code)})`}`;
}
