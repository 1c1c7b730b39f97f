/**
 * The demo app: one program that is every version of itself, by environment.
 *
 *   VERSION         (or BATON_VERSION) v1, v2 fine · v3 never ready · v3b crashes after 5 s · v3c answers 500 · v3d slow; others are fine
 *   BEHAVIOUR       what this one does in place of that, in the words of behaviour.ts
 *   PORT, HOST      where it listens; 127.0.0.1 and port 8080 by default, 0 asks the kernel
 *   INSTANCE        its own name; BATON_INSTANCE by default, else made of version and pid
 *   BATON_HOST      the host that it shows; the machine's name by default
 *   START_DELAY_MS  how long it takes before it listens; 0
 *
 * SIGTERM and SIGINT: takes no more, finishes what runs, exits with 0. Exit 1: it could not listen, or was told nonsense;
 * 3: it crashed, as it was told to. Logs to stdout.
 */
import { hostname } from "node:os";
import type { AddressInfo } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { demoApp } from "./app.ts";
import type { Behaviour } from "./behaviour.ts";
import { behaviourOf, CRASH_LINES, NOT_READY_LINES, UnknownBehaviour } from "./behaviour.ts";

const env = process.env;
const version = env["VERSION"] ?? env["BATON_VERSION"] ?? "v1";
const instance = env["INSTANCE"] ?? env["BATON_INSTANCE"] ?? `${version}-${process.pid}`;
const address = env["HOST"] ?? "127.0.0.1";
const port = Number(env["PORT"] ?? 8080);
const behaviour = readBehaviour();
const log = (line: string): void => console.log(`${new Date().toISOString()} ${instance} ${line}`);

const crash = (): void => {
  for (const line of CRASH_LINES) console.error(line);
  process.exit(3);
};
const identity = { version, instance, host: env["BATON_HOST"] ?? hostname() };
const app = demoApp({ identity, behaviour, crash });

let stopped = false;
const stop = (signal: string): void => {
  if (stopped) return;
  stopped = true;
  log(`${signal}: taking no more, ${app.inFlight()} in flight`);
  // Still in its start delay: nothing to finish, and no "close" will come.
  if (!app.server.listening) process.exit(0);
  app.stop();
};
process.on("SIGTERM", stop);
process.on("SIGINT", stop);

app.server.once("error", (error: NodeJS.ErrnoException) => {
  console.error(`cannot listen on ${address}:${port}: ${error.message}`);
  process.exit(1);
});
app.server.once("close", () => {
  log("all finished, bye");
  process.exit(0);
});

if (!Number.isInteger(port) || port < 0 || port > 65_535) {
  console.error(`PORT must be a number from 0 to 65535, not "${env["PORT"] ?? ""}"`);
  process.exit(1);
}
log(`${version} starting, pid ${process.pid}`);
await wait(Number(env["START_DELAY_MS"] ?? 0));
if (behaviour.crashAtStart) crash();
app.server.listen(port, address, () => {
  const bound = app.server.address() as AddressInfo;
  log(`listening on ${bound.address}:${bound.port}`);
  if (!behaviour.ready) for (const line of NOT_READY_LINES) log(line);
  if (behaviour.crashAfterMs !== null) {
    setTimeout(crash, behaviour.crashAfterMs).unref();
  }
});

function readBehaviour(): Behaviour {
  try {
    return behaviourOf(version, env["BEHAVIOUR"]);
  } catch (error) {
    if (!(error instanceof UnknownBehaviour)) throw error;
    console.error(error.message);
    process.exit(1);
  }
}
