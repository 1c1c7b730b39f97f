/** The client's connection, as an exchange sees it; client.ts is the real one. */
import type { Wire } from "../sockets.ts";

export interface Client {
  readonly wire: Wire;
  readonly address: string;
  readonly listener: string;
  /** X-Forwarded-For and Via, as field lines. */
  readonly hopLines: Buffer;
  /** Bytes behind this request have been read already. */
  readonly hasMore: boolean;
  /** The exchange is over; `keep`: the connection may carry another one. */
  onExchangeDone(keep: boolean): void;
  /** It has become a tunnel: what was read ahead belongs to that. */
  onTunnel(): void;
  /** The client takes its time: see that it does not take for ever. */
  onWritePending(): void;
  /** An end that must not look like one, before `onExchangeDone`: nothing more in order can be said. */
  abort(reset: boolean): void;
}
