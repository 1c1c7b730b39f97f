/**
 * The compose cluster under a project of its own: brought up, spoken to as an operator would, taken down with all that
 * it left: containers, networks, volumes, images, and the app's containers, which are the agents' and not Compose's.
 *
 * Errors  CommandFailed; `until` names what was waited for in vain. `down` goes on past what fails and tells of it.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { ROOT, until } from "../support/processes.ts";
import type { Ran } from "./command.ts";
import { attempt, run } from "./command.ts";
import { imagesOf, removeImages } from "./images.ts";

const hosts = z.array(
  z.object({ name: z.string(), live: z.boolean(), sync: z.string(), address: z.string(), epoch: z.number() }),
);
const rollout = z.object({
  id: z.string(),
  stage: z.string(),
  toVersion: z.string(),
  message: z.string(),
  ended: z.boolean(),
  exitCode: z.number(),
  ledger: z.object({ requests: z.number(), lostTotal: z.number(), unexplained: z.number() }),
});
export type Rollout = z.infer<typeof rollout>;

const UP_MS = 120_000;

export class ComposeCluster {
  readonly images;
  readonly #project: string;
  readonly #prefix: string;
  readonly #env: Readonly<Record<string, string>>;

  constructor(project: string) {
    this.#project = project;
    this.#prefix = `${project}-`;
    this.images = imagesOf(this.#prefix);
    const ports = ["BATON_HTTP", "BATON_HTTP1", "BATON_HTTP2", "BATON_GRPC1", "BATON_GRPC2"];
    this.#env = {
      BATON_IMAGE: this.images.baton,
      BATON_PREFIX: this.#prefix,
      // The kernel's choice: several of these may run at once.
      ...Object.fromEntries(ports.map((name) => [name, "0"])),
    };
  }

  compose(...args: readonly string[]): Promise<string> {
    return run("docker-compose", ["-p", this.#project, ...args], { env: this.#env, timeoutMs: UP_MS });
  }

  /** The command line, in that controller's container. */
  baton(controller: string, args: readonly string[], input?: string, timeoutMs?: number): Promise<Ran> {
    return attempt("docker", ["exec", "-i", this.container(controller), "baton", ...args], {
      ...(input === undefined ? { input: "" } : { input }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
  }

  /** As docker-compose 1 names it. */
  container(service: string): string {
    return `${this.#project}_${service}_1`;
  }

  get network(): string {
    return `${this.#project}_default`;
  }

  async up(): Promise<void> {
    await this.compose("up", "-d");
    await this.settled("controller1");
  }

  /** Every agent is heard of, and routes as it is asked. */
  async settled(controller: string): Promise<void> {
    const all = ["gateway", "host1", "host2", "host3"];
    const good = async (): Promise<boolean> => {
      const found = (await this.#hosts(controller)).filter(({ live, sync }) => live && sync === "SYNCED");
      return all.every((name) => found.some((host) => host.name === `${this.#prefix}${name}`));
    };
    await until(`every agent is live and SYNCED for ${controller}`, good, UP_MS);
  }

  async #hosts(controller: string): Promise<z.infer<typeof hosts>> {
    const said = await this.baton(controller, ["get", "hosts", "-o", "json"], undefined, 15_000);
    if (said.code !== 0) return [];
    return hosts.parse(JSON.parse(said.stdout));
  }

  /** `v1` is the Node app, `v2` the Axum one; asked for, not waited for. */
  async deploy(controller: string, version: "v1" | "v2"): Promise<void> {
    const said = await this.baton(controller, ["deploy", "-f", "-"], this.document(version), 30_000);
    if (said.code !== 0) throw new Error(`deploy ${version} by ${controller}: ${said.stdout}${said.stderr}`);
  }

  /** The newest rollout, when it has ended; it must have taken every host to that version and lost nothing. */
  async rolledOut(controller: string, version: string, timeoutMs: number): Promise<Rollout> {
    let newest: Rollout | undefined;
    const ended = async (): Promise<boolean> => {
      const said = await this.baton(controller, ["rollout", "status", "demo", "-o", "json"], undefined, 15_000);
      const parsed = rollout.safeParse(said.stdout === "" ? undefined : JSON.parse(said.stdout));
      if (parsed.success) newest = parsed.data;
      return newest?.ended === true && newest.toVersion === version;
    };
    try {
      await until(`demo is rolled out to ${version}`, ended, timeoutMs);
    } catch (error) {
      throw new Error(`${String(error)}; it stands at ${JSON.stringify(newest)}`, { cause: error });
    }
    if (newest?.exitCode !== 0) throw new Error(`the rollout to ${version} ended with ${JSON.stringify(newest)}`);
    return newest;
  }

  document(version: "v1" | "v2"): string {
    const text = readFileSync(join(ROOT, "test", "compose", `${version}.yaml`), "utf8");
    return text.replace("image: baton-demo:", `image: ${this.images.demo}:`);
  }

  async address(service: string): Promise<string> {
    const format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    return run("docker", ["inspect", "-f", format, this.container(service)]);
  }

  /** Where the gateway's port was published. */
  async published(service: string, port: number): Promise<{ readonly host: string; readonly port: number }> {
    const said = await run("docker", ["port", this.container(service), `${String(port)}/tcp`]);
    const [, host = "", number = ""] = /^(127\.0\.0\.1):(\d+)/m.exec(said) ?? [];
    if (host === "") throw new Error(`${service}:${String(port)} is published at ${said}, not on 127.0.0.1`);
    return { host, port: Number(number) };
  }

  /** The app's containers on one host, by id. */
  async apps(host: string): Promise<readonly string[]> {
    const filter = `label=baton.agent=${this.#prefix}${host}`;
    const ids = await run("docker", ["ps", "--no-trunc", "-q", "--filter", filter]);
    return ids.split("\n").filter((id) => id !== "");
  }

  /** The last lines of every container: for a run that failed. */
  async logs(): Promise<string> {
    const said = await attempt("docker-compose", ["-p", this.#project, "logs", "--no-color", "--tail", "15"], {
      env: this.#env,
    });
    return said.stdout;
  }

  /** Whatever there is of it, in whatever state: sentences on what could not be taken away. */
  async down(): Promise<readonly string[]> {
    const wrong: string[] = [];
    const step = async (act: () => Promise<unknown>): Promise<void> => {
      await act().catch((error: unknown) => wrong.push(String(error)));
    };
    // At once: there is nothing left to be gentle to.
    await step(() => this.compose("kill"));
    await step(async () => {
      const mine: string[] = [];
      for (const host of ["host1", "host2", "host3"]) {
        const filter = `label=baton.agent=${this.#prefix}${host}`;
        mine.push(...(await run("docker", ["ps", "-aq", "--filter", filter])).split("\n").filter((id) => id !== ""));
      }
      if (mine.length > 0) await run("docker", ["rm", "--force", "--volumes", ...mine]);
    });
    await step(() => this.compose("down", "--volumes", "--remove-orphans", "--timeout", "1"));
    await step(() => removeImages(this.images));
    return wrong;
  }
}
