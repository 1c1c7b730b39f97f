/**
 * The proxies that are compared, each with one core's worth of workers and comparable work on every request: keep-alive
 * on both sides, a pool of upstream connections shared by all clients, hop-by-hop fields taken out, X-Forwarded-For,
 * -Proto and -Host, Via and a fresh X-Request-Id put in, no access log.
 *
 * Not equal, in the peers' favour: Baton also makes a traceparent, picks by load, counts every request into histograms
 * and a statistics file that outlives it, and has a controller-ready core beside the worker, whose CPU is counted.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { launch } from "./processes.ts";
import type { Program } from "./processes.ts";
import type { PeerName } from "./options.ts";
import { nginxCommand, nginxConfig } from "./upstream.ts";

export interface Place {
  readonly folder: string;
  readonly core: number;
  readonly port: number;
  readonly upstreamPort: number;
  readonly env?: Readonly<Record<string, string>>;
}

export type Start = (place: Place) => Program;

function config(place: Place, name: string, text: string): string {
  mkdirSync(place.folder, { recursive: true });
  const file = join(place.folder, name);
  writeFileSync(file, text);
  return file;
}

const haproxy: Start = (place) => {
  const file = config(
    place,
    "haproxy.cfg",
    `global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  option http-keep-alive
  option forwardfor
  http-reuse always
frontend in
  bind 127.0.0.1:${String(place.port)}
  unique-id-format %{+X}o%ci%cp%fi%fp%Ts%rt%pid
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request add-header Via "1.1 bench"
  http-response add-header Via "1.1 bench"
  default_backend upstream
backend upstream
  server one 127.0.0.1:${String(place.upstreamPort)}
`,
  );
  return launch({ name: "haproxy", command: ["haproxy", "-db", "-f", file], core: place.core, logFile: `${file}.log` });
};

const nginx: Start = (place) => {
  const text = nginxConfig(place.folder, {
    http: `upstream service { server 127.0.0.1:${String(place.upstreamPort)}; keepalive 256; keepalive_requests 1000000000; }`,
    server: `
    listen 127.0.0.1:${String(place.port)};
    location / {
      proxy_pass http://service;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header Via "1.1 bench";
      add_header Via "1.1 bench";
    }`,
  });
  const file = config(place, "nginx.conf", text);
  return launch({
    name: "nginx",
    command: nginxCommand(place.folder, file),
    core: place.core,
    logFile: `${file}.log`,
  });
};

const baton: Start = (place) => {
  const file = config(
    place,
    "service.yaml",
    `apiVersion: baton/v1
kind: Service
metadata: { name: bench }
spec:
  version: v1
  listen: [{ address: 127.0.0.1, port: ${String(place.port)}, protocol: http }]
  run: { external: { instances: [{ version: v1, address: "127.0.0.1:${String(place.upstreamPort)}" }] } }
`,
  );
  const root = resolve(import.meta.dirname, "../..");
  const state = join(place.folder, "state");
  const options = [
    "--name",
    "bench",
    "--state",
    state,
    "--admin",
    "127.0.0.1:0",
    "--workers",
    "1",
    "--stop-timeout",
    "3s",
  ];
  return launch({
    name: "baton",
    command: [process.execPath, join(root, "agent/main.ts"), "--static", file, ...options],
    core: place.core,
    logFile: `${file}.log`,
    cwd: place.folder,
    ...(place.env === undefined ? {} : { env: place.env }),
  });
};

export const START: Readonly<Record<PeerName, Start>> = { baton, haproxy, nginx };
