/**
 * The agent's own HTTP: health, readiness, metrics, what is configured, what is connected, and draining by hand. It is
 * apart from the data path: a core that is gone takes this with it, and no request.
 *
 * Beyond loopback  only with a token file, and then everything but /healthz and /readyz wants `Authorization: Bearer`.
 * Browsers         a page from elsewhere may not drain an agent on loopback: no `Origin` on POST, no foreign `Host`.
 * Errors           an address in use ends an agent that is just starting, with one line; later on, and while an agent
 *                  that was killed may not have let go of it, it is tried again.
 */
import { createHash, randomUUID, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { isIP } from "node:net";
import { formatHostPort, isLoopback } from "../../../proto/contract/address.ts";
import type { Clock, Timer } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import type { Core } from "../core.ts";
import { metricsOf } from "./metrics.ts";
import { readiness } from "./readiness.ts";
import { connectionsOf } from "./connections.ts";

const RETRY_MS = 2_000;
const HEAD_BYTES = 16 << 10;
const REQUEST_MS = 10_000;

interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly type?: string;
}
type Routes = Readonly<Record<string, Readonly<Record<string, Route>>>>;
type Route = (query: URLSearchParams) => Answer | Promise<Answer>;

export interface AdminOptions {
  readonly core: Core;
  readonly software: string;
  readonly clock: Clock;
  readonly log: Log;
}

export class Admin {
  readonly #options: AdminOptions;
  readonly #server: Server;
  readonly #routes: Routes;
  readonly #token: string | null;
  #retry: Timer | undefined;

  constructor(options: AdminOptions) {
    this.#options = options;
    const { core, log } = options;
    const { admin, tokenFile } = core.link.options;
    this.#token = isLoopback(admin.host) || tokenFile === null ? null : readToken(tokenFile, log);
    this.#routes = routes(options);
    this.#server = createServer(
      {
        maxHeaderSize: HEAD_BYTES,
        requestTimeout: REQUEST_MS,
        headersTimeout: REQUEST_MS,
        keepAliveTimeout: REQUEST_MS,
      },
      (request, response) => void this.#answer(request, response),
    );
    // Nothing here takes long; whoever connects must not keep the core from its end.
    this.#server.maxConnections = 256;
  }

  /** `begin`: told when the agent may begin: it listens, or is not waited for. */
  listen(begin: () => void = () => undefined): void {
    const { core, log, clock } = this.#options;
    const { admin, tokenFile } = core.link.options;
    const at = formatHostPort(admin.host, admin.port);
    if (!isLoopback(admin.host) && tokenFile === null) {
      core.fail([`--admin ${at}: beyond loopback the admin server wants a --token-file`]);
      return;
    }
    const kept = admin.port === 0 ? core.keptPort("admin") : 0;
    const listening = (): void => {
      this.#server.removeAllListeners("error");
      this.#server.on("error", (error) => log.warn({ err: error }, "admin"));
      const address = this.#server.address();
      const port = typeof address === "object" && address !== null ? address.port : admin.port;
      if (admin.port === 0) core.keepPort("admin", port);
      log.info({ port }, `admin on http://${formatHostPort(admin.host, port)}`);
      begin();
    };
    this.#server.once("error", (error: NodeJS.ErrnoException) => {
      this.#server.off("listening", listening);
      const why = error.code === "EADDRINUSE" ? "the port is in use by another process" : error.message;
      if (kept > 0 || !core.first || core.link.coreLeft) {
        log.warn({ why }, "admin: can't listen yet");
        // The core before may be frozen: what its host serves is not to wait for that.
        if (core.link.coreLeft) begin();
        if (kept > 0) core.keepPort("admin", 0);
        this.#retry = clock.after(kept > 0 ? 0 : RETRY_MS, () => this.listen(begin));
        return;
      }
      core.fail([`--admin ${at}: ${why}`]);
    });
    this.#server.listen({ host: admin.host, port: admin.port === 0 ? kept : admin.port }, listening);
  }

  close(): void {
    this.#retry?.cancel();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = URL.parse(request.url ?? "/", "http://admin");
    const answer = url === null ? fault(400, "bad request target") : await this.#route(request, url);
    const { status, body, type } = answer;
    const text = typeof body === "string" ? body : `${JSON.stringify(body, null, 2)}\n`;
    const head: Record<string, string | number> = {
      "content-type": type ?? "application/json; charset=utf-8",
      "content-length": Buffer.byteLength(text),
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
    };
    const methods = Object.keys(this.#routes[url?.pathname ?? ""] ?? {});
    if (status === 405) head["allow"] = methods.join(", ");
    response.writeHead(status, head);
    response.end(request.method === "HEAD" ? undefined : text);
    request.resume();
  }

  async #route(request: IncomingMessage, url: URL): Promise<Answer> {
    const { method = "GET", headers } = request;
    const route = this.#routes[url.pathname];
    if (route === undefined)
      return fault(404, `there is no ${url.pathname}; there are: ${Object.keys(this.#routes).join(" ")}`);
    const handler = route[method === "HEAD" ? "GET" : method];
    if (handler === undefined) return fault(405, `${url.pathname} does not take ${method}`);
    const open = url.pathname === "/healthz" || url.pathname === "/readyz";
    if (this.#token !== null && !open && !sameToken(headers.authorization, this.#token)) {
      return fault(401, "this needs Authorization: Bearer with the agent's token");
    }
    if (this.#token === null && !ownHost(headers.host)) return fault(403, "not a name of this machine's loopback");
    if (method === "POST" && headers.origin !== undefined) return fault(403, "not for web pages");
    try {
      return await handler(url.searchParams);
    } catch (error) {
      this.#options.log.error({ err: error, path: url.pathname }, "admin: a request failed");
      return fault(500, "internal error; see the agent's log");
    }
  }
}

function routes({ core, software, clock }: AdminOptions): Routes {
  const metrics = metricsOf(core, software);
  const drain = (accepting: boolean) => (): Answer => {
    core.setAccepting(accepting);
    return { status: 200, body: { accepting: core.accepting } };
  };
  return {
    "/healthz": { GET: () => ({ status: 200, body: { status: "ok" } }) },
    "/readyz": {
      GET: () => {
        const reasons = readiness(core);
        return { status: reasons.length === 0 ? 200 : 503, body: { ready: reasons.length === 0, reasons } };
      },
    },
    "/metrics": {
      GET: async () => {
        core.statistics.refresh();
        return { status: 200, body: await metrics.metrics(), type: metrics.contentType };
      },
    },
    "/config": {
      GET: () => {
        const { options, boot } = core.link;
        const { current, applied } = core.assignments;
        const troubles = core.source.troubles();
        return {
          status: 200,
          body: { software, boot, options, applied, assignment: current, table: core.tables.table, troubles },
        };
      },
    },
    "/instances": { GET: () => ({ status: 200, body: { instances: core.instanceReports() } }) },
    "/incidents": {
      GET: () => ({ status: 200, body: { incidents: core.incidents.list(), dropped: core.incidents.dropped } }),
    },
    "/report": { GET: () => ({ status: 200, body: core.report() }) },
    "/connections": {
      GET: async (query) => ({ status: 200, body: await connectionsOf(core.link, clock, query.get("limit")) }),
    },
    "/drain": { POST: drain(false) },
    "/undrain": { POST: drain(true) },
  };
}

const fault = (status: number, error: string): Answer => ({ status, body: { error } });

function ownHost(host: string | undefined): boolean {
  if (host === undefined) return true; // HTTP/1.0: no browser
  const name = URL.parse(`http://${host}`)?.hostname.replace(/^\[|\]$/g, "") ?? "";
  return isIP(name) !== 0 || isLoopback(name);
}

function sameToken(header: string | undefined, token: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return header !== undefined && timingSafeEqual(digest(header), digest(`Bearer ${token}`));
}

/** Without a readable token nobody has the right one. */
function readToken(file: string, log: Log): string {
  try {
    const token = readFileSync(file, "utf8").trim();
    if (token !== "") return token;
    log.error({ file }, "the token file is empty; admin answers nothing but /healthz and /readyz");
  } catch (error) {
    log.error({ err: error, file }, "the token file can't be read; admin answers nothing but /healthz and /readyz");
  }
  return randomUUID();
}
