/**
 * A file that lines are appended to in blocks, off the path of what writes them: pino's destination for the access log.
 * (pino's own, sonic-boom, stops the whole event loop when the disk is full: it tries again without pause.)
 *
 * Errors  a block that can't be written is dropped, and told once until one is written again; beyond PENDING_BYTES
 *         lines are dropped too. Only opening throws.
 */
import { closeSync, openSync, write, writeSync } from "node:fs";
import type { Clock, Timer } from "../../proto/kernel/clock.ts";

const BLOCK_BYTES = 16 << 10;
const PENDING_BYTES = 1 << 20;
const EVERY_MS = 500;

export class LineFile {
  readonly #fd: number;
  readonly #failed: (error: Error) => void;
  readonly #timer: Timer;
  #pending: string[] = [];
  #pendingBytes = 0;
  #writing = false;
  #told = false;

  /** Throws what the system says when the file can't be opened. */
  constructor(path: string, clock: Clock, failed: (error: Error) => void) {
    this.#fd = openSync(path, "a", 0o640);
    this.#failed = failed;
    this.#timer = clock.every(EVERY_MS, () => this.#flush(), { background: true });
  }

  /** `line` with its line feed. */
  write(line: string): void {
    if (this.#pendingBytes > PENDING_BYTES) return;
    this.#pending.push(line);
    this.#pendingBytes += line.length;
    if (this.#pendingBytes >= BLOCK_BYTES) this.#flush();
  }

  /** The last block, written before it returns. */
  close(): void {
    this.#timer.cancel();
    try {
      writeSync(this.#fd, this.#take());
      closeSync(this.#fd);
    } catch (error) {
      this.#failed(error as Error);
    }
  }

  #take(): Buffer {
    const block = Buffer.from(this.#pending.join(""));
    this.#pending = [];
    this.#pendingBytes = 0;
    return block;
  }

  #flush(): void {
    if (this.#writing || this.#pendingBytes === 0) return;
    this.#writing = true;
    write(this.#fd, this.#take(), (error) => {
      this.#writing = false;
      if (error !== null && !this.#told) this.#failed(error);
      this.#told = error !== null;
    });
  }
}
