/**
 * Runs before the tests: sees to it that everything they need beyond `npm ci` is there, and says in one line what is
 * not. Takes a few milliseconds when nothing is to be done.
 *
 * A test that needs a program from outside adds it to PROGRAMS with the reason; it is then installed where that is ours
 * to do (root on Debian) and asked for elsewhere.
 */
import * as net from "node:net";
import { ensurePrograms } from "./debian.ts";
import type { Program } from "./debian.ts";
import { ensureDocker } from "./docker-engine.ts";

const PROGRAMS: readonly Program[] = [
  { command: "prometheus", debian: "prometheus", why: "analysis is tested against a real one" },
  { command: "nats-server", debian: "nats-server", why: "the fleet form is tested against real ones" },
];

try {
  // The keeper binds addresses without accepting on them, which Node can do from 26.4 on.
  if (!("BoundSocket" in net)) {
    throw new Error(
      `Node ${process.versions.node} has no net.BoundSocket; Baton needs 26.4 or later. ` +
        "`npm ci` brings one: run this through npm (`npm test`), not with the machine's own node",
    );
  }
  ensurePrograms(PROGRAMS);
  await ensureDocker();
} catch (error) {
  process.stderr.write(`prepare: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
