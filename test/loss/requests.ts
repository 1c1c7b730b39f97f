/**
 * The kinds of traffic that are one request and one answer. Each says what it sends and what it takes for a right
 * answer; `carry` does the rest: connection, failure, verdict, latency, and where the connection goes next.
 */
import { createHash } from "node:crypto";
import { sleep } from "../../proto/kernel/clock.ts";
import type { Millis } from "../../proto/kernel/clock.ts";
import { integer } from "../../proto/kernel/random.ts";
import type { AnswerHead } from "./answer.ts";
import type { BodySink, HttpConnection, HttpRequest, Reply } from "./connection.ts";
import type { Cause, Exchange } from "./ledger.ts";
import { between, head, judgeHead, lost, noteHead } from "./run.ts";
import type { Run } from "./run.ts";

/** What is wrong with an answer's body. */
interface Fault {
  readonly cause: Cause;
  readonly detail: string;
}

interface Plan {
  readonly request: HttpRequest;
  readonly status: number;
  /** RFC 9110 §9.2.2. */
  readonly idempotent: boolean;
  readonly fresh?: boolean;
  /** Time that the request itself asked for: not counted as latency. */
  readonly ownMs?: Millis;
  /** Looks at a complete answer of the wanted status. */
  readonly check: (head: AnswerHead, body: Buffer) => Fault | undefined;
}

const BODY_KEPT = 64 << 10;
const SPLIT_SHARE = 0.02;
const HEAD_SHARE = 0.05;
const PAGE_SHARE = 0.1;
const EXPECT_SHARE = 0.1;
const PIECES = 16;

// Uploads are slices of this: made once, so that 300 requests/s cost no random bytes.
const SOURCE = Buffer.alloc(1 << 20);
for (let i = 0, state = 0x2545f491; i < SOURCE.length; i++) {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  SOURCE[i] = state >>> 24;
}

async function carry(run: Run, exchange: Exchange, plan: Plan): Promise<void> {
  const body: Buffer[] = [];
  let kept = 0;
  const request: HttpRequest = {
    onBody: (chunk) => {
      kept += chunk.length;
      // The chunk is the socket's to use again.
      if (kept <= BODY_KEPT) body.push(Buffer.from(chunk));
    },
    ...plan.request,
  };
  let connection = plan.fresh === true ? run.pool.open() : run.pool.take();
  let reply = await connection.exchange(request);
  if (run.rfcRetry && plan.idempotent && closedUnderUs(reply)) {
    exchange.retried();
    connection = run.pool.open();
    reply = await connection.exchange(request);
  }
  settle(run, exchange, plan, connection, reply, Buffer.concat(body));
  if (reply.kind === "answer" && plan.fresh !== true) run.pool.give(connection);
  else connection.destroy();
}

const closedUnderUs = (reply: Reply): boolean => reply.kind === "failed" && reply.cause === "reused_closed";

function settle(
  run: Run,
  exchange: Exchange,
  plan: Plan,
  connection: HttpConnection,
  reply: Reply,
  body: Buffer,
): void {
  if (reply.kind !== "answer") {
    const { cause, detail } = reply.kind === "failed" ? reply : { cause: "no_answer" as const, detail: "left" };
    exchange.end(lost(run, connection, cause, detail));
    return;
  }
  noteHead(run, reply.head);
  if (!reply.head.keepAlive && plan.fresh !== true) run.ledger.count("farewells");
  const verdict = judgeHead(run, connection, reply.head, plan.status);
  const early = reply.sent ? undefined : { cause: "bad_answer" as const, detail: "answered before the body was sent" };
  const fault = verdict === undefined ? (early ?? plan.check(reply.head, body)) : undefined;
  exchange.latency(run.clock.monotonic() - exchange.startedAt - (plan.ownMs ?? 0));
  exchange.end(verdict ?? (fault === undefined ? { kind: "ok" } : lost(run, connection, fault.cause, fault.detail)));
}

export function get(run: Run): Promise<void> {
  const exchange = run.ledger.begin("get");
  const { random } = run;
  if (random.next() < PAGE_SHARE) {
    const request = { method: "GET", head: [head(run, exchange, "GET", "/")] };
    const check = (_: AnswerHead, body: Buffer): Fault | undefined =>
      body.toString().trimEnd().endsWith("</html>") ? undefined : wrong("the page is not whole", body);
    return carry(run, exchange, { request, status: 200, idempotent: true, check });
  }
  const method = random.next() < HEAD_SHARE ? "HEAD" : "GET";
  const text = head(run, exchange, method, `/api/hello?n=${exchange.id}`);
  // A head that comes in two pieces: an idle connection is no longer idle after the first.
  const split = random.next() < SPLIT_SHARE;
  const cut = split ? between(random, 1, text.length - 1) : text.length;
  const pauseMs = split ? between(random, 5, 50) : 0;
  const request = { method, head: split ? [text.slice(0, cut), text.slice(cut)] : [text], pauseMs };
  const check = (_: AnswerHead, body: Buffer): Fault | undefined =>
    method === "HEAD" ? undefined : echoed(body, { n: exchange.id });
  return carry(run, exchange, { request, status: 200, idempotent: true, ownMs: pauseMs, check });
}

/** A connection for one request; half of them say so beforehand. */
export function short(run: Run): Promise<void> {
  const exchange = run.ledger.begin("short");
  const close = run.random.next() < 0.5 ? "connection: close\r\n" : "";
  const request = { method: "GET", head: [head(run, exchange, "GET", `/api/hello?n=${exchange.id}`, close)] };
  const check = (answer: AnswerHead, body: Buffer): Fault | undefined =>
    close !== "" && answer.keepAlive
      ? { cause: "bad_answer", detail: "no Connection: close in answer to one" }
      : echoed(body, { n: exchange.id });
  return carry(run, exchange, { request, status: 200, idempotent: true, fresh: true, check });
}

/** Not idempotent: the app counts how often it has seen each order. */
export function post(run: Run): Promise<void> {
  const exchange = run.ledger.begin("post");
  const body = JSON.stringify({ id: exchange.id });
  const fields = `content-type: application/json\r\ncontent-length: ${body.length}\r\n`;
  const request = { method: "POST", head: [head(run, exchange, "POST", "/api/orders", fields) + body] };
  const check = (_: AnswerHead, answer: Buffer): Fault | undefined => {
    const fault = echoed(answer, { id: exchange.id });
    if (fault !== undefined) return fault;
    const times = field(answer, "times");
    return times === 1 ? undefined : { cause: "done_twice", detail: `the app has seen it ${String(times)} times` };
  };
  return carry(run, exchange, { request, status: 201, idempotent: false, check });
}

/** By length or chunked, at once or over up to 2 s; the app's checksum must be ours. */
export function upload(run: Run): Promise<void> {
  const exchange = run.ledger.begin("upload");
  const { random } = run;
  const from = integer(random, SOURCE.length / 2);
  const body = SOURCE.subarray(from, from + between(random, 1, 256 << 10));
  const chunked = random.next() < 0.5;
  const pauseMs = (random.next() < 0.7 ? random.next() * 2_000 : 0) / PIECES;
  const expectContinue = random.next() < EXPECT_SHARE;
  const framing = chunked ? "transfer-encoding: chunked\r\n" : `content-length: ${body.length}\r\n`;
  const fields = framing + (expectContinue ? "expect: 100-continue\r\n" : "");
  const send = async (sink: BodySink): Promise<boolean> => {
    const step = Math.ceil(body.length / PIECES);
    for (let at = 0; at < body.length; at += step) {
      if (at > 0 && pauseMs > 0) await sleep(run.clock, pauseMs);
      if (!sink.open()) return false;
      const piece = body.subarray(at, at + step);
      if (chunked) void sink.write(`${piece.length.toString(16)}\r\n`);
      const written = sink.write(piece);
      const last = at + step >= body.length;
      if (chunked) void sink.write(last ? "\r\n0\r\n\r\n" : "\r\n");
      // With the last piece out, the answer may come before the room for more does.
      if (!last) await written;
    }
    return true;
  };
  const request = { method: "POST", head: [head(run, exchange, "POST", "/upload", fields)], send, expectContinue };
  const check = (_: AnswerHead, answer: Buffer): Fault | undefined => {
    const fault = echoed(answer, { bytes: body.length });
    if (fault !== undefined) return { ...fault, cause: "bad_checksum" };
    const sha256 = createHash("sha256").update(body).digest("hex");
    return field(answer, "sha256") === sha256 ? undefined : { cause: "bad_checksum", detail: "sha256 differs" };
  };
  return carry(run, exchange, { request, status: 200, idempotent: false, ownMs: pauseMs * (PIECES - 1), check });
}

/** By length or chunked, at once or over up to 1.5 s; the checksum in the answer's head must hold. */
export function download(run: Run): Promise<void> {
  const exchange = run.ledger.begin("download");
  const { random } = run;
  const bytes = between(random, 1, 256 << 10);
  const ms = random.next() < 0.5 ? between(random, 0, 1_500) : 0;
  const chunked = random.next() < 0.5 ? "&chunked=1" : "";
  const hash = createHash("sha256");
  let received = 0;
  const onBody = (chunk: Buffer): void => {
    received += chunk.length;
    hash.update(chunk);
  };
  const path = `/download?bytes=${bytes}&ms=${ms}${chunked}`;
  const request = { method: "GET", head: [head(run, exchange, "GET", path)], onBody };
  const check = (answer: AnswerHead): Fault | undefined => {
    if (received !== bytes) return { cause: "bad_checksum", detail: `${received} bytes of ${bytes}` };
    const right = hash.digest("hex") === answer.headers.get("x-demo-sha256");
    return right ? undefined : { cause: "bad_checksum", detail: "sha256 differs" };
  };
  return carry(run, exchange, { request, status: 200, idempotent: true, ownMs: ms, check });
}

/** Held by the app for up to 3 s. */
export function poll(run: Run): Promise<void> {
  const exchange = run.ledger.begin("poll");
  const ms = between(run.random, 200, 3_000);
  const path = `/poll?ms=${ms}&n=${exchange.id}`;
  const request = { method: "GET", head: [head(run, exchange, "GET", path)] };
  const check = (_: AnswerHead, body: Buffer): Fault | undefined => echoed(body, { n: exchange.id, waited: ms });
  return carry(run, exchange, { request, status: 200, idempotent: true, ownMs: ms, check });
}

/** The answer must be to *this* request: a swapped one is as bad as none. */
function echoed(body: Buffer, wanted: Readonly<Record<string, unknown>>): Fault | undefined {
  for (const [name, value] of Object.entries(wanted)) {
    if (field(body, name) !== value) return wrong(`"${name}" is not ${JSON.stringify(value)}`, body);
  }
  return undefined;
}

function field(body: Buffer, name: string): unknown {
  try {
    const parsed: unknown = JSON.parse(body.toString());
    return typeof parsed === "object" && parsed !== null ? (parsed as Record<string, unknown>)[name] : undefined;
  } catch {
    return undefined;
  }
}

const wrong = (what: string, body: Buffer): Fault => ({
  cause: "bad_answer",
  detail: `${what}: ${JSON.stringify(body.toString("latin1", 0, 120))}`,
});
