/**
 * The request's way to the app: its image (head and the body as far as it is kept), and the body that streams behind.
 *
 * The image holds everything that was read so far until it outgrows `replayBytes`, or all images together outgrow
 * `replayTotalBytes`; as long as it does, the request can be sent again from its first byte (R1, R6, R10).
 */
import type { Context } from "../context.ts";
import { flush, pass } from "../forward.ts";
import { filterHead } from "../header-filter.ts";
import type { Filter } from "../header-filter.ts";
import { WRITE } from "../sockets.ts";
import type { Wire } from "../sockets.ts";
import { BodyReader } from "./body.ts";
import { FOUND } from "./chunked.ts";
import { Out } from "./out.ts";
import type { RequestHead } from "./request.ts";
import { BODY } from "./response.ts";

const IMAGE_BYTES = 2_048;
/** An image that grew beyond this is not kept for the next request. */
const KEEP_IMAGE_BYTES = 16 << 10;
const KEEP_IMAGES = 1_024;
const LAST_CHUNK = "0\r\n";
/** Stands for no image; nothing is ever written to it. */
const NO_IMAGE = new Out(0);

export class Upload {
  /** The request has been read to its end. */
  done = true;
  /** What still comes is thrown away: the app has answered, or will not (R12). */
  stopped = false;
  /** The image holds all that was read. */
  whole = true;
  image: Out;
  headBytes = 0;
  readonly #context: Context;
  readonly #reader: BodyReader;
  #chunked = false;
  /** Of `context.kept`, this request's share. */
  #kept = 0;
  /** How much of the image has been written on the connection in use. */
  #sent = 0;
  /** What has been done to the head, and the head before it was. */
  #filter: Filter | null = null;
  #plain: Buffer | null = null;

  constructor(context: Context) {
    this.#context = context;
    this.#reader = new BodyReader(context.limits);
    this.image = NO_IMAGE;
  }

  get received(): number {
    return this.headBytes + this.#reader.received;
  }

  /** Content still to come, as far as it is known. */
  get left(): number {
    return this.#reader.left;
  }

  /** An empty image for a new request. */
  open(): Out {
    this.image = this.#context.images.pop() ?? new Out(IMAGE_BYTES);
    this.image.length = 0;
    this.#sent = 0;
    this.whole = true;
    this.stopped = false;
    this.#filter = this.#plain = null;
    return this.image;
  }

  /** The head is in the image; takes what of the body came with it. Answers what is behind, or -1 for a bad body. */
  begin(head: RequestHead, bytes: Buffer, at: number, end: number): number {
    const { framing } = head;
    this.headBytes = this.image.length;
    this.#chunked = framing.chunked;
    this.done = !head.hasBody;
    this.#reader.begin(this.done ? BODY.none : framing.chunked ? BODY.chunked : BODY.length, framing.contentLength);
    return this.done ? at : this.#read(bytes, at, end, null, null);
  }

  /** More of the body; sent to `to` as it comes. Answers what is behind it, or -1 for a bad body. */
  take(bytes: Buffer, at: number, end: number, from: Wire, to: Wire | null): number {
    return this.done ? at : this.#read(bytes, at, end, from, to);
  }

  /**
   * The request is over, and so is every write that read from its image: their connections were let go before.
   * `keep`: the client's connection goes on, so what still comes of the body is taken, and thrown away (R12).
   */
  close(keep: boolean): void {
    const { image } = this;
    this.#context.kept -= this.#kept;
    this.#kept = 0;
    this.image = NO_IMAGE;
    this.stopped = true;
    if (!keep) this.done = true;
    if (image === NO_IMAGE || image.buffer.length > KEEP_IMAGE_BYTES) return;
    if (this.#context.images.length < KEEP_IMAGES) this.#context.images.push(image);
  }

  /** Writes what of the image has not been written on this connection; its head alone when the body is held (R9). */
  send(to: Wire, headOnly: boolean): number {
    const end = headOnly ? this.headBytes : this.image.length;
    if (end === this.#sent) return WRITE.done;
    const result = to.write(this.image.buffer.subarray(this.#sent, end));
    if (result !== WRITE.failed) this.#sent = end;
    return result;
  }

  /**
   * The head as `filter` has it, or as it was (null): an attempt may go to an app, the next one to another agent. Only
   * while the image is whole and nothing of it is being written, as at the beginning of an attempt.
   */
  filterHead(filter: Filter | null): void {
    if (filter === this.#filter) return;
    const { image, headBytes } = this;
    this.#filter = filter;
    this.#plain ??= Buffer.from(image.buffer.subarray(0, headBytes));
    const body = Buffer.from(image.buffer.subarray(headBytes, image.length));
    image.length = 0;
    image.bytes(this.#plain, 0, this.#plain.length);
    if (filter !== null) filterHead(image, 0, filter);
    this.headBytes = image.length;
    image.bytes(body, 0, body.length);
  }

  /** From the first byte again, on another connection. */
  rewind(): void {
    this.#sent = 0;
  }

  #read(bytes: Buffer, start: number, end: number, from: Wire | null, to: Wire | null): number {
    const reader = this.#reader;
    this.#context.scratch.length = 0;
    let at = start;
    for (;;) {
      const found = reader.next(bytes, at, end);
      at = reader.at;
      if (found === FOUND.bad) return -1;
      if (found === FOUND.more) break;
      if (found === FOUND.done) {
        this.done = true;
        if (this.#chunked && !this.stopped) this.#last(reader.trailer());
        break;
      }
      if (!this.stopped) this.#data(bytes, reader.from, reader.to, from, to);
    }
    if (from !== null && to !== null && !this.stopped) {
      if (!this.whole) flush(this.#context.scratch, from, to);
      else if (this.send(to, false) === WRITE.pending) from.pause();
    }
    return at;
  }

  #data(bytes: Buffer, start: number, end: number, from: Wire | null, to: Wire | null): void {
    const { scratch } = this.#context;
    if (from === null || to === null || (this.whole && this.#mayKeep(end - start))) {
      this.#kept += end - start;
      this.#context.kept += end - start;
      this.#append(this.image, bytes, start, end);
      return;
    }
    if (this.whole) {
      // Outgrown. What this read has put into the image already goes first.
      this.whole = false;
      scratch.bytes(this.image.buffer, this.#sent, this.image.length);
    }
    if (this.#chunked) this.#append(scratch, bytes, start, end);
    else pass(scratch, from, to, bytes, start, end);
  }

  #mayKeep(length: number): boolean {
    const { limits, kept } = this.#context;
    return this.image.length + length + 16 <= limits.replayBytes && kept + length <= limits.replayTotalBytes;
  }

  #append(out: Out, bytes: Buffer, start: number, end: number): void {
    if (this.#chunked) out.chunkSize(end - start);
    out.bytes(bytes, start, end);
    if (this.#chunked) out.crlf();
  }

  #last(trailer: Buffer | null): void {
    const out = this.whole ? this.image : this.#context.scratch;
    out.text(LAST_CHUNK);
    if (trailer !== null) out.bytes(trailer, 0, trailer.length);
    out.crlf();
  }
}
