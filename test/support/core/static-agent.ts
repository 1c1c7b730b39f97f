/** A whole real agent on a static file, with the tiny app: for tests that edit the file and kill processes. */
import { mkdtempSync, rmSync, writeFileSync, renameSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Incident, InstanceReport, Report } from "../../../proto/contract/report.ts";
import { ROOT, startNode, until } from "../processes.ts";
import type { RunningProcess } from "../processes.ts";

const APP = resolve(ROOT, "test/support/core/tiny-app.ts");

export interface Document {
  readonly version?: string;
  readonly port?: number;
  readonly extra?: string;
}

export function document({ version = "v1", port = 0, extra = "" }: Document = {}): string {
  return `apiVersion: baton/v1
kind: Service
metadata: { name: shop }
spec:
  version: ${version}
  listen: [{ address: 127.0.0.1, port: ${port}, protocol: http }]
  run: { process: { command: ["${process.execPath}", "${APP}"], cwd: "." } }
  health: { path: /healthz, interval: 500ms, timeout: 500ms, healthyThreshold: 1, unhealthyThreshold: 2 }
  drain: { timeout: 5s, kill: 3s }
  strategy: { rolling: { minHealthyTime: 300ms, healthyDeadline: 2s } }
${extra}`;
}

export class StaticAgent implements AsyncDisposable {
  readonly folder: string;
  readonly file: string;
  readonly state: string;
  process!: RunningProcess;
  /** How long a state is waited for. */
  patienceMs = 15_000;
  #admin = 0;

  constructor(folder = mkdtempSync(join(tmpdir(), "baton-static-"))) {
    this.folder = folder;
    this.file = join(folder, "shop.yaml");
    this.state = join(folder, "state");
  }

  static async start(content: string = document()): Promise<StaticAgent> {
    const agent = new StaticAgent();
    agent.write(content);
    await agent.begin();
    await agent.ready();
    return agent;
  }

  /** As editors do: another file takes the name. */
  write(content: string): void {
    writeFileSync(`${this.file}~`, content);
    renameSync(`${this.file}~`, this.file);
  }

  launch(args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): RunningProcess {
    if (!args.includes("--admin")) return this.launch([...args, "--admin", "127.0.0.1:0"], env);
    this.process = startNode("agent/main.ts", {
      args: ["--static", this.file, "--state", this.state, "--name", "host-1", ...args],
      ...{ env, graceMs: 20_000 },
    });
    return this.process;
  }

  async begin(): Promise<void> {
    this.launch();
    await this.adminAgain();
  }

  /** Waits for the admin of the newest core. */
  async adminAgain(after = 0): Promise<void> {
    const match = await this.process.line(/admin on http:\/\/127\.0\.0\.1:(\d+)/, { after });
    this.#admin = Number(match[1]);
  }

  async ready(): Promise<void> {
    await until("the agent is ready and an instance serves", async () => {
      const { status } = await this.admin("/readyz");
      return status === 200 && (await this.instances()).some(({ state }) => state === "serving");
    });
  }

  async admin(path: string, method = "GET"): Promise<{ readonly status: number; readonly text: string }> {
    return fetchText(this.#admin, path, method);
  }

  async json<T>(path: string): Promise<T> {
    return JSON.parse((await this.admin(path)).text) as T;
  }

  async instances(): Promise<readonly InstanceReport[]> {
    return (await this.json<{ instances: InstanceReport[] }>("/instances")).instances;
  }

  async incidents(): Promise<readonly Incident[]> {
    return (await this.json<{ incidents: Incident[] }>("/incidents")).incidents;
  }

  /** Where the service listens. */
  async port(): Promise<number> {
    const { endpoints } = await this.json<Report>("/report");
    return endpoints[0]?.port ?? 0;
  }

  /** The service's answer to `GET path`. */
  async ask(path = "/"): Promise<{ readonly status: number; readonly text: string }> {
    return fetchText(await this.port(), path, "GET");
  }

  async until(what: string, probe: (instances: readonly InstanceReport[]) => boolean): Promise<void> {
    let seen: readonly InstanceReport[] = [];
    try {
      await until(what, async () => probe((seen = await this.instances())), this.patienceMs);
    } catch (error) {
      throw new Error(`${String(error)}; instances: ${JSON.stringify(seen)}; ${this.process.describe()}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export function fetchText(port: number, path: string, method: string): Promise<{ status: number; text: string }> {
  return new Promise((done, fail) => {
    const sent = request({ host: "127.0.0.1", port, path, method, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => (text += part));
      response.on("end", () => done({ status: response.statusCode ?? 0, text }));
      response.on("error", fail);
    });
    sent.on("error", fail);
    sent.end();
  });
}
