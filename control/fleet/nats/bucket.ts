/** The bucket of assignments: made if it is not there, and readable by agents from any replica. */
import { NatsError } from "nats";
import type { NatsConnection, StreamInfo } from "nats";
import type { NatsNames } from "../../../proto/contract/nats.ts";
import { copiesOn } from "../../../proto/contract/nats-link.ts";

const TIMEOUT_MS = 3_000;

export interface Opened {
  /** When it was made, by the servers' clock: tells one bucket from the next of its name. */
  readonly created: string;
  readonly isNew: boolean;
}

/** Rejects as JetStream does (proto/contract/nats-errors.ts). */
export async function openAssignments(connection: NatsConnection, names: NatsNames): Promise<Opened> {
  const stream = `KV_${names.assignmentsBucket}`;
  const jsm = await connection.jetstreamManager({ timeout: TIMEOUT_MS, checkAPI: false });
  const found = await jsm.streams.info(stream).catch((error: unknown) => {
    if (error instanceof NatsError && error.api_error?.code === 404) return null;
    throw error;
  });
  if (found !== null && found.config.allow_direct) return { created: createdOf(found), isNew: false };
  if (found !== null) {
    // Made by hand: agents read by direct gets.
    return { created: createdOf(await jsm.streams.update(stream, { allow_direct: true })), isNew: false };
  }
  const replicas = copiesOn(connection);
  const js = connection.jetstream({ timeout: TIMEOUT_MS, checkAPI: false });
  await js.views.kv(names.assignmentsBucket, { history: 1, replicas, allow_direct: true });
  return { created: createdOf(await jsm.streams.info(stream)), isNew: true };
}

const createdOf = ({ created }: StreamInfo): string => created;
