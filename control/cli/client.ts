/**
 * The operators' API as promises. One channel a command; closed when the command ends.
 *
 * Errors  CliError: exit 7 when no controller answers, 2 for what it refuses as wrong input, 1 for the rest. The
 *         controller's own sentence is passed on as it stands.
 */
import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { credentials, Metadata, status } from "@grpc/grpc-js";
import type { Client, ServiceError } from "@grpc/grpc-js";
import { isLoopback } from "../../proto/contract/address.ts";
import { EXIT, LIMITS } from "../../proto/contract/limits.ts";
import { OperatorClient, OperatorService } from "../../proto/gen/baton/v1/operator.ts";
import { CliError } from "./errors.ts";

export interface ConnectOptions {
  /** host:port */
  readonly controller: string;
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

export class Controller implements Disposable {
  readonly #client: Client;
  readonly #metadata = new Metadata();
  readonly #options: ConnectOptions;

  constructor(options: ConnectOptions) {
    this.#options = options;
    this.#client = new OperatorClient(options.controller, credentials.createInsecure(), {
      "grpc.max_receive_message_length": LIMITS.messageBytes,
      "grpc.enable_retries": 0,
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 1_000,
    });
    this.#metadata.set("baton-actor", actor());
    if (options.tokenFile !== undefined && options.trustNetwork !== true) refuseToShow(options.controller);
    if (options.tokenFile !== undefined) this.#metadata.set("authorization", `Bearer ${readToken(options.tokenFile)}`);
  }

  /** One request, one answer. */
  call<Request, Response>(method: Method<Request, Response>, request: Request): Promise<Response> {
    const deadline = Date.now() + (this.#options.timeoutMs ?? 10_000);
    const { path, requestSerialize, responseDeserialize } = method;
    return new Promise((resolve, reject) => {
      const answered = (error: ServiceError | null, response?: Response): void => {
        if (error !== null) reject(this.#explain(error));
        else if (response === undefined) reject(new Error(`${path}: neither an answer nor an error`));
        else resolve(response);
      };
      this.#client.makeUnaryRequest(
        ...([path, requestSerialize, responseDeserialize, request, this.#metadata, { deadline }, answered] as const),
      );
    });
  }

  /** A stream of answers. It ends when the controller ends it, `signal` aborts, or the connection breaks (an error). */
  async *stream<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    signal?: AbortSignal,
  ): AsyncGenerator<Response> {
    const { path, requestSerialize, responseDeserialize } = method;
    const stream = this.#client.makeServerStreamRequest(
      ...([path, requestSerialize, responseDeserialize, request, this.#metadata] as const),
    );
    const cancel = (): void => stream.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      for await (const message of stream) yield message as Response;
    } catch (error) {
      if (signal?.aborted === true) return;
      throw this.#explain(error as ServiceError);
    } finally {
      signal?.removeEventListener("abort", cancel);
      stream.cancel();
    }
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  #explain(error: ServiceError): Error {
    switch (error.code) {
      case status.UNAVAILABLE:
        return new CliError(
          `the controller at ${this.#options.controller} can't be reached: ${inShort(error.details)}. ` +
            "Is it running (baton control), and is --controller right?",
          EXIT.unreachable,
        );
      case status.DEADLINE_EXCEEDED:
        return new CliError(`the controller at ${this.#options.controller} did not answer in time`, EXIT.unreachable);
      case status.UNAUTHENTICATED:
        return new CliError(`${error.details}. Pass --token-file with a token that it knows.`, EXIT.usage);
      case status.INVALID_ARGUMENT:
      case status.NOT_FOUND:
        return new CliError(error.details, EXIT.usage);
      default:
        return new CliError(error.details === "" ? error.message : error.details, EXIT.failed);
    }
  }
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

/** Of the library's long words, what an operator can use. */
function inShort(details: string): string {
  const last = /Last error: (?:Error: )?(.*?)\.? Resolution note:/.exec(details)?.[1] ?? details;
  if (/^Protocol error|Parse Error/.test(last)) return "what answers there does not speak gRPC";
  if (/^Name resolution failed/.test(last)) return "no such host name";
  return last.replace(/^connect (\w+).*$/, (all, code: string) => WORDS[code] ?? all);
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there (ECONNREFUSED)",
  EHOSTUNREACH: "there is no way to that host (EHOSTUNREACH)",
  ETIMEDOUT: "no answer (ETIMEDOUT)",
};

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
