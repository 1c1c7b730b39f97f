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
import type { TableConfig } from "./config.ts";
import type { Limits } from "./limits.ts";
import type { StatsFile } from "./stats-writer.ts";

export interface ProxyOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Where access records go; null writes none. */
  readonly accessLog: Log | null;
  /** `openStatsFile(path, LIMITS.statSlots)`, or `memoryStatsFile` in tests. Closed by `close` and at the end of `drain`. */
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

export type ListenAt = { readonly fd: number } | { readonly host: string; readonly port: number };

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

export declare class Proxy {
  constructor(options: ProxyOptions);
  /** Accepts on `key`'s listener; rejects when the address can't be listened on. */
  listen(key: string, at: ListenAt): Promise<AddressInfo>;
  /** Compiles and swaps the table in one step. Touches no stream it does not concern; never throws. */
  apply(config: TableConfig): ApplyResult;
  /** The gentle stop: idempotent, coalescing on one promise, which resolves when no connection is left. */
  drain(): Promise<void>;
  /** The prompt stop: idempotent. */
  close(): Promise<void>;
  connections(limit: number): ConnectionInfo[];
}
