/**
 * What tests need of the machine's Docker engine: images built from a few lines, and everything of a test taken away at its
 * end, found by a label of its own. Other tests use the same engine: nothing is pruned, nothing is named by chance.
 *
 *   await using lab = await DockerLab.start();
 *   const image = await lab.image("v1");
 */
import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import Docker from "dockerode";
import { StaticAgent } from "./core/static-agent.ts";
import { until } from "./processes.ts";
import { tar } from "./tar.ts";

/** For vitest: a test that waits in vain says for what, long before this. */
export const SLOW = { timeout: 180_000, concurrent: true } as const;
export const PATIENCE_MS = 60_000;
export const BASE_IMAGE = "node:26-bookworm-slim";

/** A server of a version: graceful at SIGTERM; misbehaves as its environment says. */
const APP = `
import { createServer } from "node:http";
const { VERSION, PORT, HOST, CRASH, STUBBORN, EAT, BATON_INSTANCE } = process.env;
console.log("app", VERSION, "begins");
if (CRASH) { console.error("it can't go on: " + CRASH); process.exit(3); }
if (EAT) { const held = []; for (;;) held.push(Buffer.alloc(8 << 20, 1)); }
const server = createServer((request, response) => {
  if (request.url === "/crash") { console.error("asked to crash"); process.exit(7); }
  setTimeout(() => response.end(VERSION + " " + BATON_INSTANCE), request.url === "/slow" ? 200 : 0);
});
server.keepAliveTimeout = 60_000;
server.listen(Number(PORT), HOST, () => console.log("listens on", HOST, PORT));
process.on("SIGTERM", () => {
  console.log("told to end");
  if (STUBBORN) return;
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
`;

export class DockerLab implements AsyncDisposable {
  readonly id: string;
  readonly docker = new Docker();
  readonly #images: string[] = [];
  readonly #ends: (() => Promise<unknown>)[] = [];

  private constructor(id: string) {
    this.id = id;
  }

  /** Fails at once, and says what to do, where there is no engine. */
  static async start(): Promise<DockerLab> {
    const lab = new DockerLab(`t${randomUUID().slice(0, 8)}`);
    try {
      await lab.docker.ping();
    } catch (error) {
      throw new Error("these tests need a Docker engine: run `node test/support/prepare.ts`, or install Docker", {
        cause: error,
      });
    }
    return lab;
  }

  /** The tiny app as an image of that version. */
  async image(version: string, extra: readonly string[] = []): Promise<string> {
    const name = `baton-${this.id}:${version}`;
    const lines = [
      `FROM ${BASE_IMAGE}`,
      "COPY app.mjs /app.mjs",
      `ENV VERSION=${version}`,
      ...extra,
      'CMD ["node", "/app.mjs"]',
    ];
    await this.build(name, { Dockerfile: lines.join("\n"), "app.mjs": APP });
    return name;
  }

  async build(name: string, files: Readonly<Record<string, string>>): Promise<void> {
    this.#images.push(name);
    const stream = await this.docker.buildImage(Readable.from([tar(files)]), {
      t: name,
      labels: { "test.baton": this.id },
    });
    const said = await new Promise<readonly { readonly error?: string }[]>((done, fail) => {
      this.docker.modem.followProgress(stream, (error: Error | null, output: readonly { error?: string }[]) => {
        if (error === null) done(output);
        else fail(error);
      });
    });
    const error = said.find((line) => line.error !== undefined)?.error;
    if (error === undefined) return;
    throw new Error(`${name} can't be built: ${error}; its base ${BASE_IMAGE} must be on this machine, or be pulled`);
  }

  /** An image that the test brings here in another way. */
  takesAway(image: string): void {
    this.#images.push(image);
  }

  /** Called at the end, the last first. */
  atEnd(end: () => Promise<unknown>): void {
    this.#ends.push(end);
  }

  document(version: string, run: Readonly<Record<string, unknown>>, extra = ""): string {
    const docker = JSON.stringify({ labels: { "test.baton": this.id }, ...run });
    return `apiVersion: baton/v1
kind: Service
metadata: { name: shop }
spec:
  version: ${version}
  listen: [{ address: 127.0.0.1, port: 0, protocol: http }]
  run: { docker: ${docker} }
  health: { path: /healthz, interval: 200ms, timeout: 2s, healthyThreshold: 1, unhealthyThreshold: 3 }
  drain: { timeout: 10s, kill: 2s }
  strategy: { rolling: { minHealthyTime: 200ms, healthyDeadline: 60s } }
${extra}`;
  }

  /** A whole agent on that document, not waited for. */
  async agent(document: string): Promise<StaticAgent> {
    const agent = this.newAgent();
    agent.write(document);
    await agent.begin();
    return agent;
  }

  /** Waited for longer than others: the engine, too, is shared with whatever else this machine does. */
  newAgent(): StaticAgent {
    const agent = new StaticAgent();
    agent.patienceMs = PATIENCE_MS;
    this.atEnd(() => agent[Symbol.asyncDispose]());
    return agent;
  }

  async containers(all = true): Promise<Docker.ContainerInspectInfo[]> {
    const filters = { label: [`test.baton=${this.id}`] };
    const list = await this.docker.listContainers({ all, filters });
    const found = await Promise.all(
      list.map(({ Id }) =>
        this.docker
          .getContainer(Id)
          .inspect()
          .catch(() => undefined),
      ),
    );
    return found.filter((one) => one !== undefined);
  }

  /** The one that runs. */
  async running(): Promise<Docker.ContainerInspectInfo> {
    let found: Docker.ContainerInspectInfo[] = [];
    await until("one container runs", async () => (found = await this.containers(false)).length === 1, PATIENCE_MS);
    return found[0]!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of this.#ends.toReversed()) await end();
    const list = await this.docker.listContainers({ all: true, filters: { label: [`test.baton=${this.id}`] } });
    const quiet = (error: { statusCode?: number }): void => {
      if (error.statusCode !== 404 && error.statusCode !== 409) throw error as Error;
    };
    for (const { Id } of list) await this.docker.getContainer(Id).remove({ force: true, v: true }).catch(quiet);
    for (const image of this.#images) await this.docker.getImage(image).remove({ force: true }).catch(quiet);
  }
}

/** Says what is wrong with them when none does. */
export const serving = (agent: StaticAgent, version = ""): Promise<void> =>
  agent.until(`an instance of ${version} serves`, (all) =>
    all.some((one) => one.state === "serving" && (version === "" || one.version === version)),
  );
