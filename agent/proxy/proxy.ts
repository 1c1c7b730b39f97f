/**
 * The data path's entry. See agent/DESIGN.md, "The data path".
 *
 *   const proxy = new Proxy({ clock, random, log, accessLog, stats, onEndpointFailed });
 *   proxy.apply(table);                     // before listen: a request that finds no table is answered 503
 *   await proxy.listen(key, { fd });        // an inherited descriptor, or { host, port }
 *   await proxy.drain();                    // accepts nothing more, resolves when nothing is left
 *   await proxy.close();                    // at once: what is open is destroyed, the counts are written
 */
import type { AddressInfo } from "node:net";
import type { Clock } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";
import type { Random } from "../../proto/kernel/random.ts";
import { AccessLog } from "./access-log.ts";
import type { TableConfig } from "./config.ts";
import type { Context } from "./context.ts";
import type { Ground } from "./ground.ts";
import { ClientConnection } from "./http1/client.ts";
import type { ClientOwner } from "./http1/client.ts";
import { Out } from "./http1/out.ts";
import { RequestHead } from "./http1/request.ts";
import { ResponseHead } from "./http1/response.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import type { Limits } from "./limits.ts";
import { Listener } from "./listener.ts";
import type { ListenAt } from "./listener.ts";
import { ReadBuffers, rewrapWorks } from "./sockets.ts";
import { Mirrors } from "./mirror/mirrors.ts";
import { Stats } from "./stats-writer.ts";
import type { StatsFile } from "./stats-writer.ts";
import { Subject } from "./subject.ts";
import { EMPTY_TABLE, compileTable } from "./table.ts";
import { Wheel } from "./wheel.ts";

export type { ListenAt };

export interface ProxyOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Where access records go; null writes none. */
  readonly accessLog: Log | null;
  /** `openStatsFile(path, LIMITS.statSlots)`, or `memoryStatsFile` in tests. Closed by `close`, and when `drain` is done. */
  readonly stats: StatsFile;
  /** R6: an endpoint was ejected because traffic to it failed; `endpoint` is its id. Said once per ejection. */
  readonly onEndpointFailed: (endpoint: string, error: string) => void;
  /** Any of limits.ts, for tests and tuning. */
  readonly limits?: Partial<Limits>;
}

export type ApplyResult =
  | { readonly kind: "ok"; readonly sequence: number }
  /** `why` is one sentence for an operator; the old table stays. */
  | { readonly kind: "rejected"; readonly why: string };

/** One downstream connection, for the admin's `/connections`. */
export interface ConnectionInfo {
  readonly client: string;
  readonly listener: string;
  readonly state: "idle" | "reading" | "waiting" | "answering" | "tunnel" | "closing";
  readonly service: string;
  readonly endpoint: string;
  readonly protocol: "http" | "event-stream" | "websocket" | "upgrade";
  /** How long it has been open, and how many requests it has carried. */
  readonly ageMs: number;
  readonly requests: number;
}

export class Proxy implements ClientOwner {
  readonly #context: Context;
  readonly #listeners: Listener[] = [];
  readonly #clients = new Set<ClientConnection>();
  #rewrap: Promise<boolean> | null = null;
  #drained: PromiseWithResolvers<undefined> | null = null;
  #closed = false;

  constructor(options: ProxyOptions) {
    const { clock, random, log } = options;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    let told = false;
    const stats = new Stats(options.stats, clock, (error) => {
      if (!told) log.error({ err: error }, "counts can't be written to the statistics file");
      told = true;
    });
    const { onEndpointFailed } = options;
    const wheel = new Wheel(clock, setImmediate);
    const buffers = new ReadBuffers(limits);
    const ground: Ground = { clock, random, log, limits, wheel, stats, buffers, onEndpointFailed };
    const request = new RequestHead(limits);
    this.#context = {
      ...ground,
      accessLog: new AccessLog(options.accessLog, limits.accessLogEvery, clock),
      request,
      subject: new Subject(request),
      mirrors: new Mirrors(ground),
      response: new ResponseHead(limits),
      scratch: new Out(limits.readBytes * 2),
      images: [],
      table: EMPTY_TABLE,
      drainingSince: -1,
      hurry: false,
      active: 0,
      retrying: 0,
      kept: 0,
    };
  }

  /** Accepts on `key`'s listener; rejects when the address can't be listened on. */
  async listen(key: string, at: ListenAt): Promise<AddressInfo> {
    const context = this.#context;
    this.#rewrap ??= rewrapWorks(context.clock);
    const rewrap = await this.#rewrap;
    if (!rewrap) context.log.warn({}, "this Node does not let accepted sockets read by onread; reading by events");
    const listener = new Listener(context, key, (address, open) => this.#accept(key, address, open), rewrap);
    const address = await listener.listen(at);
    if (this.#closed || this.#drained !== null) listener.close();
    else this.#listeners.push(listener);
    return address;
  }

  /** Compiles and swaps the table in one step. Touches no stream it does not concern; never throws. */
  apply(config: TableConfig): ApplyResult {
    const context = this.#context;
    try {
      const compiled = compileTable(context, config, context.table);
      if (compiled.kind === "rejected") return compiled;
      context.table = compiled.table;
    } catch (error) {
      return { kind: "rejected", why: `table: ${(error as Error).message}` };
    }
    // Those whose endpoint has just begun to drain, or no longer does, are seen to; the others have nothing to do.
    for (const client of this.#clients) client.leave();
    return { kind: "ok", sequence: config.sequence };
  }

  /**
   * The gentle stop: idempotent, coalescing on one promise, which resolves when no connection is left. Said again it may
   * be with `hurry`, and is never without it any more.
   */
  drain(hurry = true): Promise<void> {
    const context = this.#context;
    const first = this.#drained === null;
    this.#drained ??= Promise.withResolvers<undefined>();
    if (!first && (!hurry || context.hurry)) return this.#drained.promise;
    context.hurry = hurry;
    if (first) context.drainingSince = context.wheel.now;
    for (const listener of this.#listeners.splice(0)) listener.close();
    for (const client of [...this.#clients]) client.leave();
    this.#whenEmpty();
    return this.#drained.promise;
  }

  /** The prompt stop: idempotent. */
  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      const { wheel, accessLog, stats, table } = this.#context;
      for (const listener of this.#listeners.splice(0)) listener.close();
      for (const client of [...this.#clients]) client.abort(false);
      for (const endpoint of table.endpoints.values()) endpoint.close();
      wheel.close();
      accessLog.close();
      stats.close();
      this.#drained?.resolve(undefined);
    }
    return Promise.resolve();
  }

  connections(limit: number): ConnectionInfo[] {
    const list: ConnectionInfo[] = [];
    for (const client of this.#clients) {
      if (list.length >= limit) break;
      list.push(this.#describe(client));
    }
    return list;
  }

  onClientGone(client: ClientConnection): void {
    this.#clients.delete(client);
    this.#context.stats.downstream(-1, 0);
    this.#whenEmpty();
  }

  #accept(key: string, address: string, open: ConstructorParameters<typeof ClientConnection>[4]): void {
    const context = this.#context;
    context.stats.downstream(1, 1);
    const client = new ClientConnection(context, this, key, address, open);
    this.#clients.add(client);
    if (this.#clients.size > context.limits.connections) client.turnAway();
  }

  #whenEmpty(): void {
    if (this.#drained !== null && this.#clients.size === 0 && !this.#closed) void this.close();
  }

  #describe(client: ClientConnection): ConnectionInfo {
    const { exchange } = client;
    const { kind } = exchange;
    const waiting = exchange.phase === "waiting" || exchange.phase === "sent";
    return {
      client: client.address,
      listener: client.listener,
      state:
        client.phase === "busy"
          ? waiting
            ? "waiting"
            : "answering"
          : client.phase === "head" || client.phase === "discarding"
            ? "reading"
            : client.phase === "gone"
              ? "closing"
              : client.phase,
      service: exchange.service?.name ?? "",
      endpoint: exchange.tries.endpoint?.id ?? "",
      protocol: kind === "plain" ? "http" : kind,
      ageMs: Math.round(this.#context.wheel.now - client.openedAt),
      requests: client.requests,
    };
  }
}
