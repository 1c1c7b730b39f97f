/**
 * What the core needs of the world, as narrow ports: the channel to its keeper and files that are whole or absent.
 * agent/agent.ts gives the real ones; tests script the keeper behind a `Channel`.
 */
import type { Clock } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";
import type { Random } from "../../proto/kernel/random.ts";
import type { CoreToKeeper, KeeperToCore } from "../keeper/protocol.ts";

export interface Channel {
  send(message: CoreToKeeper): void;
  /** One listener; messages that came before it was set are not lost. */
  listen(receive: (message: KeeperToCore) => void): void;
}

export type FileRead =
  | { readonly kind: "ok"; readonly content: string }
  | { readonly kind: "absent" }
  | { readonly kind: "damaged"; readonly setAside: string; readonly why: string };

/** proto/runtime/atomic-file.ts: checksummed, written whole; what is damaged is moved aside by `read`. */
export interface StateFiles {
  read(path: string): FileRead;
  /** Throws what the system says (ENOSPC, EROFS, …); the old file then stays. */
  write(path: string, content: string): void;
  /** For a file whose checksum is right and whose content is of no use. Returns its new name. */
  setAside(path: string, why: string): string;
}

/** Time, chance, words and files: what nearly every part of the core takes. */
export interface Ambient {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly files: StateFiles;
}
