/**
 * A container's output, followed into the instance's file, where a process's goes by itself. The file's time of change is set to
 * the time of the newest line in it, so that the next core goes on behind it and nothing stands there twice.
 *
 * Source  Docker Engine API, "Attach to a container": frames of an 8-byte head (stream, 0, 0, 0, length) and one message,
 *         which begins with its time.
 * Errors  none: what can't be read or written is not there; the log says it once a container.
 */
import { appendFileSync, statSync, utimesSync } from "node:fs";
import type { Log } from "../../../../proto/kernel/log.ts";
import type { Engine } from "./engine.ts";

const HEAD = 8;
/** The engine cuts lines at 16 KiB. */
const MAX_FRAME = 1 << 20;

export class LogFollower {
  /** Resolves when the engine has said all of it, or can't. */
  readonly done: Promise<void>;
  #following = true;
  readonly #path: string;
  readonly #log: Log;
  readonly #cut = new AbortController();

  constructor(engine: Engine, container: string, path: string, log: Log) {
    this.#path = path;
    this.#log = log;
    this.done = this.#follow(engine, container).finally(() => (this.#following = false));
  }

  get following(): boolean {
    return this.#following;
  }

  stop(): void {
    this.#cut.abort();
  }

  async #follow(engine: Engine, container: string): Promise<void> {
    try {
      const stream = await engine.logs(container, writtenUntil(this.#path), this.#cut.signal);
      let rest: Buffer = Buffer.alloc(0);
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        const { messages, left } = frames(rest.length === 0 ? chunk : Buffer.concat([rest, chunk]));
        rest = left;
        this.#write(messages);
      }
    } catch (error) {
      if (!this.#cut.signal.aborted) this.#log.debug({ err: error, container }, "output can't be followed");
    }
  }

  #write(messages: readonly Buffer[]): void {
    const parts: Buffer[] = [];
    let newest = 0;
    for (const message of messages) {
      const space = message.indexOf(0x20);
      newest = Math.max(newest, seconds(message.subarray(0, space).toString("latin1")));
      parts.push(message.subarray(space + 1));
    }
    if (parts.length === 0) return;
    appendFileSync(this.#path, Buffer.concat(parts), { mode: 0o600 });
    if (newest > 0) utimesSync(this.#path, newest, newest);
  }
}

/** Seconds since the epoch: behind the newest line. */
function writtenUntil(path: string): number {
  try {
    const micros = Math.round(statSync(path).mtimeMs * 1_000) + 1;
    return micros / 1e6;
  } catch {
    return 0;
  }
}

/** `2026-01-02T03:04:05.123456789Z`: whole seconds and fraction apart, for Date holds milliseconds only. */
export function seconds(text: string): number {
  const found = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z$/.exec(text);
  if (found === null) return 0;
  return Date.parse(`${found[1] ?? ""}Z`) / 1_000 + Number(`0${found[2] ?? ""}`);
}

export function frames(bytes: Buffer): { readonly messages: readonly Buffer[]; readonly left: Buffer } {
  const messages: Buffer[] = [];
  let at = 0;
  while (bytes.length - at >= HEAD) {
    const length = bytes.readUInt32BE(at + 4);
    if (length > MAX_FRAME) throw new Error(`a frame of ${String(length)} bytes`);
    if (bytes.length - at - HEAD < length) break;
    messages.push(bytes.subarray(at + HEAD, at + HEAD + length));
    at += HEAD + length;
  }
  return { messages, left: bytes.subarray(at) };
}
