/**
 * Controllers as operators run them (controllers.ts) and a fleet of light agents in processes of their own, all on this
 * machine: one controller on SQLite with agents over gRPC, or two on real NATS servers with agents over NATS or gRPC.
 */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "../support/control.ts";
import type { NatsServers } from "../support/nats.ts";
import { startNats } from "../support/nats.ts";
import { ROOT, until } from "../support/processes.ts";
import type { Answer, Asked, Part, Planned } from "./agents.ts";
import { ControllerProcess } from "./controllers.ts";
import type { Usage } from "./controllers.ts";
import type { Pace } from "./light-agent.ts";

export interface RigOptions {
  readonly hosts: readonly Planned[];
  readonly gateways: number;
  /** That the hosts' label `part` shares them out over (update.ts). */
  readonly services: number;
  /** How agents are connected; "nats" only where the controllers stand on it. */
  readonly over: "grpc" | "nats";
  /** Servers that two controllers stand on; 0: one controller on SQLite. */
  readonly natsServers: 0 | 1 | 3;
  readonly connections: number;
  readonly processes: number;
  readonly pace: Pace;
  /** Where `node --cpu-prof` leaves its profile of the first controller; "" for none. */
  readonly profile: string;
}

const CONNECT_MS = 180_000;

export class Rig implements AsyncDisposable {
  readonly options: RigOptions;
  readonly controllers: readonly ControllerProcess[];
  /** Of a controller with a store of its own. */
  readonly database: string;
  /** The one that leads, as far as was last looked. */
  leader: ControllerProcess;
  readonly #nats: NatsServers | null;
  readonly #children: ChildProcess[] = [];
  readonly #folder: string;
  #stopped: Promise<void> | undefined;

  static async start(options: RigOptions): Promise<Rig> {
    const folder = mkdtempSync(join(tmpdir(), "baton-scale-"));
    const { natsServers, profile } = options;
    const nats = natsServers === 0 ? null : await startNats({ servers: natsServers });
    const names = nats === null ? ["controller"] : ["controller-1", "controller-2"];
    const controllers = names.map((name, i) => {
      const args = nats === null ? ["--state", folder] : ["--name", name, "--nats", nats.urls.join(",")];
      return new ControllerProcess({ name, args, profile: i === 0 ? profile : "" });
    });
    const rig = new Rig(options, controllers, nats, folder);
    try {
      for (const controller of controllers) await controller.start();
      await rig.led();
      const grpc = controllers.map((controller) => controller.grpc);
      const to = (options.over === "nats" ? (nats?.urls ?? []) : grpc).join(",");
      for (const part of parts(options, to)) {
        const child = fork(resolve(ROOT, "test/scale/agents.ts"), []);
        child.send(part);
        rig.#children.push(child);
      }
      return rig;
    } catch (error) {
      await rig.stop();
      throw error;
    }
  }

  private constructor(
    options: RigOptions,
    controllers: readonly ControllerProcess[],
    nats: NatsServers | null,
    folder: string,
  ) {
    this.options = options;
    this.controllers = controllers;
    this.leader = controllers[0]!;
    this.database = join(folder, "controller.db");
    this.#nats = nats;
    this.#folder = folder;
  }

  get client(): Client {
    return this.leader.client;
  }

  get all(): number {
    return this.options.hosts.length + this.options.gateways;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  stop(): Promise<void> {
    return (this.#stopped ??= this.#stop());
  }

  async #stop(): Promise<void> {
    for (const child of this.#children) child.disconnect();
    for (const controller of this.controllers) await controller.stop();
    await this.#nats?.[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Resolves when one of the controllers leads. */
  async led(): Promise<void> {
    await until(
      "a controller leads",
      async () => {
        for (const controller of this.controllers) {
          if ((await controller.info())?.role !== "leader") continue;
          this.leader = controller;
          return true;
        }
        return false;
      },
      60_000,
    );
  }

  /** Every agent has a session. */
  async connected(): Promise<void> {
    await until("every agent is connected", async () => (await this.counts()).connected === this.all, CONNECT_MS);
  }

  /** Of the leader. */
  usage(): Usage {
    return this.leader.usage();
  }

  /** Percent of a core over the next `ms`. */
  async cpuOver(ms: number): Promise<number> {
    const began = performance.now();
    const before = this.usage();
    await sleep(ms);
    return ((this.usage().cpuSeconds - before.cpuSeconds) / ((performance.now() - began) / 1_000)) * 100;
  }

  /** Rounds of the reconcile loop so far, and the seconds they took. */
  async rounds(): Promise<{ readonly count: number; readonly seconds: number }> {
    return {
      count: await this.leader.metric("baton_control_reconcile_seconds_count"),
      seconds: await this.leader.metric("baton_control_reconcile_seconds_sum"),
    };
  }

  async counts(): Promise<Answer> {
    const answers = await Promise.all(this.#children.map((child) => ask(child)));
    const sum = (key: keyof Answer): number => answers.reduce((total, answer) => total + answer[key], 0);
    return {
      connected: sum("connected"),
      reports: sum("reports"),
      assignments: sum("assignments"),
      bytesDown: sum("bytesDown"),
      bytesUp: sum("bytesUp"),
    };
  }

  /** Every agent counts so many requests a second from now on. */
  traffic(perSecond: number): void {
    for (const child of this.#children) child.send({ kind: "rate", perSecond } satisfies Asked);
  }
}

function ask(child: ChildProcess): Promise<Answer> {
  return new Promise((answered, failed) => {
    const ended = (): void => failed(new Error("a process of agents has ended"));
    child.once("exit", ended);
    child.once("message", (answer) => {
      child.off("exit", ended);
      answered(answer as Answer);
    });
    child.send({ kind: "counts" } satisfies Asked);
  });
}

function parts(options: RigOptions, to: string): Part[] {
  const gateways = Array.from({ length: options.gateways }, (_, i): Planned => {
    return { host: `gateway-${i}`, role: "gateway", labels: {} };
  });
  const all = [...gateways, ...options.hosts];
  return Array.from({ length: options.processes }, (_, n) => ({
    ...{ over: options.over, to, pace: options.pace },
    agents: all.filter((_, i) => i % options.processes === n),
    connections: Math.max(1, Math.round(options.connections / options.processes)),
  }));
}

export const hostName = (i: number): string => `host-${String(i).padStart(5, "0")}`;
