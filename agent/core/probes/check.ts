/**
 * One probe of one address, asked once: HTTP GET (200–399 is healthy) or a TCP connect.
 *
 * Errors  never rejects; what went wrong is said in a few words for people: "503", "connection refused".
 * Bounds  the whole check ends at `timeoutMs`; of an answer's body at most BODY_BYTES are read, so that the app sees a
 *         polite end of a small body and a huge one costs nothing.
 */
import { request } from "node:http";
import { connect } from "node:net";
import { formatHostPort } from "../../../proto/contract/address.ts";
import { formatDuration } from "../../../proto/contract/units.ts";
import type { Clock } from "../../../proto/kernel/clock.ts";

export interface CheckRequest {
  /** container: the driver knows (instance.ts asks it); the network does not. */
  readonly kind: "http" | "tcp" | "container";
  readonly path: string;
  readonly address: string;
  readonly port: number;
  readonly timeoutMs: number;
}
export type CheckResult = { readonly ok: true } | { readonly ok: false; readonly why: string };
export type Check = (asked: CheckRequest) => Promise<CheckResult>;

const BODY_BYTES = 64 << 10;

export const networkCheck =
  (clock: Clock): Check =>
  (asked) => {
    switch (asked.kind) {
      case "http":
        return http(clock, asked);
      case "tcp":
        return tcp(clock, asked);
      case "container":
        return Promise.resolve({ ok: false, why: "only a container has a health of its own" });
    }
  };

function http(clock: Clock, asked: CheckRequest): Promise<CheckResult> {
  return new Promise((resolve) => {
    const timer = clock.after(asked.timeoutMs, () => {
      resolve({ ok: false, why: `no answer in ${formatDuration(asked.timeoutMs)}` });
      sent.destroy();
    });
    const sent = request(
      {
        host: asked.address,
        port: asked.port,
        path: asked.path,
        method: "GET",
        agent: false,
        headers: {
          host: formatHostPort(asked.address, asked.port),
          "user-agent": "baton-probe",
          connection: "close",
        },
      },
      (response) => {
        const status = response.statusCode ?? 0;
        resolve(status >= 200 && status < 400 ? { ok: true } : { ok: false, why: String(status) });
        let read = 0;
        response.on("data", (bytes: Buffer) => {
          read += bytes.length;
          if (read > BODY_BYTES) response.destroy();
        });
        response.on("error", () => undefined);
      },
    );
    sent.on("error", (error) => resolve({ ok: false, why: reason(error) }));
    sent.on("close", () => {
      timer.cancel();
      resolve({ ok: false, why: "the connection was closed before an answer" });
    });
    sent.end();
  });
}

function tcp(clock: Clock, asked: CheckRequest): Promise<CheckResult> {
  return new Promise((resolve) => {
    const socket = connect({ host: asked.address, port: asked.port });
    const end = (result: CheckResult): void => {
      timer.cancel();
      socket.destroy();
      resolve(result);
    };
    const timer = clock.after(asked.timeoutMs, () =>
      end({ ok: false, why: `no connection in ${formatDuration(asked.timeoutMs)}` }),
    );
    socket.once("connect", () => end({ ok: true }));
    socket.on("error", (error) => end({ ok: false, why: reason(error) }));
  });
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  EHOSTUNREACH: "host unreachable",
  ENOTFOUND: "no such host",
};

function reason(error: NodeJS.ErrnoException): string {
  return WORDS[error.code ?? ""] ?? error.code ?? error.message;
}
