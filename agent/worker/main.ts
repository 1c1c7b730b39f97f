/**
 * A worker process: carries traffic, decides nothing. Started by the keeper, which see for what it is told.
 *
 * Start-up is on the path of every connection that waits while a killed worker's successor comes, so imports are few;
 * the access log's are made only when there is one.
 */
import { flushCompileCache } from "node:module";
import { LIMITS } from "../../proto/contract/limits.ts";
import type { Log } from "../../proto/kernel/log.ts";
import { systemClock, systemRandom } from "../../proto/runtime/system-clock.ts";
import { lineLog } from "../keeper/log.ts";
import type { KeeperToWorker } from "../keeper/protocol.ts";
import { Proxy } from "../proxy/proxy.ts";
import { openStatsFile } from "../proxy/stats-writer.ts";
import { LineFile } from "./line-file.ts";
import { Worker } from "./worker.ts";

const DEFECT = 70;
let log: Log = lineLog("error", { name: "worker" });

const worker = new Worker({
  clock: systemClock,
  open: async (start, tell) => {
    const { id, generation, agent } = start;
    process.title = `baton-worker ${agent} #${String(id)} generation ${String(generation)}`;
    log = lineLog(start.logLevel, { name: "worker", agent, worker: id, generation });
    return new Proxy({
      clock: systemClock,
      random: systemRandom,
      log,
      accessLog: start.accessLog === null ? null : await openAccessLog(start.accessLog, id),
      stats: openStatsFile(start.statsFile, LIMITS.statSlots),
      onEndpointFailed: (endpoint, error) => tell({ kind: "endpoint-failed", endpoint, error }),
    });
  },
  log: () => log,
  send: (message) => {
    // A closed channel is told by "disconnect"; what could not be sent then concerns nobody any more.
    if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
  },
  exit: (code) => process.exit(code),
});

/** An access log in a folder that is full, or not there, is no reason to carry no traffic. */
async function openAccessLog(file: string, id: number): Promise<Log | null> {
  const failed = (error: unknown): void => log.error({ err: error, file }, "the access log can't be written");
  try {
    const lines = new LineFile(file, systemClock, failed);
    process.on("exit", () => lines.close());
    const { pino } = await import("pino");
    const records: Log = pino({ name: "access", base: { worker: id } }, lines);
    return records;
  } catch (error) {
    failed(error);
    return null;
  }
}

process.on("message", (message) => worker.receive(message as KeeperToWorker));
process.on("disconnect", () => worker.orphaned());
// Signals are the keeper's: a supervisor that signals the whole control group must not take the data path down first.
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => undefined);
process.on("uncaughtException", (error) => {
  log.error({ err: error }, "a defect in the worker; it ends, and the keeper starts another");
  process.exit(DEFECT);
});
// Else it is written at exit, which a killed worker does not have; and its successor is the one in a hurry.
systemClock.after(1_000, () => flushCompileCache(), { background: true });
if (!process.connected) {
  process.stderr.write("baton worker: this process is started by baton agent, not by hand\n");
  process.exit(2);
}
