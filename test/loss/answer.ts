/**
 * One HTTP/1.1 answer, read from bytes as they come, as strictly as RFC 9112 writes it: what a tolerant client would
 * forgive is a defect here. Interim answers (1xx) are passed over and told.
 *
 * Errors  values: `feed` and `close` answer "bad" with one sentence.
 */
export interface AnswerHead {
  readonly status: number;
  /** Names in lower case; of repeated fields, the values joined by ", ". */
  readonly headers: ReadonlyMap<string, string>;
  readonly keepAlive: boolean;
}

export interface AnswerSink {
  interim(status: number): void;
  head(head: AnswerHead): void;
  body(chunk: Buffer): void;
}

export type Progress =
  | { readonly kind: "more" }
  /** `excess`: bytes of this chunk after the answer's end. */
  | { readonly kind: "done"; readonly excess: number }
  | { readonly kind: "bad"; readonly why: string };

type State = "head" | "fixed" | "untilClose" | "size" | "data" | "dataEnd" | "trailer" | "done";

const MORE: Progress = { kind: "more" };
const HEAD_LIMIT = 64 << 10;
const LINE_LIMIT = 4 << 10;
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5]\d\d) [\t\x20-\x7e\x80-\xff]*$/;
const FIELD = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/;

export class AnswerParser {
  readonly #toHead: boolean;
  readonly #sink: AnswerSink;
  #state: State = "head";
  #held: Buffer = Buffer.alloc(0);
  #left = 0;

  /** `method`: an answer to HEAD has no body, whatever its head says. */
  constructor(method: string, sink: AnswerSink) {
    this.#toHead = method === "HEAD";
    this.#sink = sink;
  }

  /** Where the answer stands, for words like "cut in the head". */
  get state(): State {
    return this.#state;
  }

  feed(chunk: Buffer): Progress {
    let at = 0;
    while (at < chunk.length) {
      switch (this.#state) {
        case "head": {
          const rest = chunk.subarray(at);
          const before = this.#held.length;
          this.#held = before === 0 ? rest : Buffer.concat([this.#held, rest]);
          const end = this.#held.indexOf("\r\n\r\n", Math.max(0, before - 3));
          if (end < 0) {
            if (this.#held.length > HEAD_LIMIT) return bad("its head is larger than 64 KiB");
            // The chunk belongs to the socket; what is held over must not change under us.
            if (before === 0) this.#held = Buffer.from(this.#held);
            return MORE;
          }
          const why = this.#readHead(this.#held.toString("latin1", 0, end));
          if (why !== undefined) return bad(why);
          at += end + 4 - before;
          this.#held = Buffer.alloc(0);
          break;
        }
        case "fixed":
        case "data": {
          const piece = chunk.subarray(at, at + this.#left);
          at += piece.length;
          this.#left -= piece.length;
          this.#sink.body(piece);
          if (this.#left === 0) this.#state = this.#state === "fixed" ? "done" : "dataEnd";
          break;
        }
        case "untilClose":
          this.#sink.body(chunk.subarray(at));
          return MORE;
        case "size":
        case "dataEnd":
        case "trailer": {
          const newline = chunk.indexOf(10, at);
          const stop = newline < 0 ? chunk.length : newline + 1;
          this.#held = Buffer.concat([this.#held, chunk.subarray(at, stop)]);
          at = stop;
          if (this.#held.length > LINE_LIMIT) return bad("a line of its chunked framing is too long");
          if (newline < 0) break;
          const line = this.#held.toString("latin1");
          this.#held = Buffer.alloc(0);
          if (!line.endsWith("\r\n")) return bad("bare LF in its chunked framing");
          const why = this.#readLine(line.slice(0, -2));
          if (why !== undefined) return bad(why);
          break;
        }
        case "done":
          return { kind: "done", excess: chunk.length - at };
      }
    }
    return this.#state === "done" ? { kind: "done", excess: 0 } : MORE;
  }

  /** The peer has closed its side: the end of an answer without length, a cut of any other. */
  close(): Progress {
    if (this.#state !== "untilClose") return bad(`cut in its ${this.#where()}`);
    this.#state = "done";
    return { kind: "done", excess: 0 };
  }

  #where(): string {
    if (this.#state === "head") return "head";
    return this.#state === "fixed" ? `body, ${this.#left} bytes missing` : `chunked body (${this.#state})`;
  }

  #readHead(text: string): string | undefined {
    const [first = "", ...lines] = text.split("\r\n");
    const status = STATUS_LINE.exec(first);
    if (status === null) return `not a status line: ${JSON.stringify(first.slice(0, 80))}`;
    const headers = new Map<string, string>();
    for (const line of lines) {
      const field = FIELD.exec(line);
      if (field === null) return `not a header field: ${JSON.stringify(line.slice(0, 80))}`;
      const name = field[1]?.toLowerCase() ?? "";
      const value = field[2] ?? "";
      const known = headers.get(name);
      if (known !== undefined && name === "content-length") return "two Content-Length fields";
      headers.set(name, known === undefined ? value : `${known}, ${value}`);
    }
    const code = Number(status[2]);
    if (code < 200 && code !== 101) {
      this.#sink.interim(code);
      return undefined;
    }
    const why = this.#frame(code, headers);
    if (why !== undefined) return why;
    const options = (headers.get("connection") ?? "").toLowerCase();
    const wanted = status[1] === "1" ? !options.includes("close") : options.includes("keep-alive");
    this.#sink.head({ status: code, headers, keepAlive: wanted && this.#state !== "untilClose" });
    return undefined;
  }

  #frame(status: number, headers: ReadonlyMap<string, string>): string | undefined {
    const length = headers.get("content-length");
    const coding = headers.get("transfer-encoding");
    if (length !== undefined && coding !== undefined) return "both Content-Length and Transfer-Encoding";
    if (length !== undefined && !/^\d{1,15}$/.test(length)) return `bad Content-Length: ${length}`;
    if (coding !== undefined && coding.toLowerCase() !== "chunked") return `unknown Transfer-Encoding: ${coding}`;
    if (this.#toHead || status === 204 || status === 304 || length === "0") this.#state = "done";
    else if (coding !== undefined) this.#state = "size";
    else if (length !== undefined) this.#state = "fixed";
    else this.#state = "untilClose";
    this.#left = Number(length ?? 0);
    return undefined;
  }

  #readLine(line: string): string | undefined {
    if (this.#state === "dataEnd") {
      this.#state = "size";
      return line === "" ? undefined : "no CRLF after a chunk's data";
    }
    if (this.#state === "trailer") {
      if (line === "") this.#state = "done";
      else if (!FIELD.test(line)) return `not a trailer field: ${JSON.stringify(line.slice(0, 80))}`;
      return undefined;
    }
    const size = /^([0-9A-Fa-f]{1,8})(?:;.*)?$/.exec(line);
    if (size === null) return `bad chunk size: ${JSON.stringify(line.slice(0, 40))}`;
    this.#left = Number.parseInt(size[1] ?? "", 16);
    this.#state = this.#left === 0 ? "trailer" : "data";
    return undefined;
  }
}

const bad = (why: string): Progress => ({ kind: "bad", why });
