/**
 * A controller process as operators run it (its own SQLite store, its own gRPC and HTTP ports) and a fleet of light
 * agents in processes of their own, all on this machine.
 *
 * CPU and memory are the kernel's figures of the controller's process: /proc/PID/stat, /proc/PID/status. Linux only.
 */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "../support/control.ts";
import { ROOT, startNode, until } from "../support/processes.ts";
import type { RunningProcess } from "../support/processes.ts";
import type { Answer, Asked, Part, Planned } from "./agents.ts";
import type { Pace } from "./light-agent.ts";

export interface RigOptions {
  readonly agents: number;
  readonly gateways: number;
  /** Hosts are shared out over so many services, by label. */
  readonly services: number;
  readonly connections: number;
  readonly processes: number;
  readonly pace: Pace;
  /** Where `node --cpu-prof` leaves its profile of the controller; "" for none. */
  readonly profile: string;
}

/** /proc counts CPU time in these. */
const TICKS_A_SECOND = 100;

export interface Usage {
  /** Seconds of one core since the start. */
  readonly cpuSeconds: number;
  readonly rssBytes: number;
}

export class Rig implements AsyncDisposable {
  readonly client: Client;
  readonly options: RigOptions;
  readonly database: string;
  readonly #controller: RunningProcess;
  readonly #http: string;
  readonly #children: readonly ChildProcess[];
  readonly #folder: string;
  #stopped: Promise<void> | undefined;

  static async start(options: RigOptions): Promise<Rig> {
    const folder = mkdtempSync(join(tmpdir(), "baton-scale-"));
    const profile = ["--cpu-prof", `--cpu-prof-dir=${options.profile}`, "--cpu-prof-interval=500"];
    const controller = startNode("control/main.ts", {
      args: ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state", folder, "--log-level", "warn"],
      nodeArgs: options.profile === "" ? [] : profile,
      graceMs: 20_000,
    });
    const [, grpc = "", http = ""] = await controller.line(/gRPC on (\S+), HTTP on (\S+), epoch \d+/);
    const children = parts(options, grpc).map((part) => {
      const child = fork(resolve(ROOT, "test/scale/agents.ts"), []);
      child.send(part);
      return child;
    });
    return new Rig(options, controller, grpc, http, children, folder);
  }

  constructor(
    options: RigOptions,
    controller: RunningProcess,
    grpc: string,
    http: string,
    children: readonly ChildProcess[],
    folder: string,
  ) {
    this.options = options;
    this.client = new Client(grpc);
    this.database = join(folder, "controller.db");
    this.#controller = controller;
    this.#http = http;
    this.#children = children;
    this.#folder = folder;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  stop(): Promise<void> {
    return (this.#stopped ??= this.#stop());
  }

  async #stop(): Promise<void> {
    this.client[Symbol.dispose]();
    for (const child of this.#children) child.disconnect();
    await this.#controller.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Every agent has a session. */
  async connected(): Promise<void> {
    const all = this.options.agents + this.options.gateways;
    await until("every agent is connected", async () => (await this.counts()).connected === all, 180_000);
  }

  usage(): Usage {
    const { pid } = this.#controller;
    // Behind the name, which may hold blanks: state, ppid, … utime is the 14th field of all, stime the 15th.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    const ticks = Number(fields[11]) + Number(fields[12]);
    const rss = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return { cpuSeconds: ticks / TICKS_A_SECOND, rssBytes: Number(rss) * 1_024 };
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
    const text = await (await fetch(`http://${this.#http}/metrics`)).text();
    const value = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1] ?? 0);
    return {
      count: value("baton_control_reconcile_seconds_count"),
      seconds: value("baton_control_reconcile_seconds_sum"),
    };
  }

  async counts(): Promise<Answer> {
    const answers = await Promise.all(this.#children.map((child) => ask(child)));
    const sum = (key: keyof Answer): number => answers.reduce((total, answer) => total + answer[key], 0);
    return {
      connected: sum("connected"),
      reports: sum("reports"),
      reportBytes: sum("reportBytes"),
      assignments: sum("assignments"),
      assignmentBytes: sum("assignmentBytes"),
      reportEveryMs: Math.max(...answers.map(({ reportEveryMs }) => reportEveryMs)),
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

function parts(options: RigOptions, controller: string): Part[] {
  const hosts = Array.from({ length: options.agents }, (_, i): Planned => {
    const labels = { part: String(i % options.services) };
    return { host: `host-${String(i).padStart(5, "0")}`, role: "host", labels };
  });
  const gateways = Array.from({ length: options.gateways }, (_, i): Planned => {
    return { host: `gateway-${i}`, role: "gateway", labels: {} };
  });
  const all = [...gateways, ...hosts];
  return Array.from({ length: options.processes }, (_, n) => ({
    controller,
    agents: all.filter((_, i) => i % options.processes === n),
    connections: Math.max(1, Math.round(options.connections / options.processes)),
    pace: options.pace,
  }));
}
