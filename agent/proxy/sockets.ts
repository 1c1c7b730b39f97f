/**
 * A connection as the data path sees it: bytes come in one callback, in a buffer that is good until it returns; bytes
 * go out in one write that says whether it is done. All that touches Node's private corners is here.
 *
 * Reading  `onread`, without streams: a third of the price of a request (DESIGN §5). For sockets that we open it is
 *          public; accepted ones are taken paused and their handle is wrapped anew in a Socket with `onread`. That is
 *          the private corner: `rewrapWorks` tries it once at start, and without it `data` events do the same.
 * Buffers  All connections of a worker read into one shared buffer. Whoever keeps a byte of it copies it: libuv may be
 *          about to read the next socket into the same memory. A connection whose reads fill it gets a bulk buffer of
 *          its own. Only from that one may a write borrow (`lend`): the connection is paused until the write is done.
 * Errors   they come once, with `onClosed`; a write on a broken connection answers FAILED.
 */
import { readSync } from "node:fs";
import { Socket, connect as netConnect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import type { Clock } from "../../proto/kernel/clock.ts";

export interface WireOwner {
  /** `bytes[0, length)` came in; they must be used or copied before this returns. */
  onBytes(bytes: Buffer, length: number): void;
  /** The peer has sent its FIN. */
  onEnd(): void;
  /** Everything written has left; said only after a write that answered PENDING. */
  onFlushed(): void;
  /** The last word. */
  onClosed(error: Error | null): void;
}

/** What a write says of itself. */
export const WRITE = {
  /** The kernel has it all. */
  done: 0,
  /** The bytes are still being read from: don't touch them before `onFlushed`. */
  pending: 1,
  /** The connection is broken; not one byte of this write was taken. */
  failed: 2,
} as const;

/** The read buffers of a worker. */
export class ReadBuffers {
  readonly shared: Buffer;
  readonly #bulkBytes: number;
  readonly #free: Buffer[] = [];

  constructor(sizes: { readonly readBytes: number; readonly bulkBytes: number }) {
    this.shared = Buffer.allocUnsafeSlow(sizes.readBytes);
    this.#bulkBytes = sizes.bulkBytes;
  }

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bulkBytes);
  }

  give(buffer: Buffer): void {
    if (this.#free.length < 16) this.#free.push(buffer);
  }
}

const EMPTY = Buffer.alloc(0);
/** After this many reads that a shared buffer could have held, a bulk buffer goes back. */
const SMALL_READS = 16;

export class Wire {
  readonly socket: Socket;
  owner: WireOwner;
  /** Reading is stopped. */
  paused = false;
  /** The peer's FIN has been seen. */
  ended = false;
  /** Our FIN has been sent, or will be behind what is pending. */
  finished = false;
  closed = false;
  #pending = false;
  readonly #buffers: ReadBuffers;
  #bulk: Buffer | null = null;
  /** What onread reads into next. */
  #buffer: Buffer;
  #small = 0;
  #lent = false;
  #error: Error | null = null;
  readonly #flushed = (error?: Error | null): void => {
    this.#pending = false;
    if (!this.closed && (error === undefined || error === null)) this.owner.onFlushed();
  };

  private constructor(owner: WireOwner, buffers: ReadBuffers, open: (wire: Wire) => Socket) {
    this.owner = owner;
    this.#buffers = buffers;
    this.#buffer = buffers.shared;
    const socket = open(this);
    this.socket = socket;
    socket.on("end", () => {
      this.ended = true;
      if (!this.closed) this.owner.onEnd();
    });
    socket.on("error", (error) => (this.#error ??= error));
    socket.on("close", () => {
      this.closed = true;
      if (this.#bulk !== null && !this.#lent && !this.#pending) this.#buffers.give(this.#bulk);
      this.#bulk = null;
      this.owner.onClosed(this.#error);
    });
  }

  /** An accepted socket of a server with `pauseOnConnect`; `rewrap` as `rewrapWorks` found it. */
  static accept(accepted: Socket, owner: WireOwner, buffers: ReadBuffers, rewrap: boolean): Wire {
    return new Wire(owner, buffers, (wire) => {
      const inner = rewrap ? takeHandle(accepted, wire.#onread()) : accepted;
      if (inner === accepted) {
        inner.on("data", (bytes: Buffer) => wire.#read(bytes, bytes.length));
        inner.allowHalfOpen = true;
      }
      inner.resume();
      return inner;
    });
  }

  static connect(
    to: { readonly host: string; readonly port: number },
    owner: WireOwner,
    buffers: ReadBuffers,
    onConnected: () => void,
  ): Wire {
    return new Wire(owner, buffers, (wire) => {
      const options = { ...to, onread: wire.#onread(), allowHalfOpen: true, noDelay: true };
      const socket = netConnect(options, onConnected);
      wire.#hearOut(socket);
      socket.resume();
      return socket;
    });
  }

  /** A write has not left yet. */
  get pending(): boolean {
    return this.#pending;
  }

  /** Bytes of ours that the kernel has not taken. */
  get unsent(): number {
    // Private, and only read: the stream's own length counts a chunk until its last byte has left.
    const handle = (this.socket as unknown as { _handle?: { writeQueueSize?: number } | null })._handle;
    return handle?.writeQueueSize ?? this.socket.writableLength;
  }

  /** A write elsewhere still reads from this connection's buffer. */
  get lent(): boolean {
    return this.#lent;
  }

  /** Bytes handed to it so far, those that wait included. */
  get written(): number {
    return this.socket.bytesWritten;
  }

  /** The buffer of the read that is being handled is this connection's own, so a write may borrow from it. */
  get bulk(): boolean {
    return this.#bulk !== null && this.#buffer === this.#bulk;
  }

  write(bytes: Buffer | string): number {
    const { socket } = this;
    if (this.closed || this.finished || socket.destroyed) return WRITE.failed;
    if (typeof bytes === "string") socket.write(bytes, "latin1");
    else socket.write(bytes);
    if (socket.errored !== null) return WRITE.failed;
    if (socket.writableLength === 0) return WRITE.done;
    if (!this.#pending) {
      // An empty write behind the others: its callback says when they have left, whatever the high-water mark.
      this.#pending = true;
      socket.write(EMPTY, this.#flushed);
    }
    return WRITE.pending;
  }

  /** Stops reading at once. */
  pause(): void {
    if (this.paused) return;
    this.paused = true;
    this.socket.pause();
  }

  resume(): void {
    this.#lent = false;
    if (!this.paused) return;
    this.paused = false;
    this.socket.resume();
  }

  /** A pending write borrows from the bulk buffer: nothing is read until `resume`. */
  lend(): void {
    this.#lent = true;
    this.pause();
  }

  /** FIN, behind what is pending. Reading goes on. */
  end(): void {
    if (this.finished || this.closed) return;
    this.finished = true;
    this.socket.end();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** RST: for an end that must not look like one. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  #onread(): { readonly buffer: () => Buffer; readonly callback: (length: number, bytes: Uint8Array) => boolean } {
    return {
      buffer: () => this.#buffer,
      callback: (length, bytes) => {
        this.#read(bytes as Buffer, length);
        this.#size(length, bytes.length);
        return true;
      },
    };
  }

  /**
   * An app that refuses an upload early and closes resets the connection: our next write fails, and Node destroys the
   * socket with the app's answer unread in the kernel (R12). So before it is closed for a failed write, what it has
   * received is read out.
   */
  #hearOut(socket: Socket): void {
    const destroy = socket._destroy.bind(socket);
    socket._destroy = (error, done) => {
      const { fd } = (socket as unknown as { _handle?: { fd?: number } | null })._handle ?? {};
      if (fd !== undefined && fd >= 0 && isFailedWrite(error)) this.#salvage(fd);
      destroy(error, done);
    };
  }

  #salvage(fd: number): void {
    const { shared } = this.#buffers;
    try {
      for (let length = readSync(fd, shared); length > 0; length = readSync(fd, shared)) this.#read(shared, length);
    } catch {
      // EAGAIN or ECONNRESET: that was all.
    }
  }

  #read(bytes: Buffer, length: number): void {
    if (!this.closed) this.owner.onBytes(bytes, length);
  }

  #size(length: number, capacity: number): void {
    if (this.#bulk === null) {
      if (length === capacity && !this.closed) {
        this.#bulk = this.#buffer = this.#buffers.take();
        this.#small = 0;
      }
      return;
    }
    if (length > this.#buffers.shared.length) this.#small = 0;
    else if (++this.#small > SMALL_READS && !this.#lent) {
      this.#buffers.give(this.#bulk);
      this.#bulk = null;
      this.#buffer = this.#buffers.shared;
    }
  }
}

const isFailedWrite = (error: NodeJS.ErrnoException | null): boolean => error?.syscall === "write";

/** Node's handle under an accepted socket, in a new Socket that reads by `onread`. The old one is left empty. */
function takeHandle(accepted: Socket, onread: object): Socket {
  const shell = accepted as unknown as { _handle: unknown };
  const handle = shell._handle;
  if (handle === null || handle === undefined) return accepted;
  shell._handle = null;
  return new Socket({ handle, onread, allowHalfOpen: true } as object);
}

/** Some turns of the event loop: time enough for bytes that a pause failed to hold. */
function turns(count: number, then: () => void): void {
  if (count === 0) then();
  else setImmediate(() => turns(count - 1, then));
}

/**
 * Tries the private corner on a loopback connection: bytes, a pause that holds, and the end must come through it as
 * they come through the public way.
 */
export function rewrapWorks(clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    const buffers = new ReadBuffers({ readBytes: 64, bulkBytes: 64 });
    const seen: string[] = [];
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
    let client: Socket | null = null;
    const finish = (works: boolean): void => {
      limit.cancel();
      client?.destroy();
      server.close();
      resolve(works);
    };
    const limit = clock.after(2_000, () => finish(false), { background: true });
    server.on("error", () => finish(false));
    server.on("connection", (accepted) => {
      try {
        const wire = Wire.accept(
          accepted,
          {
            onBytes: (bytes, length) => {
              seen.push(bytes.toString("latin1", 0, length));
              if (seen.length > 1) return;
              wire.pause();
              wire.write("ready");
              turns(8, () => {
                if (seen.length > 1) finish(false);
                wire.resume();
              });
            },
            onEnd: () => {
              finish(seen.join("|") === "one|two" && wire.socket !== accepted);
              wire.destroy();
            },
            onFlushed: () => undefined,
            onClosed: () => undefined,
          },
          buffers,
          true,
        );
      } catch {
        finish(false);
      }
    });
    server.listen(0, "127.0.0.1", () => {
      client = netConnect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1" });
      client.on("error", () => finish(false));
      client.on("data", () => client?.end("two"));
      client.write("one");
    });
  });
}
