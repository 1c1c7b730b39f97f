/**
 * The service behind the proxies: an nginx of its own that answers from memory (or a file, for bulk), in a temp folder,
 * on a port from the kernel.
 */
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import { launch } from "./processes.ts";
import type { Program } from "./processes.ts";

/** 100 bytes, all told. */
export const ANSWER = `{"item":4711,"name":"lamp","stock":12,"price":"19.90","note":"${"x".repeat(36)}"}`;

/** Where the upstream answers with what it was sent, so that the bench can show each proxy's header work. */
export const ECHO_PATH = "/__seen";
const SHOWN = [
  "host",
  "x_forwarded_for",
  "x_forwarded_proto",
  "x_forwarded_host",
  "x_request_id",
  "via",
  "traceparent",
];

export function startUpstream(folder: string, core: number, port: number, bulkMiB: number | null): Program {
  mkdirSync(folder, { recursive: true });
  const bulk = join(folder, "bulk");
  writeFileSync(bulk, "");
  truncateSync(bulk, (bulkMiB ?? 0) << 20);
  const config = join(folder, "upstream.conf");
  const shown = SHOWN.map((name) => `${name}: $http_${name}\\n`).join("");
  writeFileSync(
    config,
    nginxConfig(folder, {
      server: `
    listen 127.0.0.1:${String(port)};
    default_type application/json;
    location / { return 200 '${ANSWER}'; }
    location = ${ECHO_PATH} { default_type text/plain; return 200 "${shown}"; }
    location = /bulk { root ${folder}; sendfile on; default_type application/octet-stream; }`,
    }),
  );
  return launch({
    name: "upstream",
    command: nginxCommand(folder, config),
    core,
    logFile: join(folder, "upstream.log"),
  });
}

/** nginx in the foreground, one worker, everything it writes below `folder`, connections kept for good. */
export function nginxConfig(folder: string, parts: { readonly server: string; readonly http?: string }): string {
  const temps = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  // Started by root, nginx would give its worker to a user that may not enter the temp folder.
  const user = process.getuid?.() === 0 ? "user root;\n" : "";
  return `${user}daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log warn;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  ${temps.map((name) => `${name}_temp_path ${folder}/${name};`).join(" ")}
  ${parts.http ?? ""}
  server {${parts.server}
  }
}
`;
}

export const nginxCommand = (folder: string, config: string): readonly string[] => [
  "nginx",
  "-p",
  folder,
  "-e",
  `${folder}/error.log`,
  "-c",
  config,
];

/** `count` different ports that are free now. Should another program take one before its user binds it, that says so. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}
