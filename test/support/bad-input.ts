/**
 * A small fleet for tests of bad input: controller, gateway and one host by real processes, and the real command line.
 *
 *   await using fleet = await BadInput.start();
 *   const said = await fleet.baton("apply", "-f", fleet.file("typo.yaml", shop({ ... })));
 *   expectRefusal(said, EXIT.usage, [/typo\.yaml:5:3: .../]);
 */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { expect } from "vitest";
import { Api } from "../../control/cli/client.ts";
import type { Cluster } from "../../control/cli/up/cluster.ts";
import { freePort, startCluster } from "../../control/cli/up/cluster.ts";
import type { RolloutView } from "../../proto/gen/baton/v1/operator.ts";
import { ROOT, startNode, until } from "./processes.ts";

const APP = resolve(ROOT, "test/support/core/tiny-app.ts");
const PARTS = ["controller", "gateway-1", "host-1"] as const;
export type Part = (typeof PARTS)[number];

export interface Said {
  readonly code: number | null;
  readonly stdout: string;
  /** Without empty ones. */
  readonly lines: readonly string[];
}

export interface Shop {
  readonly port: number;
  readonly name?: string;
  readonly version?: string;
  readonly command?: readonly string[];
}

export const shop = ({ port, name = "shop", version = "v1", command = ["node", APP] }: Shop): string =>
  `apiVersion: baton/v1
kind: Service
metadata: { name: ${name} }
spec:
  version: ${version}
  listen: [{ address: 127.0.0.1, port: ${String(port)}, protocol: http }]
  run: { process: { command: ${JSON.stringify(command)}, cwd: "." } }
  health: { path: /healthz, interval: 300ms, timeout: 200ms, healthyThreshold: 1, unhealthyThreshold: 2 }
  drain: { timeout: 2s, kill: 2s }
  strategy: { rolling: { minHealthyTime: 200ms, healthyDeadline: 2s } }
`;

/** One command, and all that it said. */
export async function baton(
  folder: string,
  env: Readonly<Record<string, string>>,
  args: readonly string[],
): Promise<Said> {
  const process = startNode("control/cli/main.ts", { args, env, cwd: folder });
  const { code } = await process.exited;
  return { code, stdout: process.stdout, lines: process.stderr.split("\n").filter((line) => line !== "") };
}

/** `patterns`: one line each, and there is no other, nor anything on stdout. */
export function expectRefusal(said: Said, code: number, patterns: readonly RegExp[]): void {
  expect(said.lines).toEqual(patterns.map((pattern) => expect.stringMatching(pattern) as string));
  expect(said.lines.join("\n")).not.toMatch(/^\s+at |node:internal|\.ts:\d+:\d+\)/m);
  expect(said).toMatchObject({ code, stdout: "" });
}

export class BadInput implements AsyncDisposable {
  readonly folder: string;
  readonly cluster: Cluster;
  /** Of the service "shop", at the gateway. */
  readonly port: number;

  private constructor(folder: string, cluster: Cluster) {
    this.folder = folder;
    this.cluster = cluster;
    this.port = freePort(0);
  }

  static async start(): Promise<BadInput> {
    const folder = mkdtempSync(join(tmpdir(), "baton-bad-"));
    const options = { folder, hosts: 1, workers: 1, wellKnownPorts: false, mayEnd: PARTS };
    const fleet = new BadInput(folder, await startCluster(options));
    await fleet.rollOut(shop({ port: fleet.port }), "Succeeded");
    await fleet.atRest();
    return fleet;
  }

  file(name: string, content: string): string {
    writeFileSync(join(this.folder, name), content);
    return name;
  }

  baton(...args: readonly string[]): Promise<Said> {
    return baton(this.folder, { BATON_CONTROLLER: this.cluster.controllerAddress }, args);
  }

  /** Through the API, and followed until its stage is this. */
  async rollOut(text: string, stage: string): Promise<RolloutView> {
    const documents = [{ file: "shop.yaml", text, baseDir: this.folder }];
    const { results } = await this.cluster.controller.call(Api.apply, { documents, deploy: true, dryRun: false });
    return await this.rollout(results[0]?.rollout ?? "", (view) => view.stage === stage);
  }

  async rollout(id: string, when: (view: RolloutView) => boolean): Promise<RolloutView> {
    let last: RolloutView | undefined;
    const asked = async (): Promise<boolean> => {
      last = await this.cluster.controller.call(Api.getRollout, { service: "", rollout: id });
      return when(last);
    };
    await until(`${id} is as awaited`, asked, 30_000).catch((error: unknown) => {
      throw new Error(`${String(error)}; it is ${last?.phase ?? "?"} ${last?.stage ?? ""}: ${last?.message ?? ""}`);
    });
    if (last === undefined) throw new Error("never seen");
    return last;
  }

  /** What nothing may change: all that is stored and asked, what runs, and what agents hold on disk. */
  async snapshot(): Promise<unknown> {
    const { controller } = this.cluster;
    const [{ services }, { rollouts }, { hosts }] = await Promise.all([
      controller.call(Api.listServices, {}),
      controller.call(Api.listRollouts, { service: "" }),
      controller.call(Api.listHosts, {}),
    ]);
    return {
      services: services.map(({ name, stableRevision, revisions, rollout }) => ({
        name,
        stableRevision,
        revisions,
        rollout,
      })),
      rollouts: rollouts.map(({ id, phase, stage, transitions }) => ({ id, phase, stage, transitions })),
      hosts: hosts.map(({ name, adminState, live, sync, epoch, generation, instances }) => ({
        ...{ name, adminState, live, sync, epoch, generation },
        instances: instances.map(({ id, version, state, restarts }) => ({ id, version, state, restarts })),
      })),
      files: ["gateway-1", "host-1"].flatMap((part) =>
        ["assignment.json", "fence.json", "ports.json"].map((name) => hashOf(join(this.folder, part, name))),
      ),
    };
  }

  /** Every agent has confirmed what it is asked: nothing is on its way. */
  async atRest(): Promise<void> {
    await until("every agent is in sync", async () => {
      const { hosts } = await this.cluster.controller.call(Api.listHosts, {});
      return hosts.every(({ sync }) => sync === "SYNCED");
    });
  }

  /** Which version answers at the gateway. */
  async serves(): Promise<string> {
    return (await get(this.port)).split(" ")[0] ?? "";
  }

  state(part: Part, file = ""): string {
    return join(this.folder, part, file);
  }

  async stop(parts: readonly Part[], signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const pids = parts.map((part) => this.cluster.pid(part));
    for (const pid of pids) process.kill(pid, signal);
    await until(`${parts.join(", ")} ended`, () => pids.every((pid) => !runs(pid)), 30_000);
  }

  /** Ended, changed on disk, and started again; answers what it logged since. */
  async restart(
    part: Part,
    signal: "SIGTERM" | "SIGKILL",
    change: () => void,
    ready: () => boolean | Promise<boolean>,
  ): Promise<() => string> {
    await this.stop([part], signal);
    const log = join(this.folder, "logs", `${part}.log`);
    const from = statSync(log).size;
    change();
    this.cluster.restart(part);
    const logged = (): string => readFileSync(log).subarray(from).toString("utf8");
    await until(`${part} is back`, ready, 30_000).catch((error: unknown) => {
      throw new Error(`${String(error)}; it logged:\n${logged()}`);
    });
    return logged;
  }

  /** The controller answers, and every agent has come back to it. */
  async together(): Promise<boolean> {
    try {
      const { hosts } = await this.cluster.controller.call(Api.listHosts, {});
      return hosts.filter((host) => host.live).length === 2;
    } catch {
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Takes a port of loopback and never answers on it. */
export async function blockedPort(port = 0): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createServer();
  await new Promise<void>((done, fail) => server.once("error", fail).listen(port, "127.0.0.1", done));
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise<void>((done) => server.close(() => done())),
  };
}

export function get(port: number): Promise<string> {
  return new Promise((done, fail) => {
    const sent = request({ host: "127.0.0.1", port, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => (text += part));
      response.on("end", () => done(response.statusCode === 200 ? text : `${String(response.statusCode)} ${text}`));
      response.on("error", fail);
    });
    sent.on("error", fail);
    sent.end();
  });
}

function hashOf(path: string): string {
  return `${path.slice(dirname(dirname(path)).length)} ${createHash("sha256").update(readFileSync(path)).digest("hex")}`;
}

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
