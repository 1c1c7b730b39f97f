/**
 * The way to NATS, kept open: tried for ever at the start as later on, with a sentence for whatever is wrong. Credentials
 * are read anew with each attempt, so that a mended file needs no restart.
 *
 * Errors  `openNats` rejects only when `signal` aborts. All else is told by the log, `trouble`, and `onTrouble`.
 */
import { existsSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { checkServerIdentity } from "node:tls";
import type { ConnectionOptions } from "node:tls";
import { connect, credsAuthenticator, Events, NatsError } from "nats";
import type { Authenticator, Msg, NatsConnection, Subscription, TlsOptions } from "nats";
import { forbids } from "../contract/nats-errors.ts";
import type { NatsLink } from "../contract/nats-link.ts";
import { NATS_SERVER_AT_LEAST } from "../contract/nats.ts";
import type { NatsOptions } from "../contract/nats.ts";
import { Backoff } from "../kernel/backoff.ts";
import { sleep } from "../kernel/clock.ts";
import type { Clock, Millis, Timer } from "../kernel/clock.ts";
import type { Log } from "../kernel/log.ts";
import type { Random } from "../kernel/random.ts";

const CONNECT_MS = 3_000;
/** A server that is gone without a word is found out within two of these. */
const PING_MS = 2_000;
const FLUSH_MS = 500;
/** What may not be heard is asked for again so often. */
const FORBIDDEN_AGAIN_MS = 5_000;
/** What the servers say again and again is told again after so long, and no more than so many sentences within it. */
const SAID_AGAIN_MS = 60_000;
const SAID_AT_MOST = 100;
const BACKOFF = { baseMs: 100, maxMs: 5_000 };

export interface OpenNats {
  readonly nats: NatsOptions;
  /** Shown in the server's own lists. */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly signal?: AbortSignal;
  /**
   * Answers come to subjects below this one; default: what NATS calls `_INBOX`, which whoever may hear it hears of all.
   * No other user needs to be allowed to listen there.
   */
  readonly inbox?: string;
  /** Each sentence of trouble before the first connection. */
  onTrouble?(why: string): void;
}

export async function openNats(options: OpenNats): Promise<NatsLink> {
  const { clock, log, signal } = options;
  const backoff = new Backoff(BACKOFF, options.random);
  let told = "";
  for (;;) {
    signal?.throwIfAborted();
    try {
      const connection = await attempt(options);
      if (signal?.aborted === true) await connection.close();
      signal?.throwIfAborted();
      return new Link(options, connection);
    } catch (error) {
      signal?.throwIfAborted();
      const why = whyNot(options.nats, error);
      if (why !== told || backoff.attempts % 12 === 0) log.warn({ attempts: backoff.attempts }, why);
      told = why;
      options.onTrouble?.(why);
    }
    await sleep(clock, backoff.next(), signal);
  }
}

class Refused extends Error {}

async function attempt({ nats, name, random, inbox }: OpenNats): Promise<NatsConnection> {
  const connection = await connect({
    servers: [...nats.servers],
    name,
    ...(inbox === undefined ? {} : { inboxPrefix: inbox }),
    timeout: CONNECT_MS,
    pingInterval: PING_MS,
    maxPingOut: 2,
    maxReconnectAttempts: -1,
    // By itself the client gives up for ever when it is refused twice: a mended file would need a restart.
    ignoreAuthErrorAbort: true,
    reconnectDelayHandler: () => BACKOFF.baseMs + random.next() * 900,
    authenticator: authenticatorOf(nats),
    // By itself each request has its caller's stack captured beforehand, lest it fail.
    noAsyncTraces: true,
    ...tlsOf(nats),
  });
  const version = connection.info?.version ?? "";
  if (older(version, NATS_SERVER_AT_LEAST)) {
    await connection.close();
    throw new Refused(`is version ${version}; Baton needs nats-server ${NATS_SERVER_AT_LEAST} or later`);
  }
  return connection;
}

/**
 * Asked with each connection. The client gives up for ever when this throws while it connects again, and a file that is
 * just being replaced can't be read for a moment: then what it held last is shown once more, and the server decides.
 */
function authenticatorOf({ credsFile }: NatsOptions): Authenticator {
  if (credsFile === null) return () => undefined;
  let last: Authenticator | undefined;
  return (nonce) => {
    try {
      const now = authenticatorIn(credsFile);
      const auth = now(nonce);
      last = now;
      return auth;
    } catch (error) {
      if (last === undefined) throw error;
      return last(nonce);
    }
  };
}

function authenticatorIn(credsFile: string): Authenticator {
  const whole = readFileSync(credsFile, "utf8");
  // Its parser wants the line break at the end, too.
  if (whole.includes("BEGIN NATS USER JWT")) return credsAuthenticator(Buffer.from(`${whole}\n`));
  const text = whole.trim();
  if (text === "" || /\s/.test(text))
    throw new Refused(`${credsFile} must hold a NATS .creds file or one line: USER:PASSWORD, or a token`);
  const colon = text.indexOf(":");
  const auth = colon < 0 ? { auth_token: text } : { user: text.slice(0, colon), pass: text.slice(colon + 1) };
  return () => auth;
}

function tlsOf({ servers, caFile, certFile, keyFile }: NatsOptions): { readonly tls?: TlsOptions } {
  if (caFile === null && certFile === null && !servers.some((url) => url.startsWith("tls:"))) return {};
  const tls: TlsOptions & Pick<ConnectionOptions, "checkServerIdentity"> = { checkServerIdentity: identityOf(servers) };
  if (caFile !== null) tls.caFile = caFile;
  if (certFile !== null) tls.certFile = certFile;
  if (keyFile !== null) tls.keyFile = keyFile;
  return { tls };
}

/**
 * The client tells TLS no name when a server is given by its address, and TLS then looks for "localhost" in the
 * certificate. So of servers that are given by address, the certificate must be of one of those addresses.
 */
function identityOf(servers: readonly string[]): NonNullable<ConnectionOptions["checkServerIdentity"]> {
  const addresses = servers
    .map((url) => new URL(url).hostname.replaceAll(/[[\]]/g, ""))
    .filter((host) => isIP(host) !== 0);
  return (host, certificate) => {
    const names = host === "localhost" && addresses.length > 0 ? addresses : [host];
    const refusals = names.map((name) => checkServerIdentity(name, certificate));
    return refusals.includes(undefined) ? undefined : refusals[0];
  };
}

/** One sentence: which servers, what is wrong, what to do. */
function whyNot(nats: NatsOptions, error: unknown): string {
  const where = `NATS at ${nats.servers.join(", ")}`;
  if (error instanceof Refused) return `${where}: ${error.message}`;
  const code = error instanceof NatsError ? error.code : ((error as NodeJS.ErrnoException).code ?? "");
  const message = error instanceof Error ? error.message : String(error);
  for (const file of [nats.credsFile, nats.caFile, nats.certFile, nats.keyFile]) {
    if (file !== null && !existsSync(file)) return `${where}: the file ${file} is not there`;
  }
  switch (code) {
    case "CONNECTION_REFUSED":
      return `${where} does not answer (connection refused): is nats-server running there?`;
    case "TIMEOUT":
    case "CONNECTION_TIMEOUT":
      return `${where} does not answer within ${String(CONNECT_MS)} ms${clientless(nats)}`;
    case "AUTHORIZATION_VIOLATION":
    case "BAD_AUTHENTICATION":
    case "BAD_CREDS":
    case "AUTHENTICATION_EXPIRED":
    case "AUTHENTICATION_TIMEOUT":
    case "ACCOUNT_EXPIRED": {
      const remedy = nats.credsFile === null ? "give --nats-creds FILE" : `look at ${nats.credsFile}`;
      return `${where} refuses these credentials (${message.toLowerCase()}): ${remedy}`;
    }
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `${where}: its name can't be resolved (${code})`;
    case "SERVER_OPT_NA":
      return `${where} speaks no TLS: name it nats://, or give its configuration a tls block`;
    default:
      return `${where} can't be used: ${message}${code === "" || message.includes(code) ? "" : ` (${code})`}`;
  }
}

/** TLS 1.3 is done before a server says that it wanted a certificate: all that is seen then is silence. */
const clientless = ({ caFile, certFile }: NatsOptions): string =>
  caFile === null || certFile !== null ? "" : "; if it verifies its clients, give --nats-cert and --nats-key";

function older(version: string, least: string): boolean {
  const [a, b] = [version, least].map((text) => text.split(/[.-]/).slice(0, 3).map(Number));
  for (let i = 0; i < 3; i++) {
    const [x = 0, y = 0] = [a?.[i], b?.[i]];
    if (x !== y) return !(x > y);
  }
  return false;
}

class Link implements NatsLink {
  readonly connection: NatsConnection;
  readonly #o: OpenNats;
  readonly #listeners = new Set<(connected: boolean) => void>();
  /** Sentences, and when they were told last (monotonic), oldest first. */
  readonly #told = new Map<string, Millis>();
  #trouble = "";
  #closing: Promise<void> | undefined;

  constructor(options: OpenNats, connection: NatsConnection) {
    this.connection = connection;
    this.#o = options;
    this.#o.log.info({ server: connection.getServer(), version: connection.info?.version }, "connected to NATS");
    void this.#watch();
  }

  get connected(): boolean {
    return this.#trouble === "";
  }

  get trouble(): string {
    return this.#trouble;
  }

  follow(listener: (connected: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  listen(subject: string, heard: (message: Msg) => void): () => void {
    let subscription: Subscription | undefined;
    let again: Timer | undefined;
    const ask = (): void => {
      if (this.connection.isClosed()) return;
      // The client forgets a subscription that is refused.
      subscription = this.connection.subscribe(subject, {
        callback: (error, message) => {
          if (error === null) heard(message);
          else if (!over) again = this.#o.clock.after(FORBIDDEN_AGAIN_MS, ask, { background: true });
        },
      });
    };
    let over = false;
    ask();
    return () => {
      over = true;
      again?.cancel();
      if (!this.connection.isClosed()) subscription?.unsubscribe();
    };
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    if (this.connection.isClosed()) return;
    // A server that is gone without a word never answers the flush.
    const waited = new AbortController();
    const sent = this.connected ? this.connection.flush() : Promise.resolve();
    await Promise.race([sent.catch(() => undefined), sleep(this.#o.clock, FLUSH_MS, waited.signal)]);
    waited.abort();
    await this.connection.close();
  }

  async #watch(): Promise<void> {
    const { nats, log } = this.#o;
    const where = `NATS at ${nats.servers.join(", ")}`;
    for await (const { type, data, permissionContext } of this.connection.status()) {
      // Another server, or the same after a change of its users: what it refuses is news.
      if (type === Events.Disconnect) this.#told.clear();
      // What is known of why it can't be had again is worth more than that it is lost once more.
      if (type === Events.Disconnect && this.connected)
        this.#became(`${where}: the connection is lost; it is tried again`);
      else if (type === Events.Reconnect) this.#became("");
      else if (type === Events.Error && !this.connected) this.#became(whyNot(nats, natsError(data)));
      else if (permissionContext !== undefined) {
        const why = forbids(where, nats.cluster, permissionContext);
        if (this.#isNews(why)) log.error({}, why);
      } else if (type === Events.Error) {
        const why = `${where}: the server reports an error: ${JSON.stringify(data)}`;
        if (this.#isNews(why)) log.warn({}, why);
      }
    }
    if (this.#closing === undefined) this.#became(`${where}: the client has given up`);
  }

  /** Whether it is to be told: what is refused is tried again and again. */
  #isNews(why: string): boolean {
    const now = this.#o.clock.monotonic();
    for (const [told, at] of this.#told) {
      if (now - at < SAID_AGAIN_MS) break;
      this.#told.delete(told);
    }
    if (this.#told.has(why) || this.#told.size >= SAID_AT_MOST) return false;
    this.#told.set(why, now);
    return true;
  }

  #became(trouble: string): void {
    const before = this.connected;
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    if (trouble === "") this.#o.log.info({ server: this.connection.getServer() }, "connected to NATS again");
    else this.#o.log.warn({}, trouble);
    if (this.connected !== before) for (const listener of this.#listeners) listener(this.connected);
  }
}

/** Statuses carry an error's code alone. */
const natsError = (data: unknown): unknown => (typeof data === "string" ? new NatsError(data, data) : data);
