/**
 * A whole cluster on loopback, each part a real process: one controller, one gateway, a few hosts. Its state and logs
 * live in one folder. Children stand in process groups of their own, so that Ctrl-C reaches this process alone and
 * they are ended in order: agents first (they drain), the controller last.
 */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { mkdirSync, openSync, readFileSync, closeSync } from "node:fs";
import { BoundSocket } from "node:net";
import { delimiter, dirname, join } from "node:path";
import { EXIT, PORTS } from "../../../proto/contract/limits.ts";
import { Api, Controller } from "../client.ts";
import { CliError } from "../errors.ts";
import { INTERRUPTED } from "../follow.ts";

export const ROOT = join(import.meta.dirname, "..", "..", "..");

export interface ClusterOptions {
  readonly folder: string;
  readonly hosts: number;
  readonly workers: number;
  /** Parts that may end without the cluster being broken: those that a test kills, and starts again itself. */
  readonly mayEnd?: readonly string[];
  /** Starts a part again that has ended, and is told so in a sentence. Without it such a part breaks the cluster. */
  readonly onEnded?: (what: string) => void;
  /** Ends the start. */
  readonly signal?: AbortSignal;
  /** Fixed ports for a person to type; a busy one is replaced by a free one. */
  readonly wellKnownPorts: boolean;
}

export interface Cluster extends AsyncDisposable {
  /** Operators' gRPC, host:port. */
  readonly controllerAddress: string;
  readonly httpAddress: string;
  readonly controller: Controller;
  readonly gateway: string;
  readonly hosts: readonly string[];
  readonly folder: string;
  /** The pid of a part: "controller", the gateway's name or a host's. */
  pid(name: string): number;
  /** Starts a part again that has ended, as it was. */
  restart(name: string): void;
  /** Resolves with a sentence when a part ends that should not have. */
  readonly broken: Promise<string>;
}

interface Child {
  readonly name: string;
  readonly process: ChildProcess;
  readonly exited: Promise<void>;
  readonly again: () => void;
}

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 45_000;
const RESTART_MS = 500;
/** A part that has ended more often than this is not started again. */
const MOST_ENDINGS = 10;
const USAGE = 2;

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const logs = join(options.folder, "logs");
  mkdirSync(logs, { recursive: true, mode: 0o700 });
  const children = new Map<string, Child>();
  const expected = new Set(options.mayEnd);
  const { promise: broken, resolve: breaks } = Promise.withResolvers<string>();
  const endings = new Map<string, number>();
  let stopping = false;

  const start = (name: string, file: string, args: readonly string[]): void => {
    const log = openSync(join(logs, `${name}.log`), "a", 0o600);
    const child = spawn(process.execPath, [join(ROOT, file), ...args], {
      detached: true,
      stdio: ["ignore", log, log],
      // Apps are started as `node …`: let them find the Node that runs Baton.
      env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env["PATH"] ?? ""}` },
    });
    closeSync(log);
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.once("exit", (code, signal) => {
      if (stopping || expected.has(name)) return;
      const how = `${name} ended (${signal ?? `exit code ${String(code)}`})`;
      const ends = (endings.get(name) ?? 0) + 1;
      endings.set(name, ends);
      if (options.onEnded === undefined || code === USAGE || ends > MOST_ENDINGS) {
        breaks(`${how}: ${lastLine(join(logs, `${name}.log`))}`);
        return;
      }
      options.onEnded(`${how}; it is started again`);
      setTimeout(() => {
        if (!stopping) start(name, file, args);
      }, RESTART_MS);
    });
    children.set(name, { name, process: child, exited, again: () => start(name, file, args) });
  };

  const stop = async (): Promise<void> => {
    stopping = true;
    // Whoever asks again does not want to wait: agents take the second SIGTERM as "at once".
    const prompt = (): void => {
      for (const child of children.values()) child.process.kill("SIGTERM");
    };
    process.on("SIGINT", prompt).on("SIGTERM", prompt);
    const all = [...children.values()];
    await Promise.all(all.filter((child) => child.name !== "controller").map(end));
    await Promise.all(all.map(end));
    process.off("SIGINT", prompt).off("SIGTERM", prompt);
  };

  const grpc = freePort(options.wellKnownPorts ? PORTS.controllerGrpc : 0);
  const http = freePort(options.wellKnownPorts ? PORTS.controllerHttp : 0);
  const controllerAddress = `127.0.0.1:${String(grpc)}`;
  const httpAddress = `127.0.0.1:${String(http)}`;
  const hosts = Array.from({ length: options.hosts }, (_, i) => `host-${String(i + 1)}`);
  const gateway = "gateway-1";

  start("controller", "control/main.ts", [
    ...["--grpc", controllerAddress, "--http", httpAddress],
    ...["--state", join(options.folder, "controller")],
    // Whoever may apply a service to this cluster runs programs here already, by way of its agents.
    "--analysis-commands",
  ]);
  for (const name of [gateway, ...hosts]) {
    start(name, "agent/main.ts", [
      ...["--name", name, "--role", name === gateway ? "gateway" : "host"],
      ...["--controller", controllerAddress, "--state", join(options.folder, name)],
      ...["--address", "127.0.0.1", "--inbound-ports", name === gateway ? "declared" : "assigned"],
      ...["--admin", "127.0.0.1:0", "--workers", String(options.workers)],
    ]);
  }

  const controller = new Controller({ controllers: [controllerAddress] });
  try {
    const wanted = 1 + hosts.length;
    const failed = broken.then((why) => Promise.reject(startFailed(why)));
    await Promise.race([allLive(controller, wanted, options.signal), failed]);
  } catch (error) {
    controller[Symbol.dispose]();
    await stop();
    throw error;
  }
  return {
    ...{ controllerAddress, httpAddress, controller, gateway, hosts, folder: options.folder, broken },
    pid: (name) => named(children, name).process.pid ?? 0,
    restart: (name) => named(children, name).again(),
    async [Symbol.asyncDispose]() {
      controller[Symbol.dispose]();
      await stop();
    },
  };
}

function named(children: ReadonlyMap<string, Child>, name: string): Child {
  const child = children.get(name);
  if (child === undefined) throw new Error(`no part named ${name}; there are ${[...children.keys()].join(", ")}`);
  return child;
}

const startFailed = (why: string): CliError => new CliError(`the cluster did not start: ${why}`, EXIT.failed);

async function allLive(controller: Controller, wanted: number, signal: AbortSignal | undefined): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
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
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw startFailed(`${seen} after ${String(START_TIMEOUT_MS / 1_000)} s`);
}

/** SIGTERM, then SIGKILL when it has not gone in time. Nothing to do for one that has ended. */
async function end(child: Child): Promise<void> {
  if (child.process.exitCode !== null || child.process.signalCode !== null) return;
  child.process.kill("SIGTERM");
  const timer = setTimeout(() => child.process.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await child.exited;
  clearTimeout(timer);
}

/** `wanted` if it is free on loopback, else one that the kernel picks. */
export function freePort(wanted: number): number {
  try {
    const probe = new BoundSocket({ host: "127.0.0.1", port: wanted });
    const { port } = probe.address();
    probe.close();
    return port;
  } catch (error) {
    if (wanted === 0 || (error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    return freePort(0);
  }
}

function lastLine(file: string): string {
  const line = readFileSync(file, "utf8").trimEnd().split("\n").at(-1) ?? "";
  return `${line.slice(0, 300)} (log: ${file})`;
}
