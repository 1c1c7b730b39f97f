/**
 * The core's process: started by the keeper, which says `state` first. It holds nothing that its end would lose: on a
 * defect it leaves, and the next one takes over.
 */
import type { KeeperToCore } from "../keeper/protocol.ts";
import { startCore } from "../agent.ts";
import type { Log } from "../../proto/kernel/log.ts";

const DEFECT = 70;

let log: Log | undefined;
let receive: ((message: KeeperToCore) => void) | undefined;
const early: KeeperToCore[] = [];

process.on("message", (raw) => {
  const message = raw as KeeperToCore;
  if (receive !== undefined) receive(message);
  else if (message.type !== "state" || log !== undefined) early.push(message);
  else {
    process.title = `baton-core ${message.options.name}`;
    ({ log } = startCore(
      {
        send: (said) => {
          // A closed channel is told by "disconnect"; whoever comes next says it again.
          if (process.connected) process.send?.(said, undefined, undefined, () => undefined);
        },
        listen: (listener) => {
          receive = listener;
          for (const missed of early.splice(0)) listener(missed);
        },
      },
      message,
    ));
  }
});
process.on("disconnect", () => process.exit(0));
// Signals are the keeper's: it says `stopping` and `hup`.
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => undefined);
for (const event of ["uncaughtException", "unhandledRejection"] as const) {
  process.on(event, (error: unknown) => {
    if (log === undefined)
      process.stderr.write(`baton core: ${error instanceof Error ? error.stack : String(error)}\n`);
    else log.error({ err: error }, "a defect in the core; it ends, and the keeper starts another");
    process.exit(DEFECT);
  });
}
if (!process.connected) {
  process.stderr.write("baton core: this process is started by baton agent, not by hand\n");
  process.exit(2);
}
