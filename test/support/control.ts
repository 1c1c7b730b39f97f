/** A controller for tests: in this process or as a real one, on kernel ports and a folder of its own; and its client. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { credentials, Metadata } from "@grpc/grpc-js";
import type { ClientReadableStream, ServiceError } from "@grpc/grpc-js";
import { startController } from "../../control/controller.ts";
import type { Controller } from "../../control/controller.ts";
import { LIMITS } from "../../proto/contract/limits.ts";
import { OperatorClient, OperatorService } from "../../proto/gen/baton/v1/operator.ts";
import type { ApplyResponse, HostView, RolloutView } from "../../proto/gen/baton/v1/operator.ts";
import { silentLog } from "../../proto/kernel/log.ts";
import { systemClock, systemRandom } from "../../proto/runtime/system-clock.ts";
import { startNode, until } from "./processes.ts";
import type { RunningProcess } from "./processes.ts";

export class Folder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "baton-control-"));
  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export interface InProcess extends AsyncDisposable {
  readonly controller: Controller;
  readonly client: Client;
  readonly fatal: string[];
}

export async function inProcess(
  state: string,
  changes: Partial<Parameters<typeof startController>[0]> = {},
  token?: string,
): Promise<InProcess> {
  const fatal: string[] = [];
  const controller = await startController({
    grpc: { address: "127.0.0.1", port: 0 },
    http: { address: "127.0.0.1", port: 0 },
    stateDir: state,
    software: "test",
    pid: process.pid,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    fatal: (why) => fatal.push(why),
    leaseMs: 1_000,
    reportEveryMs: 50,
    ...changes,
  });
  const client = new Client(controller.grpc, token);
  return {
    controller,
    client,
    fatal,
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      await controller.stop("the test is over");
    },
  };
}

export interface RealProcess {
  readonly process: RunningProcess;
  readonly grpc: string;
  readonly http: string;
}

export async function realProcess(state: string, ...args: readonly string[]): Promise<RealProcess> {
  const process = startNode("control/main.ts", {
    args: ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state", state, ...args],
  });
  const [, grpc = "", http = ""] = await process.line(/gRPC on (\S+), HTTP on (\S+), /);
  return { process, grpc, http };
}

interface Method<Request, Response> {
  readonly path: string;
  readonly requestSerialize: (value: Request) => Buffer;
  readonly responseDeserialize: (value: Buffer) => Response;
}

export const Api = OperatorService;

export class Client implements Disposable {
  readonly #client: OperatorClient;
  readonly #metadata = new Metadata();

  constructor(address: string, token?: string) {
    this.#client = new OperatorClient(address, credentials.createInsecure(), {
      "grpc.max_receive_message_length": LIMITS.answerBytes,
    });
    if (token !== undefined) this.#metadata.set("authorization", `Bearer ${token}`);
  }

  call<Request, Response>(method: Method<Request, Response>, request: Request): Promise<Response> {
    const { path, requestSerialize, responseDeserialize } = method;
    return new Promise((resolve, reject) => {
      const answered = (error: ServiceError | null, response?: Response): void => {
        if (error === null && response !== undefined) resolve(response);
        else reject(error ?? new Error("no answer"));
      };
      this.#client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, this.#metadata, answered);
    });
  }

  stream<Request, Response>(method: Method<Request, Response>, request: Request): ClientReadableStream<Response> {
    const { path, requestSerialize, responseDeserialize } = method;
    return this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, this.#metadata);
  }

  apply(text: string, options: { readonly deploy?: boolean; readonly dryRun?: boolean } = {}): Promise<ApplyResponse> {
    const documents = [{ file: "shop.yaml", text, baseDir: "/srv" }];
    const request = { documents, deploy: options.deploy ?? true, dryRun: options.dryRun ?? false };
    return this.call(Api.apply, request);
  }

  rollout(service = "shop"): Promise<RolloutView> {
    return this.call(Api.getRollout, { service, rollout: "" });
  }

  async host(name: string): Promise<HostView | undefined> {
    const { hosts } = await this.call(Api.listHosts, {});
    return hosts.find((host) => host.name === name);
  }

  /** The newest rollout once it is as asked. */
  async rolloutWhen(what: string, is: (view: RolloutView) => boolean, timeoutMs = 20_000): Promise<RolloutView> {
    let last: RolloutView | undefined;
    try {
      await until(what, async () => is((last = await this.rollout())), timeoutMs);
    } catch (error) {
      throw new Error(`${(error as Error).message}; at last: ${last?.phase}/${last?.stage} ${last?.message}`);
    }
    return last!;
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

/** A service document; quick in everything, so that a test is. */
export const shopDocument = (version: string, changes: Readonly<Record<string, string>> = {}): string => `
apiVersion: baton/v1
kind: Service
metadata: { name: ${changes["name"] ?? "shop"} }
spec:
  version: ${version}
  listen: [{ address: 127.0.0.1, port: ${changes["port"] ?? "8080"}, protocol: http }]
  run: { process: { command: ["node", "server.js"], cwd: "." } }
  health: { path: /healthz, interval: 100ms, timeout: 100ms, healthyThreshold: 1, unhealthyThreshold: 2 }
  drain: { timeout: ${changes["drain"] ?? "500ms"}, kill: 500ms }
  strategy:
    rolling:
      maxSurge: 1
      maxUnavailable: 0
      minHealthyTime: ${changes["minHealthyTime"] ?? "50ms"}
      healthyDeadline: ${changes["healthyDeadline"] ?? "2s"}
      progressDeadline: ${changes["progressDeadline"] ?? "10s"}
      autoRevert: true
`;
