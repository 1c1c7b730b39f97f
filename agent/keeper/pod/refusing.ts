/**
 * Answers 503 on inherited listening sockets (descriptors 4 and up, as many as the first argument says) until its
 * channel closes: for the pod when no agent has come. The words are those of a proxy that has no instance
 * (proxy/errors.ts): nothing was sent on, so a gateway tries another host, whatever the method.
 */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { FIRST_FD } from "../child.ts";

const BODY = "no agent serves this host now\n";

function refuse(_: IncomingMessage, response: ServerResponse): void {
  response.writeHead(503, {
    "content-type": "text/plain",
    "content-length": BODY.length,
    "retry-after": "1",
    "baton-error": "no_instance; sent=0",
    connection: "close",
  });
  response.end(BODY);
}

for (let i = 0; i < Number(process.argv[2]); i++) createServer(refuse).listen({ fd: FIRST_FD + i });
process.on("disconnect", () => process.exit(0));
