/** What JetStream says when it can't, in words for an operator, with the remedy where there is one. */
import { NatsError } from "nats";

/** JetStream's own numbers (nats-server, server/errors.json). */
const REMEDIES: Readonly<Record<number, string>> = {
  10_002: "this account may not use more of JetStream: raise the account's limits",
  10_004: "the cluster is not complete: a cluster needs three servers that are up",
  10_005: "there are too few servers with JetStream for three copies: a cluster needs three that are up",
  10_008: "JetStream has no leader at the moment: a majority of the servers is down or just coming up",
  10_023: "the servers have no room left: free their disks, or raise max_file_store in their configuration",
  10_028: "the account has reached its limit of JetStream memory: raise it",
  10_039: "JetStream is not enabled for this account: enable it in the servers' configuration",
  10_047: "the servers have no room left: free their disks, or raise max_file_store in their configuration",
  10_058: "a stream of that name is there with other settings: another program's, or changed by hand",
  10_059: "its bucket is not there: it was deleted",
  10_074: "this server stands alone and can't keep three copies",
  10_076: "JetStream is not enabled on this server: start nats-server with -js",
  10_077: "the server could not store it: its disk is full, or a limit is reached",
};

export function plainly(error: unknown, what: string): string {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof NatsError)) return `${what}: ${message}`;
  const number = error.api_error?.err_code ?? 0;
  const remedy = REMEDIES[number];
  if (remedy !== undefined) return `${what}: ${remedy} (${message}, ${String(number)})`;
  switch (error.code) {
    case "503":
      // Nobody answers JetStream's own subjects.
      return `${what}: JetStream does not answer: start nats-server with -js, or wait until a majority of the servers is up`;
    case "TIMEOUT":
      return `${what}: no answer from JetStream in time: are a majority of the servers up?`;
    case "PERMISSIONS_VIOLATION":
      return `${what}: these credentials may not do that (${message})`;
    case "CONNECTION_CLOSED":
    case "DISCONNECT":
      return `${what}: the connection to NATS is lost`;
    default:
      return `${what}: ${message}`;
  }
}
