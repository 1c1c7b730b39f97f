/**
 * A data path under test, with real sockets on both sides: a Proxy on a port of the kernel's choice, apps that are raw
 * sockets or node:http servers, and clients that are raw sockets, so that every byte is the test's own.
 */
import { EVERY_REQUEST, NO_FILTERS } from "../../proto/contract/spec/types.ts";
import { createServer as createHttpServer } from "node:http";
import type { RequestListener, Server as HttpServer } from "node:http";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import type { EndpointConfig, ServiceConfig, TableConfig } from "../../agent/proxy/config.ts";
import type { Limits } from "../../agent/proxy/limits.ts";
import { Proxy } from "../../agent/proxy/proxy.ts";
import { COUNTER } from "../../agent/proxy/stats-layout.ts";
import { parseStats } from "./stats-reader.ts";
import { memoryStatsFile } from "../../agent/proxy/stats-writer.ts";
import { CUT_CAUSES, LOSS_CAUSES } from "../../proto/contract/report.ts";
import type { Log } from "../../proto/kernel/log.ts";
import { seededRandom } from "../../proto/kernel/random.ts";
import { systemClock } from "../../proto/runtime/system-clock.ts";

export const KEY = "listener";

export interface Booked {
  readonly started: number;
  readonly inFlight: number;
  readonly completed: number;
  readonly retried: number;
  readonly drained: number;
  readonly clientGone: number;
  readonly tunnels: number;
  readonly eventStreams: number;
  readonly lost: Readonly<Record<string, number>>;
  readonly cut: Readonly<Record<string, number>>;
}

/** Waits until `check` answers without throwing and not false; the last error is thrown when time is up. */
export async function eventually<T>(check: () => T | Promise<T>, timeoutMs = 8_000): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    try {
      const value = await check();
      if (value !== false) return value;
      throw new Error("still false");
    } catch (error) {
      if (Date.now() > end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export interface App {
  readonly port: number;
  readonly close: () => Promise<void>;
  /** Those that Baton has not ended. */
  readonly sockets: Set<Socket>;
  /** Connections ever accepted. */
  accepted: number;
}

async function listening(server: Server | HttpServer): Promise<App> {
  const sockets = new Set<Socket>();
  const all = new Set<Socket>();
  const app = {
    port: 0,
    sockets,
    accepted: 0,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of all) socket.destroy();
      }),
  };
  server.on("connection", (socket: Socket) => {
    app.accepted += 1;
    sockets.add(socket);
    all.add(socket);
    socket.on("error", () => undefined);
    // Open as far as Baton is concerned: it has sent neither FIN nor RST.
    socket.on("end", () => sockets.delete(socket));
    socket.on("close", () => {
      sockets.delete(socket);
      all.delete(socket);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  app.port = (server.address() as AddressInfo).port;
  return app;
}

export const httpApp = (listener: RequestListener): Promise<App> =>
  listening(createHttpServer({ keepAliveTimeout: 30_000 }, listener));

/** An app that is a function of sockets. */
export const rawApp = (onSocket: (socket: Socket) => void): Promise<App> =>
  listening(createServer({ allowHalfOpen: true }, onSocket));

/** An app that gives the same answer to every head it has read, byte for byte. */
export const cannedApp = (answer: string): Promise<App> =>
  rawApp((socket) => {
    let seen = "";
    socket.on("data", (data) => {
      seen += data.toString("latin1");
      for (let end = seen.indexOf("\r\n\r\n"); end !== -1; end = seen.indexOf("\r\n\r\n")) {
        seen = seen.slice(end + 4);
        socket.write(answer, "latin1");
      }
    });
  });

/** A port that nothing listens on: it was free a moment ago. */
export async function deadPort(): Promise<number> {
  const app = await rawApp(() => undefined);
  await app.close();
  return app.port;
}

export const endpoint = (
  id: string,
  port: number,
  slot: number,
  more: Partial<EndpointConfig> = {},
): EndpointConfig => ({
  id,
  address: "127.0.0.1",
  port,
  kind: "app",
  mode: "serving",
  slot,
  ...more,
});

export const service = (endpoints: readonly EndpointConfig[], more: Partial<ServiceConfig> = {}): ServiceConfig => ({
  name: "shop",
  hostnames: [],
  rules: [
    {
      ...EVERY_REQUEST,
      ...NO_FILTERS,
      path: { type: "PathPrefix", value: "/" },
      timeouts: { requestMs: null },
      retry: { attempts: 2, methods: [] },
    },
  ],
  drain: { timeoutMs: 20_000, sseMs: 200, websocketMs: 300, killMs: 1_000, onTimeout: "cut" },
  accepting: true,
  slot: 0,
  sticky: null,
  routes: [],
  mirrors: [],
  versions: [{ revision: 1, version: "v1", weight: 10_000, endpoints }],
  ...more,
});

export class Kit {
  readonly proxy: Proxy;
  readonly failed: string[] = [];
  readonly records: Readonly<Record<string, unknown>>[] = [];
  port = 0;
  readonly #file = memoryStatsFile(32);
  readonly #apps: App[] = [];
  readonly #clients: Raw[] = [];
  #sequence = 0;

  private constructor(limits: Partial<Limits>) {
    const log: Log = {
      debug: () => undefined,
      info: (fields) => void this.records.push(fields),
      warn: () => undefined,
      error: () => undefined,
      child: () => log,
    };
    this.proxy = new Proxy({
      clock: systemClock,
      random: seededRandom(7),
      log,
      accessLog: log,
      stats: this.#file,
      onEndpointFailed: (id) => void this.failed.push(id),
      limits: { drainIdleMs: 200, lingerMs: 300, accessLogEvery: 1, ...limits },
    });
  }

  static async start(endpoints: readonly EndpointConfig[], limits: Partial<Limits> = {}): Promise<Kit> {
    const kit = new Kit(limits);
    kit.apply(service(endpoints));
    kit.port = (await kit.proxy.listen(KEY, { host: "127.0.0.1", port: 0 })).port;
    return kit;
  }

  apply(...services: readonly ServiceConfig[]): void {
    const config: TableConfig = {
      sequence: this.#sequence++,
      agent: "edge",
      listeners: [{ key: KEY, services: services.map((_, index) => index) }],
      services,
    };
    const result = this.proxy.apply(config);
    if (result.kind !== "ok") throw new Error(result.why);
  }

  /** Apps that end with the kit. */
  keep(...apps: readonly App[]): void {
    this.#apps.push(...apps);
  }

  client(): Promise<Raw> {
    return Raw.open(this.port).then((raw) => {
      this.#clients.push(raw);
      return raw;
    });
  }

  /** One request on a connection of its own. */
  async ask(text: string): Promise<Response> {
    const client = await this.client();
    client.send(text);
    return await client.response(text.startsWith("HEAD"));
  }

  get(path = "/"): Promise<Response> {
    return this.ask(`GET ${path} HTTP/1.1\r\nHost: shop\r\n\r\n`);
  }

  /** One of a slot's COUNTERs. */
  async count(slot: number, name: keyof typeof COUNTER): Promise<number> {
    return (await this.#counters(slot))[COUNTER[name]] ?? 0;
  }

  async #counters(slot: number): Promise<Float64Array> {
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    const read = parseStats(this.#file.bytes);
    if (read.kind !== "ok") throw new Error(read.kind);
    return read.stats.counters(slot);
  }

  async books(slot: number): Promise<Booked> {
    const counters = await this.#counters(slot);
    const at = (index: number): number => counters[index] ?? 0;
    const named = (causes: readonly string[], from: number): Record<string, number> =>
      Object.fromEntries(causes.map((cause, i) => [cause, at(from + i)] as const).filter(([, count]) => count > 0));
    return {
      started: at(COUNTER.started),
      inFlight: at(COUNTER.inFlight),
      completed: at(COUNTER.completed),
      retried: at(COUNTER.retried),
      drained: at(COUNTER.drained),
      clientGone: at(COUNTER.clientGone),
      tunnels: at(COUNTER.tunnels),
      eventStreams: at(COUNTER.eventStreams),
      lost: named(LOSS_CAUSES, COUNTER.lost),
      cut: named(CUT_CAUSES, COUNTER.cut),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.socket.destroy();
    await this.proxy.close();
    await Promise.all(this.#apps.map((app) => app.close()));
  }
}

export interface Response {
  readonly status: number;
  readonly head: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** A client that is a socket: it sends what it is told, and reads answers by their own framing. */
export class Raw {
  readonly socket: Socket;
  received = Buffer.alloc(0);
  ended = false;
  closed = false;
  error: Error | null = null;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (data: Buffer) => (this.received = Buffer.concat([this.received, data])));
    socket.on("end", () => (this.ended = true));
    socket.on("error", (error) => (this.error = error));
    socket.on("close", () => (this.closed = this.ended = true));
  }

  static open(port: number): Promise<Raw> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        resolve(new Raw(socket));
      });
    });
  }

  send(data: string | Buffer): void {
    if (typeof data === "string") this.socket.write(data, "latin1");
    else this.socket.write(data);
  }

  get text(): string {
    return this.received.toString("latin1");
  }

  take(bytes: number): Buffer {
    const taken = this.received.subarray(0, bytes);
    this.received = this.received.subarray(bytes);
    return taken;
  }

  until(text: string): Promise<void> {
    return eventually(() => {
      if (!this.text.includes(text)) throw new Error(`no ${JSON.stringify(text)} in ${JSON.stringify(this.text)}`);
    });
  }

  end(): Promise<boolean> {
    return eventually(() => this.ended);
  }

  /** The next whole answer, taken off what was received. */
  async response(toHead = false): Promise<Response> {
    const headEnd = await eventually(() => {
      const at = this.received.indexOf("\r\n\r\n");
      if (at === -1) throw new Error(`no head yet: ${JSON.stringify(this.text)} ended=${String(this.ended)}`);
      return at + 4;
    });
    const head = this.take(headEnd).toString("latin1");
    const [line = "", ...lines] = head.trimEnd().split("\r\n");
    const headers: Record<string, string> = {};
    for (const text of lines) {
      const colon = text.indexOf(":");
      headers[text.slice(0, colon).toLowerCase()] = text.slice(colon + 1).trim();
    }
    const status = Number(line.split(" ")[1]);
    const none = toHead || status < 200 || status === 204 || status === 304;
    const length = headers["content-length"];
    let body = Buffer.alloc(0);
    if (!none && headers["transfer-encoding"] === "chunked") body = await this.#chunks();
    else if (!none && length !== undefined) {
      await eventually(() => this.received.length >= Number(length) || this.ended, 25_000);
      body = Buffer.from(this.take(Number(length)));
    } else if (!none) {
      await this.end();
      body = Buffer.from(this.take(this.received.length));
    }
    return { status, head, headers, body };
  }

  async #chunks(): Promise<Buffer<ArrayBuffer>> {
    const parts: Buffer[] = [];
    for (;;) {
      const line = await eventually(() => {
        const at = this.received.indexOf("\r\n");
        if (at === -1) throw new Error("no chunk size yet");
        return at;
      });
      const size = parseInt(this.take(line + 2).toString("latin1"), 16);
      await eventually(() => this.received.length >= size + 2, 25_000);
      parts.push(Buffer.from(this.take(size)));
      this.take(2);
      if (size === 0) return Buffer.concat(parts);
    }
  }
}
