/**
 * One HTTP request to a source of measurements, bounded in every way: in time as a whole, in the size of the answer,
 * and to the address that it was given (no redirect is followed, no proxy, no connection kept for the next one).
 *
 * Units   milliseconds, bytes.
 * Errors  none thrown; what went wrong is a message that names the address without userinfo and query.
 */
import type { IncomingMessage } from "node:http";
import { request as plain } from "node:http";
import { request as secure } from "node:https";
import { formatDuration } from "../../proto/contract/units.ts";
import type { Clock } from "../../proto/kernel/clock.ts";
import { address, httpUrl } from "./source.ts";

export interface Ask {
  readonly method: "GET" | "POST";
  readonly url: URL;
  /** JSON, for POST. */
  readonly body?: string;
  readonly timeoutMs: number;
}

export interface Wire {
  readonly clock: Clock;
  /** The measurement is not wanted any more. */
  readonly signal: AbortSignal;
  /** Origin (`https://prometheus:9090`) → token, sent as `Authorization: Bearer`, there and nowhere else. */
  readonly tokens: ReadonlyMap<string, string>;
}

export type Reply =
  | { readonly kind: "reply"; readonly status: number; readonly body: string }
  | { readonly kind: "error"; readonly message: string };

/** A number with its labels is a few hundred bytes; more than this is the answer to another question. */
export const LARGEST_ANSWER = 1 << 20;

export function ask(wire: Wire, { method, url, body, timeoutMs }: Ask): Promise<Reply> {
  const where = address(url);
  return new Promise((resolve) => {
    const settle = (reply: Reply): void => {
      timer.cancel();
      wire.signal.removeEventListener("abort", aborted);
      resolve(reply);
      sent?.destroy();
    };
    const wrong = (what: string): void => settle({ kind: "error", message: `${where} ${what}` });
    const aborted = (): void => wrong("was not waited for: the measurement is not wanted any more");
    const timer = wire.clock.after(timeoutMs, () => wrong(`did not answer within ${formatDuration(timeoutMs)}`));
    wire.signal.addEventListener("abort", aborted, { once: true });
    const token = wire.tokens.get(url.origin);
    const headers = {
      accept: "application/json",
      "accept-encoding": "identity",
      "user-agent": "baton",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
    };
    const send = url.protocol === "https:" ? secure : plain;
    let sent: ReturnType<typeof plain> | undefined;
    try {
      // `agent: false`: a connection of its own, which ends with the answer.
      sent = send(url, { method, headers, agent: false });
    } catch (error) {
      wrong(`can't be asked: ${(error as Error).message}`);
      return;
    }
    sent.on("error", (error: NodeJS.ErrnoException) => wrong(words(error)));
    sent.on("response", (response) => read(response, wrong, settle));
    if (wire.signal.aborted) aborted();
    else sent.end(body);
  });
}

function read(response: IncomingMessage, wrong: (what: string) => void, settle: (reply: Reply) => void): void {
  const status = response.statusCode ?? 0;
  if (status >= 300 && status < 400) {
    const to = httpUrl(response.headers.location ?? "");
    const where = to === undefined ? "" : ` to ${address(to)}`;
    wrong(`answered ${status}, a redirect${where}, which is not followed: name the address itself`);
    return;
  }
  const chunks: Buffer[] = [];
  let size = 0;
  response.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size > LARGEST_ANSWER) wrong(`answered more than ${LARGEST_ANSWER >> 20} MiB where one number is wanted`);
    else chunks.push(chunk);
  });
  response.on("end", () => settle({ kind: "reply", status, body: Buffer.concat(chunks).toString("utf8") }));
  // A cut answer ends with an error, or (node:http) with "aborted" and no end.
  response.on("error", (error: NodeJS.ErrnoException) =>
    wrong(`broke off in mid-answer (${error.code ?? error.message})`),
  );
  response.on("close", () => wrong("broke off in mid-answer"));
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "can't be reached: nothing listens there",
  ENOTFOUND: "can't be reached: its name is unknown",
  EAI_AGAIN: "can't be reached: its name can't be looked up now",
  ECONNRESET: "closed the connection without an answer",
  EHOSTUNREACH: "can't be reached: no route to it",
  ENETUNREACH: "can't be reached: no route to it",
  ETIMEDOUT: "can't be reached: the connection timed out",
};

function words({ code, message }: NodeJS.ErrnoException): string {
  if (code === undefined) return `can't be asked: ${message}`;
  if (code.startsWith("HPE_")) return `does not speak HTTP (${code})`;
  return `${WORDS[code] ?? `can't be asked: ${message}`} (${code})`;
}

/** What a server says of an answer that is no success: its own words, from JSON's usual places or the first line. */
export function ownWords(body: string): string {
  const json = parsed(body);
  if (typeof json === "object" && json !== null) {
    const { error, message } = json as { readonly error?: unknown; readonly message?: unknown };
    if (typeof error === "string") return error;
    if (typeof message === "string") return message;
  }
  return body.trim().split("\n", 1)[0] ?? "";
}

/** undefined: no JSON. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
