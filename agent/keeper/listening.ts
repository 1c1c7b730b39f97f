/**
 * Puts inherited sockets (descriptors 3 and up, as many as the first argument says) into the listening state, writes the
 * error code of each, or "", as JSON, and leaves without ever accepting: it never gets back to its event loop.
 *
 * Why a process: Node can't listen without accepting, and the keeper must not accept. Why at all: two sockets may be
 * *bound* to one port as long as neither listens (libuv sets SO_REUSEADDR), so only this tells that a port is in use
 * when the core asks for it, and from here on the kernel queues what connects before the first worker is there.
 */
import { writeSync } from "node:fs";
import { createServer } from "node:net";

const BACKLOG = 4_096;

const errors = Array.from({ length: Number(process.argv[2]) }, () => "");
errors.forEach((_, index) => {
  createServer()
    .on("error", (error: NodeJS.ErrnoException) => (errors[index] = error.code ?? error.message))
    .listen({ fd: 3 + index, backlog: BACKLOG });
});
// Runs after the ticks in which `listen` tells its errors, and before the event loop could accept.
process.nextTick(() => {
  writeSync(1, JSON.stringify(errors));
  process.exit(0);
});
