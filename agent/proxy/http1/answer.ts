/**
 * The answer's way back: head, content, end. It reads what the app sends, writes what the client is to see, and says
 * to the exchange what came of it; it decides nothing about retries or accounts.
 *
 * Cost    hot: a head with a small body is parsed, rewritten and written in one callback and one write.
 */
import type { Context } from "../context.ts";
import { pass } from "../forward.ts";
import { EventBoundary } from "../sse.ts";
import { WRITE } from "../sockets.ts";
import type { Wire } from "../sockets.ts";
import { BodyReader } from "./body.ts";
import { LF } from "./chars.ts";
import { FOUND } from "./chunked.ts";
import { INCOMPLETE } from "./fields.ts";
import { BODY } from "./response.ts";
import { CONNECTION, writeResponse } from "./rewrite.ts";

/** What `take` found in the bytes it was given. */
export const TOOK = {
  /** All of it; more is to come. */
  more: 0,
  /** The answer is over, and the connection stands behind it. */
  done: 1,
  /** It is over, but bytes that belong to no answer follow. */
  excess: 2,
  /** It breaks HTTP's rules. */
  bad: 3,
  /** A head: look at `context.response`, then `begin` or `skipHead`, and `take` on from `at`. */
  head: 4,
} as const;

const EMPTY = Buffer.alloc(0);
const LAST_CHUNK = "0\r\n";

export class Answer {
  /** The head has gone to the client, or is about to. */
  begun = false;
  status = 0;
  eventStream = false;
  /** End an event stream at its next boundary. */
  ending = false;
  /** How the client is told where the body ends: one of BODY. */
  framing: number = BODY.none;
  /** The buffer and span that `head` was found in, for `begin`. */
  source: Buffer = EMPTY;
  at = 0;
  end = 0;
  bytesOut = 0;
  readonly #context: Context;
  readonly #reader: BodyReader;
  readonly #events = new EventBoundary();
  #partial: Buffer | null = null;

  constructor(context: Context) {
    this.#context = context;
    this.#reader = new BodyReader(context.limits);
  }

  reset(): void {
    this.begun = this.eventStream = this.ending = false;
    this.status = this.bytesOut = 0;
    this.source = EMPTY;
    this.#partial = null;
  }

  /** Some bytes of an answer have come, though no whole head. */
  get started(): boolean {
    return this.begun || this.#partial !== null;
  }

  /** The body's kind as the app frames it. */
  get kind(): number {
    return this.#reader.kind;
  }

  get atEventBoundary(): boolean {
    return this.#events.atBoundary;
  }

  /** Looks for a head in what was read. */
  head(bytes: Buffer, length: number): number {
    let source = bytes;
    let end = length;
    if (this.#partial !== null) {
      const fresh = bytes.subarray(0, length);
      source = Buffer.concat([this.#partial, fresh]);
      end = source.length;
      // A head that trickles in is read again only when a line has been completed (fields.ts).
      if (fresh.indexOf(LF) === -1 && end <= this.#context.limits.headBytes) {
        this.#partial = source;
        return TOOK.more;
      }
      this.#partial = null;
    }
    return this.headAt(source, 0, end);
  }

  /** The same, behind an interim answer. */
  headAt(source: Buffer, at: number, end: number): number {
    if (at === end) return TOOK.more;
    const behind = this.#context.response.parse(source, at, end);
    if (behind === INCOMPLETE) {
      this.#partial = Buffer.from(source.subarray(at, end));
      return TOOK.more;
    }
    if (behind < 0) return TOOK.bad;
    this.source = source;
    this.at = behind;
    this.end = end;
    return TOOK.head;
  }

  /** Writes the head that was found into the scratch buffer; the body is taken next. */
  begin(toHead: boolean, minor: number, connection: number, believed: boolean): void {
    const head = this.#context.response;
    const kind = head.body(toHead);
    this.#reader.begin(kind, head.framing.contentLength);
    this.framing = kind;
    if (kind === BODY.close && minor === 1) this.framing = BODY.chunked;
    else if (kind === BODY.chunked && minor === 0) this.framing = BODY.close;
    this.status = head.status;
    this.eventStream = head.eventStream && kind !== BODY.none && kind !== BODY.length;
    if (this.eventStream) this.#events.reset();
    const { scratch } = this.#context;
    scratch.length = 0;
    writeResponse(
      head,
      this.source,
      scratch,
      this.framing,
      this.framing === BODY.close ? CONNECTION.close : connection,
      believed,
    );
    this.begun = true;
  }

  /** Content out of `bytes[at, end)`, into the scratch buffer or straight to the client. */
  take(bytes: Buffer, start: number, end: number, from: Wire, to: Wire): number {
    const reader = this.#reader;
    const { scratch } = this.#context;
    for (let at = start; ; at = reader.at) {
      const found = reader.next(bytes, at, end);
      if (found === FOUND.more) return TOOK.more;
      if (found === FOUND.bad) return TOOK.bad;
      if (found === FOUND.done) {
        this.#last(reader.trailer());
        return reader.at < end ? TOOK.excess : TOOK.done;
      }
      const until = reader.to;
      if (this.eventStream) {
        const boundary = this.ending ? this.#events.find(bytes, reader.from, until) : -1;
        if (boundary !== -1) {
          this.bytesOut += boundary - reader.from;
          this.#append(bytes, reader.from, boundary);
          this.#last(null);
          return TOOK.excess;
        }
        if (!this.ending) this.#events.skip(bytes, reader.from, until);
      }
      this.bytesOut += until - reader.from;
      if (this.framing === BODY.chunked) this.#append(bytes, reader.from, until);
      // A chunk that the client is not told of as one, or a body of known length: as it is.
      else if (pass(scratch, from, to, bytes, reader.from, until) === WRITE.failed) return TOOK.more;
    }
  }

  /** The app's connection has ended behind a body that only its end delimits; or an event stream is ended by us. */
  close(): void {
    this.#last(null);
  }

  #append(bytes: Buffer, start: number, end: number): void {
    const { scratch } = this.#context;
    if (end === start) return; // an empty chunk would end the body
    if (this.framing === BODY.chunked) scratch.chunkSize(end - start);
    scratch.bytes(bytes, start, end);
    if (this.framing === BODY.chunked) scratch.crlf();
  }

  #last(trailer: Buffer | null): void {
    if (this.framing !== BODY.chunked) return;
    const { scratch } = this.#context;
    scratch.text(LAST_CHUNK);
    if (trailer !== null) scratch.bytes(trailer, 0, trailer.length);
    scratch.crlf();
  }
}
