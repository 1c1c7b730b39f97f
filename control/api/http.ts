/**
 * The controller's HTTP side: /healthz (the process answers), /readyz (it can store and decide), /metrics. Beyond
 * loopback /metrics asks for the operators' token.
 *
 * Errors  `ListenFailed` in one sentence that names the address.
 */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { formatHostPort, isLoopback } from "../../proto/contract/address.ts";
import type { HostPort } from "../../proto/contract/address.ts";
import { allows } from "./auth.ts";
import type { Token } from "./auth.ts";
import { listenFailure } from "./listen.ts";
import type { Metrics } from "./metrics.ts";

export interface HttpOptions {
  readonly listen: HostPort;
  readonly token: Token;
  readonly metrics: Pick<Metrics, "contentType" | "text">;
  /** "" when ready, else why not. */
  notReady(): string;
}

export interface HttpServer {
  readonly address: string;
  close(): Promise<void>;
}

export function serveHttp(options: HttpOptions): Promise<HttpServer> {
  const { address, port } = options.listen;
  const token = isLoopback(address) ? null : options.token;
  const server = createServer((request, response) => {
    answer(request, response, options, token).catch(() => response.destroy());
  });
  server.headersTimeout = 5_000;
  server.requestTimeout = 10_000;
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(listenFailure("--http", address, port, error.message)));
    server.listen({ host: address, port }, () => {
      const bound = server.address() as AddressInfo;
      resolve({
        address: formatHostPort(bound.address, bound.port),
        close: () =>
          new Promise((closed) => {
            server.close(() => closed());
            server.closeAllConnections();
          }),
      });
    });
  });
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  options: HttpOptions,
  token: Token,
): Promise<void> {
  const send = (code: number, text: string, type = "text/plain; charset=utf-8"): void => {
    response.writeHead(code, { "content-type": type, "cache-control": "no-store" }).end(text);
  };
  if (request.method !== "GET" && request.method !== "HEAD") {
    send(405, "only GET\n");
    return;
  }
  const path = (request.url ?? "/").split("?", 1)[0];
  switch (path) {
    case "/healthz":
      send(200, "ok\n");
      return;
    case "/readyz": {
      const why = options.notReady();
      send(why === "" ? 200 : 503, why === "" ? "ready\n" : `${why}\n`);
      return;
    }
    case "/metrics":
      if (allows(token, request.headers.authorization)) {
        send(200, await options.metrics.text(), options.metrics.contentType);
      } else {
        send(401, "the operators' token is asked for here\n");
      }
      return;
    default:
      send(404, "here are /healthz, /readyz and /metrics\n");
  }
}
