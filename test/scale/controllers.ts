/**
 * Controller processes as operators run them: one on SQLite, or several on NATS. Each can be killed and started again on
 * its ports. CPU and memory are the kernel's figures of the process: /proc/PID/stat, /proc/PID/status. Linux only.
 */
import { readFileSync } from "node:fs";
import { lastingPort } from "../../control/cli/up/ports.ts";
import type { Info } from "../../proto/gen/baton/v1/operator.ts";
import { Api, Client } from "../support/control.ts";
import { startNode } from "../support/processes.ts";
import type { RunningProcess } from "../support/processes.ts";

/** /proc counts CPU time in these. */
const TICKS_A_SECOND = 100;

export interface Usage {
  /** Seconds of one core since the start. */
  readonly cpuSeconds: number;
  readonly rssBytes: number;
  /** The greatest so far. */
  readonly peakBytes: number;
}

export interface ControllerOptions {
  readonly name: string;
  /** `--state DIR`, or `--name NAME --nats URL,...`. */
  readonly args: readonly string[];
  /** Where `node --cpu-prof` leaves its profile; "" for none. */
  readonly profile: string;
}

export class ControllerProcess {
  readonly name: string;
  readonly grpc = `127.0.0.1:${String(lastingPort())}`;
  readonly http = `127.0.0.1:${String(lastingPort())}`;
  readonly #options: ControllerOptions;
  #process: RunningProcess | null = null;
  #client: Client | null = null;

  constructor(options: ControllerOptions) {
    this.name = options.name;
    this.#options = options;
  }

  get client(): Client {
    return (this.#client ??= new Client(this.grpc));
  }

  async start(): Promise<void> {
    const { args, profile } = this.#options;
    const profiling = ["--cpu-prof", `--cpu-prof-dir=${profile}`, "--cpu-prof-interval=500"];
    this.#process = startNode("control/main.ts", {
      args: ["--grpc", this.grpc, "--http", this.http, "--log-level", "warn", ...args],
      nodeArgs: profile === "" ? [] : profiling,
      graceMs: 20_000,
    });
    await this.#process.line(/gRPC on /, { timeoutMs: 60_000 });
  }

  async kill(): Promise<void> {
    this.#process?.signal("SIGKILL");
    await this.#process?.exited;
  }

  async stop(): Promise<void> {
    this.#client?.[Symbol.dispose]();
    await this.#process?.stop();
  }

  /** Null while it does not answer. */
  info(): Promise<Info | null> {
    return this.client.call(Api.getInfo, {}).catch(() => null);
  }

  usage(): Usage {
    const pid = this.#process?.pid ?? 0;
    // Behind the name, which may hold blanks: state, ppid, … utime is the 14th field of all, stime the 15th.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    const ticks = Number(fields[11]) + Number(fields[12]);
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const kilobytes = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]);
    return {
      cpuSeconds: ticks / TICKS_A_SECOND,
      rssBytes: kilobytes("VmRSS") * 1_024,
      peakBytes: kilobytes("VmHWM") * 1_024,
    };
  }

  /** One sample of /metrics; 0 when there is none. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://${this.http}/metrics`)).text();
    const line = text.split("\n").find((one) => one.startsWith(`${name} `));
    return Number(line?.slice(name.length + 1) ?? 0);
  }

  /** How many agents it knows to have what they are to have; -1 while it does not answer. */
  synced(): Promise<number> {
    return this.metric('baton_control_hosts_by_sync{sync="SYNCED"}').catch(() => -1);
  }
}
