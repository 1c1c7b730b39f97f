/**
 * A TCP relay that stands between two of Baton's processes, so that a test can part them without touching either, and
 * without root.
 *
 *   pass     bytes go to and fro
 *   cut      connections are reset, new ones too: the other side is unreachable, and says so
 *   hole     nothing arrives and nobody is told: half-open connections, as behind a firewall that forgot them. What is
 *            sent meanwhile waits in buffers, and arrives late when the hole is over
 *   delay    every chunk waits `ms`, both ways
 *   trickle  what the client says goes through at `bytesPerSecond`: its queue fills while the server's words arrive
 *
 * Errors   none is thrown: a connection that fails on one side is reset on the other.
 * Bounds   one buffer of the stream's own (64 KiB) each way; beyond it the sender's writes stand still.
 */
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { once } from "node:events";

export type RelayMode =
  | { readonly kind: "pass" }
  | { readonly kind: "cut" }
  | { readonly kind: "hole" }
  | { readonly kind: "delay"; readonly ms: number }
  | { readonly kind: "trickle"; readonly bytesPerSecond: number };

const PASS: RelayMode = { kind: "pass" };

export class Relay implements AsyncDisposable {
  readonly #server: Server;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #sockets = new Set<Socket>();
  #mode: RelayMode = PASS;
  /** Settled when the mode becomes another. */
  #changed = Promise.withResolvers<undefined>();

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.#target = target;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) => {
      void this.#carry(client);
    });
  }

  static async start(target: { readonly host: string; readonly port: number }, port: number): Promise<Relay> {
    const relay = new Relay(target);
    relay.#server.listen(port, "127.0.0.1");
    await once(relay.#server, "listening");
    return relay;
  }

  /** host:port */
  get address(): string {
    return `127.0.0.1:${String((this.#server.address() as AddressInfo).port)}`;
  }

  get mode(): RelayMode {
    return this.#mode;
  }

  set(mode: RelayMode): void {
    this.#mode = mode;
    if (mode.kind === "cut") for (const socket of this.#sockets) socket.resetAndDestroy();
    this.#changed.resolve(undefined);
    this.#changed = Promise.withResolvers();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.set({ kind: "cut" });
    await new Promise<void>((done) => this.#server.close(() => done()));
  }

  async #carry(client: Socket): Promise<void> {
    this.#keep(client);
    // The kernel has taken the connection already; whoever is behind a hole is not there to be asked.
    while (this.#mode.kind === "hole") await this.#changed.promise;
    if (this.#mode.kind === "cut") {
      client.resetAndDestroy();
      return;
    }
    const server = connect({ ...this.#target, allowHalfOpen: true, noDelay: true });
    this.#keep(server);
    const over = (): void => {
      client.resetAndDestroy();
      server.resetAndDestroy();
    };
    await Promise.all([this.#pump(client, server, true), this.#pump(server, client, false)]).catch(over);
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    socket.on("error", () => undefined); // told by the loop that reads it
  }

  async #pump(from: Socket, to: Socket, up: boolean): Promise<void> {
    // One half may end before the other: its end must not take the whole socket with it.
    for await (const chunk of from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      await this.#gate(chunk.length, up);
      if (to.destroyed) throw new Error("the other side is gone");
      if (!to.write(chunk)) await Promise.race([once(to, "drain"), once(to, "close")]);
    }
    await this.#gate(0, up);
    to.end();
  }

  /** Resolves when so many bytes may go on. */
  async #gate(bytes: number, up: boolean): Promise<void> {
    while (this.#mode.kind === "hole") await this.#changed.promise;
    if (this.#mode.kind === "cut") throw new Error("cut");
    const ms = this.#waitMs(bytes, up);
    if (ms === 0) return;
    const timer = Promise.withResolvers<undefined>();
    const handle = setTimeout(() => timer.resolve(undefined), ms);
    // Whatever the mode becomes, what waited for the old one goes on under the new one.
    await Promise.race([timer.promise, this.#changed.promise]);
    clearTimeout(handle);
    while (this.#modeNow() === "hole") await this.#changed.promise;
  }

  #modeNow(): RelayMode["kind"] {
    return this.#mode.kind;
  }

  #waitMs(bytes: number, up: boolean): number {
    if (this.#mode.kind === "delay") return this.#mode.ms;
    if (this.#mode.kind === "trickle" && up) return (bytes / this.#mode.bytesPerSecond) * 1_000;
    return 0;
  }
}
