/**
 * The one table from what went wrong to what the client is told and what the ledger says. Nothing else chooses a
 * status. Baton's own answers carry `baton-error: <cause>`, with `; sent=0` when no byte of the request reached an app,
 * so that a Baton hop before this one may try another way (errors of kind "agent" endpoints).
 */
import { LOSS_CAUSES } from "../../proto/contract/report.ts";
import type { LossCause } from "../../proto/contract/report.ts";
import { REFUSED } from "./http1/fields.ts";

/** What ended an exchange that the app did not answer in full. */
export type FailureCause =
  | "connect_failed"
  | "upstream_reset"
  | "upstream_timeout"
  | "upstream_protocol"
  | "no_instance"
  | "overload"
  | "internal"
  | "no_route"
  | "request_timeout"
  | "drain_deadline"
  | "refused";

export interface Failure {
  readonly cause: FailureCause;
  readonly status: number;
  readonly reason: string;
  /** Its row in the ledger; null when the client brought it about itself. */
  readonly loss: LossCause | null;
  /** Seconds for Retry-After; 0 for none. */
  readonly retryAfter: number;
}

const failure = (
  cause: FailureCause,
  status: number,
  reason: string,
  loss: LossCause | null,
  retryAfter = 0,
): Failure => ({ cause, status, reason, loss, retryAfter });

export const FAILURE = {
  connectFailed: failure("connect_failed", 502, "no instance could be connected to", "connect_failed"),
  reset: failure("upstream_reset", 502, "the instance broke the connection before it answered", "upstream_reset"),
  timeout: failure("upstream_timeout", 504, "the instance did not answer in time", "upstream_timeout"),
  protocol: failure("upstream_protocol", 502, "the instance's answer broke the rules of HTTP", "upstream_protocol"),
  noInstance: failure("no_instance", 503, "no instance serves this now", "no_instance", 1),
  overload: failure("overload", 503, "every instance is at its limit of connections", "overload", 1),
  connections: failure("overload", 503, "this agent is at its limit of connections", null, 1),
  internal: failure("internal", 500, "a defect of the proxy", "internal"),
  noRoute: failure("no_route", 404, "no service answers for this host and path", null),
  noTable: failure("no_instance", 503, "this agent has no routes yet", null, 1),
  headTimeout: failure("request_timeout", 408, "the request's head did not come in time", null),
  bodyTimeout: failure("request_timeout", 408, "the request's body stalled", null),
  lastHop: failure("refused", 200, "Max-Forwards ends here", null),
  drained: failure("drain_deadline", 503, "the instance is leaving and did not answer before its deadline", null, 1),
  trace: failure("refused", 405, "TRACE is not answered here", null),
} as const;

const refusal = (status: number, reason: string): Failure => failure("refused", status, reason, null);
const REFUSALS: Readonly<Record<number, Failure>> = {
  [REFUSED.startLine]: refusal(400, "malformed request line"),
  [REFUSED.version]: refusal(505, "HTTP version not spoken here"),
  [REFUSED.target]: refusal(400, "malformed request target"),
  [REFUSED.fieldLine]: refusal(400, "malformed header field"),
  [REFUSED.headTooLarge]: refusal(431, "the request's head is too large"),
  [REFUSED.targetTooLong]: refusal(414, "the request's target is too long"),
  [REFUSED.tooManyFields]: refusal(431, "too many header fields"),
  [REFUSED.host]: refusal(400, "missing, repeated or malformed Host"),
  [REFUSED.contentLength]: refusal(400, "repeated or malformed Content-Length"),
  [REFUSED.transferEncoding]: refusal(400, "malformed Transfer-Encoding"),
  [REFUSED.coding]: refusal(501, "transfer coding not spoken here"),
  [REFUSED.framing]: refusal(400, "Transfer-Encoding with Content-Length, or in HTTP/1.0"),
  [REFUSED.expectation]: refusal(417, "expectation not met here"),
  [REFUSED.method]: refusal(501, "CONNECT is not answered here"),
  [REFUSED.chunk]: refusal(400, "malformed chunked body"),
};

/** For a code of fields.ts REFUSED. */
export const refused = (code: number): Failure => REFUSALS[code] ?? FAILURE.internal;

export const lossIndex = (cause: LossCause): number => LOSS_CAUSES.indexOf(cause);

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  414: "URI Too Long",
  417: "Expectation Failed",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

/** Baton's own answer, whole. */
export function errorAnswer(
  failed: Failure,
  { agent, sent, close, toHead }: { agent: string; sent: boolean; close: boolean; toHead: boolean },
): string {
  const body = `${failed.status} ${failed.reason} (baton agent ${agent})\n`;
  return (
    `HTTP/1.1 ${failed.status} ${REASONS[failed.status] ?? "Error"}\r\n` +
    `Content-Type: text/plain; charset=utf-8\r\nContent-Length: ${body.length}\r\n` +
    (failed.status === 200 ? "" : `baton-error: ${failed.cause}${sent ? "" : "; sent=0"}\r\n`) +
    (failed.retryAfter > 0 ? `Retry-After: ${failed.retryAfter}\r\n` : "") +
    (failed.status === 405 || failed.status === 200 ? "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" : "") +
    `${close ? "Connection: close\r\n" : ""}\r\n${toHead ? "" : body}`
  );
}

export interface HopError {
  readonly cause: LossCause;
  /** A byte of the request may have reached an app. */
  readonly sent: boolean;
}

/** What the next Baton hop says in `baton-error`; null for what is no loss, or not of our words. */
export function parseHopError(value: string): HopError | null {
  const [name = "", ...parameters] = value.split(";").map((part) => part.trim());
  const cause = LOSS_CAUSES.find((known) => known === name);
  return cause === undefined ? null : { cause, sent: !parameters.includes("sent=0") };
}

/** What the client is told when every try ended in the next hop's refusal. */
export function failureOf(cause: LossCause): Failure {
  switch (cause) {
    case "connect_failed":
      return FAILURE.connectFailed;
    case "no_instance":
      return FAILURE.noInstance;
    case "overload":
      return FAILURE.overload;
    case "upstream_timeout":
      return FAILURE.timeout;
    case "upstream_protocol":
      return FAILURE.protocol;
    case "internal":
      return FAILURE.internal;
    case "upstream_reset":
    case "response_cut":
    case "tunnel_cut":
    case "worker_killed":
      return FAILURE.reset;
  }
}
