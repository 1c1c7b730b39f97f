/**
 * NATS, where a fleet stands on it: how both sides are told of the servers, and the names of all that Baton keeps and
 * says there. One set of servers may carry several fleets: each has a cluster name, which every name below begins with.
 *
 * Errors  `readNats` answers with the sentence for the operator; nothing is opened or read here.
 */
import { isLoopback, parseHostPort } from "./address.ts";

export interface NatsOptions {
  /** `nats://host:port` or `tls://host:port`, without credentials: a command line is seen by all. */
  readonly servers: readonly string[];
  /** A DNS label. */
  readonly cluster: string;
  /** A NATS `.creds` file, or one line: `user:password`, or a token. Read anew with each connection. */
  readonly credsFile: string | null;
  /** Authorities that the servers' certificates stand on; null = the system's. */
  readonly caFile: string | null;
  /** Shown to servers that verify their clients. */
  readonly certFile: string | null;
  readonly keyFile: string | null;
  /** The network between here and the servers is encrypted otherwise. */
  readonly trustNetwork: boolean;
}

/** The command line's words for it, the same for agents and controllers. */
export const NATS_FLAGS = {
  nats: { type: "string" },
  cluster: { type: "string" },
  "nats-creds": { type: "string" },
  "nats-ca": { type: "string" },
  "nats-cert": { type: "string" },
  "nats-key": { type: "string" },
} as const;

export const NATS_HELP = `  --nats URL[,URL...]          NATS servers with JetStream, nats://HOST:PORT or tls://HOST:PORT
  --cluster NAME               this fleet's name on them (default baton)
  --nats-creds FILE            a NATS .creds file, or one line: USER:PASSWORD, or a token
  --nats-ca FILE               the authority of the servers' certificates (default: the system's)
  --nats-cert FILE --nats-key FILE   shown to servers that verify their clients
`;

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const DEFAULT_PORT = 4222;

type Given = { readonly [Name in keyof typeof NATS_FLAGS]?: string | undefined };
export type ReadNats =
  | { readonly kind: "ok"; readonly nats: NatsOptions }
  | { readonly kind: "none" }
  | { readonly kind: "wrong"; readonly why: string };

/** `path` makes a file's name absolute. */
export function readNats(given: Given, trustNetwork: boolean, path: (file: string) => string): ReadNats {
  const named = Object.keys(NATS_FLAGS).find((name) => name !== "nats" && given[name as keyof Given] !== undefined);
  if (given.nats === undefined) {
    return named === undefined
      ? { kind: "none" }
      : { kind: "wrong", why: `--${named} is for --nats, which is not given` };
  }
  const servers: string[] = [];
  let open = false;
  for (const text of given.nats.split(",")) {
    const server = serverOf(text.trim());
    if (server === undefined) {
      const secret = text.includes("@") ? "; credentials go into the file of --nats-creds" : "";
      return {
        kind: "wrong",
        why: `--nats: ${JSON.stringify(hidden(text))} is no nats://HOST:PORT or tls://HOST:PORT${secret}`,
      };
    }
    servers.push(server.url);
    open ||= !server.tls && !isLoopback(server.address);
  }
  const cluster = given.cluster ?? "baton";
  if (!LABEL.test(cluster)) return { kind: "wrong", why: `--cluster: ${JSON.stringify(cluster)} is no DNS label` };
  const file = (name: keyof Given): string | null => (given[name] === undefined ? null : path(given[name]));
  const [credsFile, certFile, keyFile] = [file("nats-creds"), file("nats-cert"), file("nats-key")];
  if ((certFile === null) !== (keyFile === null)) {
    return { kind: "wrong", why: "--nats-cert and --nats-key go together" };
  }
  const caFile = file("nats-ca");
  // A server that is asked for TLS by its certificate's authority does not answer in plain text.
  open &&= caFile === null && certFile === null;
  if (open && !trustNetwork) {
    const why =
      "--nats: a server beyond loopback is reached in plain text; name it tls://HOST:PORT or give --nats-ca, " +
      "or say --trust-network if the network itself is encrypted";
    return { kind: "wrong", why };
  }
  return { kind: "ok", nats: { servers, cluster, credsFile, caFile, certFile, keyFile, trustNetwork } };
}

function serverOf(text: string): { readonly url: string; readonly tls: boolean; readonly address: string } | undefined {
  const [, scheme = "nats", rest = ""] = /^(?:(nats|tls):\/\/)?([^/@]+)\/?$/.exec(text) ?? [];
  const at = parseHostPort(/:\d+$/.test(rest) ? rest : `${rest}:${String(DEFAULT_PORT)}`);
  if (at === undefined || at.port === 0) return undefined;
  const host = at.address.includes(":") ? `[${at.address}]` : at.address;
  return { url: `${scheme}://${host}:${String(at.port)}`, tls: scheme === "tls", address: at.address };
}

const hidden = (text: string): string => text.replace(/[^/@]*@/, "…@");

/** What a fleet keeps and says on NATS. `host` is an agent's name, a DNS label: it fits a subject and a key as it is. */
export function natsNames(cluster: string) {
  const prefix = `baton.${cluster}`;
  const assignments = `baton_${cluster}_assignments`;
  return {
    /** KV: services, revisions, rollouts, ledgers, who leads. */
    storeBucket: `baton_${cluster}_store`,
    /** Where the servers repeat each commit of that bucket once it is stored (the stream's `republish`). */
    storeHead: `${prefix}.store`,
    /** KV: the store's newest commit, alone in its bucket. */
    headBucket: `baton_${cluster}_store_head`,
    /** KV: who leads. */
    leadBucket: `baton_${cluster}_lead`,
    /** KV: each agent's assignment under its name, as protobuf (compressed when large). */
    assignmentsBucket: assignments,
    /** Where a new value of a key of that bucket is heard by a plain subscription. */
    assignmentSubject: (host: string) => `$KV.${assignments}.${host}`,
    /** AgentEnvelope, said by agents. */
    up: (host: string) => `${prefix}.up.${host}`,
    everyUp: `${prefix}.up.*`,
    /** ControllerEnvelope, said by the leader. */
    down: (host: string) => `${prefix}.down.${host}`,
    /** Call, said by controllers to all agents. */
    call: `${prefix}.call`,
    /** Forwarded, answered by the leader with Answered. */
    operate: `${prefix}.operate`,
    /** Where answers come to (OpenNats.inbox): the controllers', and each agent's own. */
    controlInbox: `_INBOX.${prefix}.control`,
    agentInbox: (host: string) => `_INBOX.${prefix}.agent.${host}`,
  } as const;
}
export type NatsNames = ReturnType<typeof natsNames>;

/** The fleet that a bucket is of: a DNS label has no underscore. */
export const clusterOf = (bucket: string): string => bucket.split("_")[1] ?? "";

/** nats-server 2.9 has what is needed: KV, direct gets, expected sequences. */
export const NATS_SERVER_AT_LEAST = "2.9.0";

/** gRPC metadata beside UNAVAILABLE: nothing was changed for this call, so it may be asked again, of another controller. */
export const NOT_DONE = "baton-not-done";

/** Times of several controllers, milliseconds. */
export const LEAD = {
  /** The leader writes its lease this often, */
  renewMs: 1_000,
  /** stops acting when no write has gone through for so long, by its own clock, */
  standDownMs: 3_000,
  /** and is taken to be gone when its lease has not changed for so long, by the others' clocks. */
  takeOverMs: 4_000,
  /** How often a follower looks. */
  lookMs: 250,
  /** Call is said this often. */
  callMs: 1_000,
  /** A forwarded operation is answered by then. */
  forwardMs: 10_000,
} as const;
