/** What every kind of traffic is given, and what they share. */
import type { Clock, Millis } from "../../proto/kernel/clock.ts";
import { integer } from "../../proto/kernel/random.ts";
import type { Random } from "../../proto/kernel/random.ts";
import type { AnswerHead } from "./answer.ts";
import type { HttpConnection, Target } from "./connection.ts";
import type { Cause, Exchange, Ledger, Outcome } from "./ledger.ts";
import type { Pool } from "./pool.ts";

export interface Run {
  readonly target: Target;
  /** The `Host` field. */
  readonly authority: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly ledger: Ledger;
  readonly pool: Pool;
  readonly timeoutMs: Millis;
  /** Send again on a fresh connection what RFC 9110 §9.2.2 lets a client send again, and count it as retried. */
  readonly rfcRetry: boolean;
  /** A message that crossed a WebSocket's close on its way is said again on the next one, and counted as retried. */
  readonly resend: boolean;
  /** Aborts when the traffic is to end: streams then leave at their next boundary. */
  readonly stopping: AbortSignal;
}

/** Header fields as real clients send them, of very different lengths; chosen by the exchange, not by the connection. */
const FIELDS: readonly string[] = [
  "user-agent: curl/8.5.0\r\naccept: */*\r\n",
  `user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\naccept: text/html,*/*;q=0.8\r\naccept-language: en-GB,en;q=0.5\r\ncookie: session=${"s".repeat(64)}; theme=dark\r\n`,
  `user-agent: okhttp/4.12.0\r\naccept: application/json\r\nauthorization: Bearer ${"t".repeat(480)}\r\n`,
  `User-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\nX-Forwarded-For: 203.0.113.7\r\nX-Padding: ${"p".repeat(1_900)}\r\n`,
];

/** A request's head, with `extra` fields, each ended by CRLF. */
export function head(run: Run, exchange: Exchange, method: string, path: string, extra = ""): string {
  const fields = FIELDS[integer(run.random, FIELDS.length)] ?? "";
  return `${method} ${path} HTTP/1.1\r\nhost: ${run.authority}\r\nx-request-id: ${exchange.id}\r\n${fields}${extra}\r\n`;
}

/** Between `least` and `most`, milliseconds or bytes. */
export function between(random: Random, least: number, most: number): number {
  return least + integer(random, most - least + 1);
}

export function lost(run: Run, connection: HttpConnection, cause: Cause, detail: string): Outcome {
  const trace = connection.trace();
  const version = trace.version === "" ? run.ledger.lastVersion : trace.version;
  return { kind: "lost", cause, detail, trace: { ...trace, version } };
}

/** Counts who gave an answer; an answer without the app's mark is nobody's. */
export function noteHead(run: Run, answer: AnswerHead): void {
  const version = answer.headers.get("x-demo-version");
  if (version !== undefined) run.ledger.saw(version, answer.headers.get("x-demo-instance") ?? "");
}

/** What an answer's head alone decides; undefined: it is the answer that was asked for. */
export function judgeHead(
  run: Run,
  connection: HttpConnection,
  answer: AnswerHead,
  wanted: number,
): Outcome | undefined {
  const own = answer.headers.get("baton-error");
  if (own !== undefined) return lost(run, connection, "proxy_error", `${answer.status} baton-error: ${own}`);
  if (answer.status === wanted) return undefined;
  if (answer.headers.has("x-demo-version")) return { kind: "appError", status: answer.status };
  // L2: not the app's word, so it can't be the app's fault.
  return lost(run, connection, "proxy_error", `${answer.status} without the app's mark`);
}
