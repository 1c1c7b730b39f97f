/** A connection to NATS as a port: made by proto/runtime/nats.ts, given to whatever speaks over it. */
import type { Msg, NatsConnection } from "nats";

/** Copies of every bucket: three wherever the servers are a cluster, so that one of them may go. */
export const copiesOn = ({ info }: NatsConnection): number => (info?.cluster === undefined ? 1 : 3);

export interface NatsLink {
  /**
   * Connects itself again for ever once it was opened. While `connected` is false publish nothing over it: the client
   * keeps what it can't send, without a bound.
   */
  readonly connection: NatsConnection;
  readonly connected: boolean;
  /** Why it is not connected, one sentence with the remedy; "" while it is. */
  readonly trouble: string;
  /** Calls `listener` with each change of `connected`, until the answer is called. After a change to true nothing that was heard or said before can be relied on. */
  follow(listener: (connected: boolean) => void): () => void;
  /**
   * Hands on what is said on a subject, until the answer is called. While the servers forbid it, it is asked for again
   * every few seconds, so that a grant needs no restart.
   */
  listen(subject: string, heard: (message: Msg) => void): () => void;
  /** What was published is sent; idempotent. */
  close(): Promise<void>;
}
