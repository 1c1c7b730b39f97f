#!/usr/bin/env node
/**
 * `baton agent`: this process is the keeper, and the parent of all of the agent's others. See agent/DESIGN.md.
 *
 * Exit codes  0 stopped as asked; 1 it could not go on; 2 wrong usage, or the state folder is another agent's;
 *             128 + signal when a second signal cut the stop short.
 */
import { hostname, networkInterfaces } from "node:os";
import { enableCompileCache } from "node:module";
import { join } from "node:path";
import { EXIT } from "../proto/contract/limits.ts";
import { silentLog } from "../proto/kernel/log.ts";
import { systemClock, systemRandom } from "../proto/runtime/system-clock.ts";
import { Keeper } from "./keeper/keeper.ts";
import { lineLog } from "./keeper/log.ts";
import type { KeeperOptions } from "./keeper/options.ts";
import { HELP, parseOptions } from "./keeper/options.ts";
import { warnOfZombies } from "./keeper/orphans.ts";
import { takeStateFolder } from "./keeper/state-folder.ts";

async function main(): Promise<number> {
  const around = {
    ...{ hostname: hostname(), cwd: process.cwd(), env: process.env, uid: process.getuid?.() ?? 0 },
    addresses: addresses(),
  };
  const parsed = parseOptions(process.argv.slice(2), around);
  switch (parsed.kind) {
    case "help":
      process.stdout.write(HELP);
      return EXIT.done;
    case "error":
      process.stderr.write(`baton agent: ${parsed.message}; see baton agent --help\n`);
      return EXIT.usage;
    case "options":
      return keep(parsed.options);
  }
}

/** IPv4 first, as most services are still asked for; link-local ones need a zone and are nobody's address. */
function addresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  const global = all.filter(({ internal, address }) => !internal && !/^(fe80:|169\.254\.)/i.test(address));
  return ["IPv4", "IPv6"].flatMap((family) => global.filter((one) => one.family === family).map((one) => one.address));
}

async function keep(options: KeeperOptions): Promise<number> {
  const { name, stateDir, logLevel } = options.agent;
  process.title = `baton-agent ${name}`;
  const folder = takeStateFolder(stateDir, silentLog);
  if ("error" in folder) {
    process.stderr.write(`baton agent: ${folder.error}\n`);
    return EXIT.usage;
  }
  // Core and workers inherit it: a worker's start takes half the time when its code need not be compiled again.
  process.env["NODE_COMPILE_CACHE"] ??= join(folder.own, "code-cache");
  enableCompileCache(process.env["NODE_COMPILE_CACHE"]);

  const log = lineLog(logLevel, { name: "keeper", agent: name });
  // Ending here would end everything that this process is there to hold; what failed is one event of one child.
  process.on("uncaughtException", (error) => log.error({ err: error }, "a defect in the keeper; going on"));
  process.on("unhandledRejection", (error) => log.error({ err: error }, "a defect in the keeper; going on"));
  const keeper = new Keeper(options, folder, systemClock, systemRandom, log);
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => keeper.signal(signal));
  if (process.pid === 1) warnOfZombies(systemClock, log);
  log.info({ node: process.version, stateDir }, "agent started");
  return keeper.run();
}

process.exit(await main());
