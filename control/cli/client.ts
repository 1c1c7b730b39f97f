/**
 * The operators' API as promises. One channel an address; closed when the command ends.
 *
 * Several addresses are several controllers of one fleet: they are tried in turn, the first that answers is kept until it
 * goes away. What was only asked for is asked of the next one; what changes something only if it is certain that nothing
 * was done. Where all of them say that nobody leads, they are asked again until the time for one answer is over.
 *
 * Errors  CliError: exit 7 when no controller answers, 2 for what it refuses as wrong input, 1 for the rest. The
 *         controller's own sentence is passed on as it stands.
 */
import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { connectivityState, credentials, Metadata } from "@grpc/grpc-js";
import type { Client, ServiceError } from "@grpc/grpc-js";
import { isLoopback } from "../../proto/contract/address.ts";
import { EXIT, LIMITS } from "../../proto/contract/limits.ts";
import { OperatorClient, OperatorService } from "../../proto/gen/baton/v1/operator.ts";
import { CliError } from "./errors.ts";
import { explain, failureOf, heard, inShort, unreached } from "./explain.ts";

export interface ConnectOptions {
  /** host:port, one or more. */
  readonly controllers: readonly string[];
  readonly tokenFile?: string;
  /** The token may leave this machine in plain text. */
  readonly trustNetwork?: boolean;
  /** For one answer, milliseconds. */
  readonly timeoutMs?: number;
}

/** The methods of the operators' API: `controller.call(Api.getInfo, {})`. */
export const Api = OperatorService;

/** The typed half of a method's definition, as ts-proto generates it. */
interface Method<Request, Response> {
  readonly path: string;
  readonly requestSerialize: (value: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

/** These change nothing: asked twice, they are answered twice. */
const READS: ReadonlySet<string> = new Set(
  [
    ...[Api.getService, Api.listServices, Api.listHosts, Api.getRollout, Api.listRollouts],
    ...[Api.plan, Api.getInfo, Api.watchRollout, Api.events],
  ].map(({ path }) => path),
);
/** More than a controller that does not lead waits for one that does (LEAD.forwardMs). */
const TIMEOUT_MS = 15_000;
/** Where there is another one, this much patience for a connection. */
const CONNECT_MS = 2_000;
const AGAIN_MS = 250;

export class Controller implements Disposable {
  readonly addresses: readonly string[];
  /** Told in one sentence when another address is turned to, or nobody leads. */
  told: (line: string) => void = () => undefined;
  readonly #clients = new Map<string, Client>();
  readonly #metadata = new Metadata();
  readonly #options: ConnectOptions;
  #at = 0;

  constructor(options: ConnectOptions) {
    this.#options = options;
    this.addresses = options.controllers;
    this.#metadata.set("baton-actor", actor());
    if (options.tokenFile !== undefined && options.trustNetwork !== true) this.addresses.forEach(refuseToShow);
    if (options.tokenFile !== undefined) this.#metadata.set("authorization", `Bearer ${readToken(options.tokenFile)}`);
  }

  /** The one that is asked now. */
  get address(): string {
    return this.addresses[this.#at] ?? "";
  }

  /** One request, one answer. */
  async call<Request, Response>(method: Method<Request, Response>, request: Request): Promise<Response> {
    const timeoutMs = this.#options.timeoutMs ?? TIMEOUT_MS;
    const read = READS.has(method.path);
    const until = Date.now() + timeoutMs;
    let declined = false;
    for (let tries = 1; ; tries++) {
      const at = this.address;
      try {
        await this.#connected(at);
        return await this.#once(at, method, request, Date.now() + timeoutMs);
      } catch (thrown) {
        const error = serviceError(thrown);
        const failure = failureOf(error);
        if (failure === "answered" || (failure === "unable" && !read)) throw explain(error, at);
        if (failure === "broken" && !read) throw unsure(error, at);
        if (failure === "declined" && !declined) this.told(`${error.details}; waiting for it`);
        declined ||= failure === "declined";
        const round = tries % this.addresses.length === 0;
        if (round && (!declined || Date.now() + AGAIN_MS >= until)) throw explain(error, at);
        this.#turn(error);
        if (round) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    }
  }

  /**
   * A stream of answers. It ends when the controller ends it, `signal` aborts, or the connection breaks (an error); then
   * the next call turns to the next address.
   */
  async *stream<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    signal?: AbortSignal,
  ): AsyncGenerator<Response> {
    const { path, requestSerialize, responseDeserialize } = method;
    const at = this.address;
    let headers: Metadata | undefined;
    try {
      await this.#connected(at);
      const client = this.#client(at);
      const stream = client.makeServerStreamRequest(
        ...([path, requestSerialize, responseDeserialize, request, this.#metadata] as const),
      );
      stream.once("metadata", (first) => (headers = first));
      const cancel = (): void => stream.cancel();
      signal?.addEventListener("abort", cancel, { once: true });
      try {
        for await (const message of stream) yield message as Response;
      } finally {
        signal?.removeEventListener("abort", cancel);
        stream.cancel();
      }
    } catch (thrown) {
      if (signal?.aborted === true) return;
      const error = heard(serviceError(thrown), headers);
      if (failureOf(error) !== "answered") this.#turn(error);
      throw explain(error, at);
    }
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients.values()) client.close();
  }

  #once<Request, Response>(
    at: string,
    { path, requestSerialize, responseDeserialize }: Method<Request, Response>,
    request: Request,
    deadline: number,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      let headers: Metadata | undefined;
      const answered = (error: ServiceError | null, response?: Response): void => {
        if (error !== null) reject(heard(error, headers));
        else if (response === undefined) reject(new Error(`${path}: neither an answer nor an error`));
        else resolve(response);
      };
      const call = this.#client(at).makeUnaryRequest(
        ...([path, requestSerialize, responseDeserialize, request, this.#metadata, { deadline }, answered] as const),
      );
      call.once("metadata", (first) => (headers = first));
    });
  }

  #turn(error: ServiceError): void {
    if (this.addresses.length === 1) return;
    const before = this.address;
    this.#at = (this.#at + 1) % this.addresses.length;
    const failure = failureOf(error);
    if (failure === "declined" || failure === "unable") return;
    this.told(`the controller at ${before} can't be reached (${inShort(error.details)}); asking ${this.address}`);
  }

  /** Of several, one that is not to be had is not waited for; with a single one the call itself says why. */
  async #connected(at: string): Promise<void> {
    if (this.addresses.length === 1) return;
    const channel = this.#client(at).getChannel();
    const deadline = Date.now() + CONNECT_MS;
    for (;;) {
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY || state === connectivityState.TRANSIENT_FAILURE) return;
      const late = await new Promise<boolean>((resolve) => {
        channel.watchConnectivityState(state, deadline, (error) => resolve(error !== undefined));
      });
      if (late) throw unreached(`no answer within ${String(CONNECT_MS / 1_000)} s`);
    }
  }

  #client(at: string): Client {
    let client = this.#clients.get(at);
    if (client === undefined) {
      client = new OperatorClient(at, credentials.createInsecure(), {
        "grpc.max_receive_message_length": LIMITS.answerBytes,
        "grpc.enable_retries": 0,
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 1_000,
        // A controller that hangs, or a machine that is gone, ends what is asked of it.
        "grpc.keepalive_time_ms": 5_000,
        "grpc.keepalive_timeout_ms": 5_000,
      });
      this.#clients.set(at, client);
    }
    return client;
  }
}

/** Anything else is a bug. */
function serviceError(thrown: unknown): ServiceError {
  if (thrown instanceof Error && "code" in thrown && "details" in thrown) return thrown as ServiceError;
  throw thrown;
}

function unsure(error: ServiceError, at: string): CliError {
  const why = inShort(error.details);
  return new CliError(
    `the controller at ${at} was lost before it answered (${why}): it may have been done or not; ` +
      "look before you do it again (baton rollout status, baton get)",
    EXIT.unreachable,
  );
}

/** Who does it, for the journal. */
export function actor(): string {
  const name = process.env["BATON_ACTOR"] ?? process.env["USER"] ?? accountName();
  return name.replace(/[^\x20-\x7e]/g, "?").slice(0, 128); // what metadata may carry
}

/** A container's user may have no name. */
function accountName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${String(process.getuid?.() ?? "unknown")}`;
  }
}

function refuseToShow(controller: string): void {
  const host = controller.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  if (isLoopback(host) || host === "localhost") return;
  const why = "the token would cross the network in plain text. --trust-network allows it, if the network is encrypted";
  throw new CliError(`${controller} is another machine, and ${why}`, EXIT.usage);
}

function readToken(file: string): string {
  let token: string;
  try {
    token = readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new CliError(`--token-file ${file}: ${(error as Error).message}`, EXIT.usage);
  }
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new CliError(`--token-file ${file}: it must hold one line of visible characters`, EXIT.usage);
  }
  return token;
}
