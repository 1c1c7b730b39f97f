/**
 * Accepts connections on one listener. The descriptor is the keeper's (inherited) and shared by all generations of
 * workers, so closing here takes nothing from the kernel's queue that the next one would not get (R4).
 */
import { createServer } from "node:net";
import type { AddressInfo, Server } from "node:net";
import type { Ground } from "./ground.ts";
import { Wire } from "./sockets.ts";
import type { WireOwner } from "./sockets.ts";

export type ListenAt = { readonly fd: number } | { readonly host: string; readonly port: number };

const BACKLOG = 4_096;
/** Between two lines of the log about connections that can't be accepted. */
const QUIET_MS = 1_000;

export class Listener {
  readonly #server: Server;
  readonly #key: string;
  readonly #ground: Ground;
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(
    ground: Ground,
    key: string,
    onAccept: (address: string, open: (owner: WireOwner) => Wire) => void,
    rewrap: boolean,
  ) {
    this.#ground = ground;
    this.#key = key;
    this.#server = createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true });
    this.#server.on("connection", (socket) => {
      const address = socket.remoteAddress;
      // It has gone again already.
      if (address === undefined) socket.destroy();
      else onAccept(plain(address), (owner) => Wire.accept(socket, owner, ground.buffers, rewrap));
    });
  }

  listen(at: ListenAt): Promise<AddressInfo> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ ...at, backlog: BACKLOG }, () => {
        this.#server.off("error", reject);
        this.#server.on("error", (error) => this.#failed(error));
        resolve(this.#server.address() as AddressInfo);
      });
    });
  }

  /** Too many open files, as a rule: the connection waits in the queue, the ones that run go on, the log stays short. */
  #failed(error: Error): void {
    const { wheel, log } = this.#ground;
    if (wheel.now - this.#toldAt < QUIET_MS) return;
    this.#toldAt = wheel.now;
    log.error({ err: error, listener: this.#key }, "a connection could not be accepted");
  }

  close(): void {
    this.#server.close();
  }
}

/** An IPv4 client on a dual-stack listener is an IPv4 client. */
const plain = (address: string): string => (address.startsWith("::ffff:") ? address.slice(7) : address);
