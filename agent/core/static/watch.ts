/**
 * Tells when files may have changed: the folder is watched, because editors replace files, and the files are looked at
 * now and then, because some file systems tell nothing (network mounts, some containers).
 *
 * Errors  none: where watching is impossible, looking is left.
 */
import { statSync, watch } from "node:fs";
import type { FSWatcher } from "node:fs";
import { dirname } from "node:path";
import type { Clock, Timer } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";

const SETTLE_MS = 100;
const LOOK_MS = 2_000;

export interface Watch {
  close(): void;
}

export function watchFiles(files: readonly string[], clock: Clock, log: Log, changed: () => void): Watch {
  let settling: Timer | undefined;
  let last = stamp(files);
  const soon = (): void => {
    last = stamp(files);
    settling?.cancel();
    settling = clock.after(SETTLE_MS, changed, { background: true });
  };
  const watchers: FSWatcher[] = [];
  for (const folder of new Set(files.map((file) => dirname(file)))) {
    try {
      const watcher = watch(folder, { persistent: false }, soon);
      watcher.on("error", (error) => log.warn({ err: error, folder }, "watching a folder has ended; it is polled"));
      watchers.push(watcher);
    } catch (error) {
      log.warn({ err: error, folder }, "a folder can't be watched; it is polled");
    }
  }
  const looking = clock.every(
    LOOK_MS,
    () => {
      if (stamp(files) !== last) soon();
    },
    { background: true },
  );
  return {
    close() {
      settling?.cancel();
      looking.cancel();
      for (const watcher of watchers) watcher.close();
    },
  };
}

function stamp(files: readonly string[]): string {
  return files
    .map((file) => {
      const stat = statSync(file, { throwIfNoEntry: false });
      return stat === undefined ? "absent" : `${String(stat.ino)} ${String(stat.size)} ${String(stat.mtimeMs)}`;
    })
    .join("\n");
}
