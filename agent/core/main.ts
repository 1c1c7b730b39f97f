/**
 * The core's process: started by the keeper, which says `state` first. It holds nothing that its end would lose: on a
 * defect it leaves, and the next one takes over.
 */
import type { Log } from "../../proto/kernel/log.ts";
import { startCore } from "../agent.ts";
import type { KeeperToCore } from "../keeper/protocol.ts";
import type { Core } from "./core.ts";
import type { KeeperStart } from "./keeper-link.ts";
import type { Channel } from "./ports.ts";

const DEFECT = 70;
/** The last report goes out in this time; the keeper waits longer. */
const FAREWELL_MS = 100;

let running: { readonly core: Core; readonly log: Log } | undefined;
let begun = false;
let receive: ((message: KeeperToCore) => void) | undefined;
const early: KeeperToCore[] = [];

const channel: Channel = {
  send: (message) => {
    // A closed channel is told by "disconnect"; whoever comes next says it again.
    if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
  },
  listen: (listener) => {
    receive = listener;
    for (const missed of early.splice(0)) listener(missed);
  },
};

async function begin(start: KeeperStart): Promise<void> {
  process.title = `baton-core ${start.options.name}`;
  running = await startCore(channel, start);
}

process.on("message", (raw) => {
  const message = raw as KeeperToCore;
  if (receive !== undefined) receive(message);
  else if (begun || message.type !== "state") early.push(message);
  else {
    begun = true;
    void begin(message);
  }
});
process.on("disconnect", () => {
  const leave = running?.core.leave() ?? Promise.resolve();
  void leave.then(() => setTimeout(() => process.exit(0), running === undefined ? 0 : FAREWELL_MS));
});
// Signals are the keeper's: it says `stopping` and `hup`.
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => undefined);
for (const event of ["uncaughtException", "unhandledRejection"] as const) {
  process.on(event, (error: unknown) => {
    const message = "a defect in the core; it ends, and the keeper starts another";
    if (running !== undefined) running.log.error({ err: error }, message);
    else process.stderr.write(`baton core: ${error instanceof Error ? String(error.stack) : String(error)}\n`);
    process.exit(DEFECT);
  });
}
if (!process.connected) {
  process.stderr.write("baton core: this process is started by baton agent, not by hand\n");
  process.exit(2);
}
