/**
 * Server-sent events: a session reads for 2 to 10 s, over as many streams as it takes, and every id must follow the one
 * before it. A stream that ends by its framing's rules between two events is drained; the next one asks with
 * Last-Event-ID. The session leaves by itself between two events.
 *
 * Source  WHATWG HTML, "Server-sent events", the parsing rules; only `id` and comments matter here.
 */
import { sleep } from "../../proto/kernel/clock.ts";
import type { HttpConnection, Reply } from "./connection.ts";
import type { AnswerHead } from "./answer.ts";
import type { Outcome } from "./ledger.ts";
import { between, head, judgeHead, lost, noteHead } from "./run.ts";
import type { Run } from "./run.ts";

/** Cuts a stream into events; `id` of each is told. */
export class EventReader {
  readonly #onEvent: (id: string) => void;
  #line = "";
  #id = "";
  #open = false;

  constructor(onEvent: (id: string) => void) {
    this.#onEvent = onEvent;
  }

  /** Nothing of an event is pending: a stream may end here. */
  get atBoundary(): boolean {
    return this.#line === "" && !this.#open;
  }

  feed(chunk: Buffer): void {
    const lines = (this.#line + chunk.toString("latin1")).split("\n");
    this.#line = lines.pop() ?? "";
    for (const line of lines) this.#take(line.endsWith("\r") ? line.slice(0, -1) : line);
  }

  #take(line: string): void {
    if (line.startsWith(":")) return;
    if (line !== "") {
      this.#open = true;
      if (line.startsWith("id:")) this.#id = line.slice(3).trim();
    } else if (this.#open) {
      this.#open = false;
      this.#onEvent(this.#id);
    }
  }
}

const RECONNECT_MS = 50;

interface Session {
  readonly endsAt: number;
  last: number;
}

export async function events(run: Run): Promise<void> {
  const session: Session = { endsAt: run.clock.monotonic() + between(run.random, 2_000, 10_000), last: 0 };
  for (let again = true; again;) {
    const outcome = await stream(run, session);
    again = outcome.kind === "drained" && !run.stopping.aborted && run.clock.monotonic() < session.endsAt;
    if (again) await sleep(run.clock, between(run.random, 5, RECONNECT_MS));
  }
}

async function stream(run: Run, session: Session): Promise<Outcome> {
  const exchange = run.ledger.begin("events");
  const connection = run.pool.open();
  const resume = session.last > 0 ? `last-event-id: ${session.last}\r\n` : "";
  let gap: string | undefined;
  let answered = false;
  const reader = new EventReader((id) => {
    if (gap !== undefined) return;
    if (id !== String(session.last + 1)) gap = `event ${JSON.stringify(id)} after ${session.last}`;
    else session.last += 1;
    if (gap === undefined) run.ledger.count("events");
  });
  const reply = await connection.exchange({
    method: "GET",
    head: [head(run, exchange, "GET", "/events", `accept: text/event-stream\r\n${resume}`)],
    onHead: (answer) => {
      exchange.latency(run.clock.monotonic() - exchange.startedAt);
      noteHead(run, answer);
      answered = isEvents(answer);
    },
    onBody: (chunk) => {
      if (!answered) return;
      reader.feed(chunk);
      const enough = run.stopping.aborted || run.clock.monotonic() >= session.endsAt;
      if (gap !== undefined || (enough && reader.atBoundary)) connection.leave();
    },
  });
  connection.destroy();
  const outcome = judge(run, connection, reply, gap, reader.atBoundary);
  exchange.end(outcome);
  return outcome;
}

const isEvents = (answer: AnswerHead): boolean =>
  answer.status === 200 && answer.headers.get("content-type") === "text/event-stream";

function judge(
  run: Run,
  connection: HttpConnection,
  reply: Reply,
  gap: string | undefined,
  atBoundary: boolean,
): Outcome {
  if (gap !== undefined) return lost(run, connection, "event_gap", gap);
  switch (reply.kind) {
    case "left":
      return { kind: "ok" };
    case "failed":
      if (reply.cause !== "answer_cut") return lost(run, connection, reply.cause, reply.detail);
      return lost(run, connection, atBoundary ? "stream_cut" : "event_torn", reply.detail);
    case "answer": {
      const verdict = judgeHead(run, connection, reply.head, 200);
      if (verdict !== undefined) return verdict;
      if (!isEvents(reply.head)) return lost(run, connection, "bad_answer", "not text/event-stream");
      return atBoundary ? { kind: "drained" } : lost(run, connection, "event_torn", "ended inside an event");
    }
  }
}
