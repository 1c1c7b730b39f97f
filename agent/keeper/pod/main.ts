#!/usr/bin/env node
/**
 * `baton pod`: a host's network namespace, and who listens in it while its agent's container is replaced. See pod.ts and
 * agent/DESIGN.md, "Containers".
 *
 * Exit codes  0 stopped by SIGTERM or SIGINT; 1 the socket can't be had; 2 wrong usage.
 */
import { rmSync } from "node:fs";
import { connect } from "node:net";
import { dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import { EXIT } from "../../../proto/contract/limits.ts";
import { parseDuration } from "../../../proto/contract/units.ts";
import { systemClock } from "../../../proto/runtime/system-clock.ts";
import { lineLog, messageOf } from "../log.ts";
import { Pod } from "./pod.ts";

const HELP = `Runs a pod: keeps a network namespace, and holds an agent's listeners while its container is replaced.

Usage: baton pod [options]

  --socket PATH   where the agents of this namespace speak to it, a Unix socket; the same as their --pod
                  (default /run/baton/pod.sock). Who can open it can have any port of this namespace held.
  --hold TIME     how long connections wait for an agent before they are answered 503 (default 30s)
  --help          this text

Agent and pod must run as one user, and net.ipv4.tcp_migrate_req must be 1 in the namespace.
`;

async function main(): Promise<number> {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        socket: { type: "string", default: "/run/baton/pod.sock" },
        hold: { type: "string", default: "30s" },
        help: { type: "boolean", default: false },
      },
    }));
  } catch (error) {
    return wrong(messageOf(error).split(/\.\s/)[0] ?? "wrong options");
  }
  if (values.help) {
    process.stdout.write(HELP);
    return EXIT.done;
  }
  const holdMs = parseDuration(values.hold);
  if (holdMs === undefined) return wrong(`--hold: "${values.hold}" is no duration such as 30s or 2m`);
  const path = resolve(values.socket);

  const log = lineLog("info", { name: "pod" });
  const failed = (why: string): number => {
    process.stderr.write(`baton pod: ${path}: ${why}\n`);
    return EXIT.failed;
  };
  if (await answers(path)) return failed("another pod is there");
  try {
    process.umask(0o077);
    rmSync(path, { force: true });
    await new Pod(holdMs, systemClock, log).serve(path);
  } catch (error) {
    return failed(`${messageOf(error)}; ${dirname(path)} must be there and writable`);
  }
  log.info({ socket: path, holdMs }, "pod started");
  return new Promise((done) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => done(EXIT.done));
  });
}

function wrong(why: string): number {
  process.stderr.write(`baton pod: ${why}; see baton pod --help\n`);
  return EXIT.usage;
}

/** Somebody listens there: a socket file alone is what a pod that was killed has left. */
function answers(path: string): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(path, () => {
      socket.destroy();
      done(true);
    });
    socket.once("error", () => done(false));
  });
}

process.exit(await main());
