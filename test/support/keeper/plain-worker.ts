/**
 * The worker's own life (agent/worker/worker.ts) around a data path of a few lines, for tests of the keeper that need
 * no proxy: `GET /` answers the pid, `/slow/MS` after that time, `POST` the length of its body. It drains as the proxy
 * does (R2). What a test wants to go wrong is said in the table.
 */
import { existsSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { flushCompileCache } from "node:module";
import { Server } from "node:net";
import type { Socket } from "node:net";
import { silentLog } from "../../../proto/kernel/log.ts";
import { systemClock } from "../../../proto/runtime/system-clock.ts";
import type { KeeperToWorker } from "../../../agent/keeper/protocol.ts";
import { Worker } from "../../../agent/worker/worker.ts";
import type { DataPath } from "../../../agent/worker/worker.ts";

interface PlainTable {
  readonly sequence: number;
  /** refuse: it is rejected; crash: the process ends with 3 on seeing it; deaf: nothing is read any more. */
  readonly fault?: "refuse" | "crash" | "deaf";
}

const LINGER_MS = 300;

/** While the file named here exists, workers end with 3 as soon as they start. */
if (existsSync(process.env["BATON_TEST_WORKER_FAULT"] ?? "")) process.exit(3);

function plainPath(statsFile: string): DataPath {
  const servers: ReturnType<typeof createServer>[] = [];
  /** When each connection was last at rest; null while a request is on it. */
  const open = new Map<Socket, number | null>();
  let draining = false;
  let inFlight = 0;
  let left: (() => void) | undefined;
  const count = (change: number): void => {
    inFlight += change;
    writeFileSync(statsFile, JSON.stringify({ inFlight }));
  };
  count(0);

  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    count(1);
    open.set(request.socket, null);
    response.on("close", () => {
      count(-1);
      if (open.has(request.socket)) open.set(request.socket, performance.now());
    });
    let bytes = 0;
    request.on("data", (chunk: Buffer) => (bytes += chunk.length));
    request.on("end", () => {
      const wait = Number(/^\/slow\/(\d+)$/.exec(request.url ?? "")?.[1] ?? 0);
      setTimeout(() => {
        if (draining) response.setHeader("connection", "close");
        response.end(request.method === "POST" ? String(bytes) : String(process.pid));
      }, wait);
    });
  };
  const endIdle = (): void => {
    for (const [socket, since] of open) if (since !== null && performance.now() - since > LINGER_MS) socket.end();
  };
  return {
    apply: (config) => {
      const table = config as unknown as PlainTable;
      if (table.fault === "crash") process.exit(3);
      if (table.fault === "deaf") for (;;);
      return table.fault === "refuse"
        ? { kind: "rejected", why: "the test says so" }
        : { kind: "ok", sequence: table.sequence };
    },
    listen: (_key, at) =>
      new Promise((resolve, reject) => {
        const server = createServer({ keepAliveTimeout: 60_000 }, answer);
        server.on("connection", (socket: Socket) => {
          open.set(socket, performance.now());
          socket.on("close", () => {
            open.delete(socket);
            if (draining && open.size === 0) left?.();
          });
        });
        server.on("error", reject);
        server.listen(at, () => resolve(undefined));
        servers.push(server);
      }),
    drain: () => {
      draining = true;
      // Of `net`: http's own would close idle connections at once, and with them the request that is on its way.
      for (const server of servers) Server.prototype.close.call(server);
      for (const socket of open.keys()) open.set(socket, open.get(socket) === null ? null : performance.now());
      setInterval(endIdle, 20);
      return new Promise((resolve) => {
        left = resolve;
        if (open.size === 0) resolve();
      });
    },
    close: () => Promise.resolve(),
    connections: () => [],
  };
}

const worker = new Worker({
  clock: systemClock,
  open: (start) => Promise.resolve(plainPath(start.statsFile)),
  log: () => silentLog,
  send: (message) => {
    if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
  },
  exit: (code) => process.exit(code),
});
process.on("message", (message) => worker.receive(message as KeeperToWorker));
process.on("disconnect", () => worker.orphaned());
systemClock.after(500, () => flushCompileCache(), { background: true });
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => undefined);
