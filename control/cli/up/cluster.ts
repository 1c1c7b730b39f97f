/**
 * A whole cluster on loopback, each part a real process: controllers, one gateway, a few hosts, and NATS where the
 * controllers are to stand on it. Its state and logs live in one folder. It is ended in order: agents first (they drain),
 * then controllers, NATS last.
 *
 *   embedded  one controller, "controller", on SQLite; agents over gRPC
 *   NATS      "controller-1" and so on; agents over NATS, or over gRPC to any of the controllers
 */
import { join } from "node:path";
import { EXIT, PORTS } from "../../../proto/contract/limits.ts";
import { Api, Controller } from "../client.ts";
import { CliError } from "../errors.ts";
import { INTERRUPTED } from "../follow.ts";
import type { OwnServer, UpNats } from "./nats.ts";
import { ownServers } from "./nats.ts";
import type { PartsOptions } from "./parts.ts";
import { Parts } from "./parts.ts";
import { freePort, lastingPort } from "./ports.ts";

export { freePort } from "./ports.ts";
export const ROOT = join(import.meta.dirname, "..", "..", "..");

export type AgentsOver = "grpc" | "nats";

/** The controllers of a cluster that stands on NATS. */
export interface OnNats {
  readonly nats: UpNats;
  readonly controllers: number;
  readonly agentsOver: AgentsOver;
}

export interface ClusterOptions extends PartsOptions {
  readonly hosts: number;
  readonly workers: number;
  /** Absent: one controller with a store of its own. */
  readonly onNats?: OnNats;
  /** Ends the start. */
  readonly signal?: AbortSignal;
  /** Fixed ports for a person to type; a busy one is replaced by a free one. */
  readonly wellKnownPorts: boolean;
}

export interface ControllerPart {
  /** As its pid is asked for, and what it calls itself. */
  readonly name: string;
  /** Operators' gRPC, host:port. */
  readonly grpc: string;
  readonly http: string;
}

export interface Cluster extends AsyncDisposable {
  readonly controllers: readonly ControllerPart[];
  /** As `--controller` takes them: all of them. */
  readonly controllerAddress: string;
  /** Of the first controller. */
  readonly httpAddress: string;
  /** Knows all of them. */
  readonly controller: Controller;
  readonly gateway: string;
  readonly hosts: readonly string[];
  /** The cluster's own; none where it has none, or stands on others' servers. */
  readonly natsServers: readonly OwnServer[];
  /** Empty where the store is a controller's own. */
  readonly natsUrls: readonly string[];
  readonly folder: string;
  /** The pid of a part: a controller's name, the gateway's, a host's, a NATS server's. */
  pid(name: string): number;
  /** Starts a part again that has ended, as it was. */
  restart(name: string): void;
  /** Resolves with a sentence when a part ends that should not have. */
  readonly broken: Promise<string>;
}

const START_TIMEOUT_MS = 30_000;
/** Three servers have to find each other, and the store's buckets be made on them. */
const START_ON_NATS_MS = 60_000;

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { folder, onNats, wellKnownPorts } = options;
  const parts = new Parts(options);
  const servers = onNats?.nats.kind === "own" ? ownServers(folder, onNats.nats.servers, wellKnownPorts) : [];
  const natsUrls = onNats?.nats.kind === "given" ? onNats.nats.urls : servers.map(({ url }) => url);
  const natsFlags = [
    ...(onNats === undefined ? [] : ["--nats", natsUrls.join(",")]),
    ...(onNats?.nats.kind === "given" ? onNats.nats.flags : []),
  ];
  const controllers = controllersOf(options);
  const grpc = controllers.map((one) => one.grpc).join(",");
  const hosts = Array.from({ length: options.hosts }, (_, i) => `host-${String(i + 1)}`);
  const gateway = "gateway-1";
  const node = (name: string, file: string, args: readonly string[]): void =>
    parts.start(name, process.execPath, [join(ROOT, file), ...args]);

  for (const { name, command, args } of servers) parts.start(name, command, args);
  for (const one of controllers) {
    node(one.name, "control/main.ts", [
      ...["--grpc", one.grpc, "--http", one.http],
      ...(onNats === undefined ? ["--state", join(folder, one.name)] : ["--name", one.name, ...natsFlags]),
      // Whoever may apply a service to this cluster runs programs here already, by way of its agents.
      "--analysis-commands",
    ]);
  }
  for (const name of [gateway, ...hosts]) {
    node(name, "agent/main.ts", [
      ...["--name", name, "--role", name === gateway ? "gateway" : "host", "--state", join(folder, name)],
      ...(onNats?.agentsOver === "nats" ? natsFlags : ["--controller", grpc]),
      ...["--address", "127.0.0.1", "--inbound-ports", name === gateway ? "declared" : "assigned"],
      ...["--admin", "127.0.0.1:0", "--workers", String(options.workers)],
    ]);
  }

  const stop = (): Promise<void> =>
    parts.stop(
      controllers.map(({ name }) => name),
      servers.map(({ name }) => name),
    );
  const controller = new Controller({ controllers: controllers.map((one) => one.grpc) });
  try {
    const failed = parts.broken.then((why) => Promise.reject(startFailed(why)));
    const withinMs = onNats === undefined ? START_TIMEOUT_MS : START_ON_NATS_MS;
    await Promise.race([allLive(controller, 1 + hosts.length, withinMs, options.signal), failed]);
  } catch (error) {
    controller[Symbol.dispose]();
    await stop();
    throw error;
  }
  return {
    ...{ controllers, controllerAddress: grpc, httpAddress: controllers[0]?.http ?? "", controller, gateway, hosts },
    ...{ natsServers: servers, natsUrls, folder, broken: parts.broken },
    pid: (name) => parts.pid(name),
    restart: (name) => parts.restart(name),
    async [Symbol.asyncDispose]() {
      controller[Symbol.dispose]();
      await stop();
    },
  };
}

function controllersOf({ onNats, wellKnownPorts }: ClusterOptions): readonly ControllerPart[] {
  const at = (i: number, usual: number): string =>
    `127.0.0.1:${String(wellKnownPorts ? freePort(usual + i) : lastingPort())}`;
  return Array.from({ length: onNats?.controllers ?? 1 }, (_, i) => ({
    name: onNats === undefined ? "controller" : `controller-${String(i + 1)}`,
    grpc: at(i, PORTS.controllerGrpc),
    http: at(i, PORTS.controllerHttp),
  }));
}

const startFailed = (why: string): CliError => new CliError(`the cluster did not start: ${why}`, EXIT.failed);

async function allLive(
  controller: Controller,
  wanted: number,
  withinMs: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const deadline = Date.now() + withinMs;
  let seen = "the controller does not answer";
  while (Date.now() < deadline) {
    if (signal?.aborted === true) throw new CliError("interrupted before the cluster was up", INTERRUPTED);
    try {
      const { hosts } = await controller.call(Api.listHosts, {});
      const live = hosts.filter((host) => host.live);
      if (live.length >= wanted) return;
      seen = `${String(live.length)} of ${String(wanted)} agents are there`;
    } catch (error) {
      if (!(error instanceof CliError) || error.exitCode !== EXIT.unreachable) throw error;
      seen = error.message;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw startFailed(`${seen} after ${String(withinMs / 1_000)} s`);
}
