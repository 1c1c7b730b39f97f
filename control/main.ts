/**
 * The controller's process: `baton control`, or this file itself. Prints one line with the addresses it listens on when
 * it is ready; logs to stderr.
 *
 * Exit  0 after SIGTERM, SIGINT or SIGHUP (its terminal was closed), 1 when it could not start or must not go on, 2 for
 *       wrong options.
 */
import { existsSync, readFileSync } from "node:fs";
import { homedir, hostname } from "node:os";
import { join, resolve } from "node:path";
import { setFlagsFromString } from "node:v8";
import { pinoLog } from "../proto/runtime/pino-log.ts";
import { systemClock, systemRandom } from "../proto/runtime/system-clock.ts";
import { startController } from "./controller.ts";
import { HELP, readOptions } from "./options.ts";

// V8 lets the heap grow to some times what lives in it where memory is plenty: a change to 10,000 hosts would leave as much
// garbage again beside them.
setFlagsFromString("--heap-growing-percent=40");

const STOPS = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

/** From the sources or from build/, the package is some folders up. */
function software(): string {
  for (let folder = import.meta.dirname; folder !== "/"; folder = resolve(folder, "..")) {
    const file = join(folder, "package.json");
    if (!existsSync(file)) continue;
    return `baton ${(JSON.parse(readFileSync(file, "utf8")) as { readonly version: string }).version}`;
  }
  return "baton";
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2), {
    env: process.env,
    uid: process.getuid?.() ?? -1,
    home: homedir(),
    hostname: hostname(),
  });
  if (options.kind === "help") {
    process.stdout.write(HELP);
    return;
  }
  if (options.kind === "wrong") {
    process.stderr.write(`baton control: ${options.why}; see baton control --help\n`);
    process.exitCode = 2;
    return;
  }
  const log = pinoLog({ name: "controller", level: options.logLevel });
  const controller = await startController({
    ...options.controller,
    software: software(),
    pid: process.pid,
    clock: systemClock,
    random: systemRandom,
    log,
    fatal: (why) => {
      process.stderr.write(`baton control: ${why}\n`);
      process.exit(1);
    },
  });
  const { nats, id = "" } = options.controller;
  const as =
    nats === undefined ? `epoch ${controller.epoch}` : `${id} of cluster ${nats.cluster} on ${nats.servers.join(", ")}`;
  process.stdout.write(`baton control: gRPC on ${controller.grpc}, HTTP on ${controller.http}, ${as}\n`);
  const stop = (signal: NodeJS.Signals): void => {
    // A second signal is not waited for.
    for (const name of STOPS) process.removeAllListeners(name);
    void controller.stop(`the controller stops (${signal})`).then(() => process.exit(0));
  };
  for (const name of STOPS) process.once(name, stop);
}

try {
  await main();
} catch (error) {
  const known = error instanceof Error && ["StoreUnusable", "TokenUnusable", "ListenFailed"].includes(error.name);
  process.stderr.write(`baton control: ${known ? error.message : String((error as Error).stack)}\n`);
  process.exitCode = 1;
}
