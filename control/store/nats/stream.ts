/** The streams that lie under the buckets: how they are made, and what of it the store relies on. */
import { DiscardPolicy, nanos, RetentionPolicy, StorageType } from "nats";
import type { StreamConfig } from "nats";

export interface Shape {
  /** Of the bucket. */
  readonly name: string;
  /**
   * The bucket is this one key, and a write of it expects the sequence of the whole stream; null: any keys, each with
   * its own revision. In a cluster of nats-server 2.9 the latter is looked at before a write is agreed on and not after:
   * of two at the same moment both can be stored (nats-server#4320; seen in more than half of 300 such races). The former
   * is looked at by every server as it stores.
   */
  readonly only: string | null;
  /** Where servers repeat what they stored. */
  readonly told: string | null;
}

const DUPLICATES_MS = 120_000;

export function configOf({ name, only, told }: Shape, replicas: number): StreamConfig {
  const subject = `$KV.${name}.${only ?? ">"}`;
  return {
    name: `KV_${name}`,
    description: "what Baton's controllers keep",
    subjects: [subject],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    num_replicas: replicas,
    max_msgs_per_subject: 1,
    max_msgs: -1,
    max_bytes: -1,
    max_age: 0,
    max_msg_size: -1,
    max_consumers: -1,
    first_seq: 0,
    discard: DiscardPolicy.New,
    discard_new_per_subject: false,
    duplicate_window: nanos(DUPLICATES_MS),
    allow_rollup_hdrs: true,
    deny_delete: false,
    deny_purge: false,
    // A get that any server may answer can be older than what was committed.
    allow_direct: false,
    mirror_direct: false,
    sealed: false,
    ...(told === null ? {} : { republish: { src: subject, dest: told } }),
  };
}

/** What the store relies on; replicas, placement and limits of size are the operator's. */
const RELIED_ON: readonly (keyof StreamConfig)[] = [
  "subjects",
  "retention",
  "storage",
  "max_msgs_per_subject",
  "max_msgs",
  "max_age",
  "discard",
  "deny_delete",
  "deny_purge",
  "allow_direct",
];

/** Names of settings. */
export function differences(config: StreamConfig, wanted: StreamConfig): string[] {
  // Servers leave out what is false.
  const text = (of: StreamConfig, name: keyof StreamConfig): string => JSON.stringify(of[name] ?? false);
  const found: string[] = RELIED_ON.filter((name) => text(config, name) !== text(wanted, name));
  const { src, dest } = config.republish ?? {};
  if (src !== wanted.republish?.src || dest !== wanted.republish?.dest) found.push("republish");
  if (config.mirror !== undefined || (config.sources ?? []).length > 0) found.push("sources");
  return found;
}
