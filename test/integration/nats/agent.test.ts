/** Real agents that take their assignment over NATS while no controller runs anywhere (RACES C1, C8). */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { Puts } from "../../../control/fleet/nats/puts.ts";
import type { AssignedService } from "../../../proto/contract/assignment.ts";
import { assignmentHash } from "../../../proto/contract/canonical.ts";
import { natsNames } from "../../../proto/contract/nats.ts";
import type { Incident } from "../../../proto/contract/report.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { systemClock, systemRandom } from "../../../proto/runtime/system-clock.ts";
import { health, probe, revision, run, service } from "../../support/core/assignments.ts";
import { NatsController } from "../../support/nats-controller.ts";
import { startNats } from "../../support/nats.ts";
import type { NatsServers } from "../../support/nats.ts";
import { ROOT, startNode, until } from "../../support/processes.ts";
import type { RunningProcess } from "../../support/processes.ts";

const APP = resolve(ROOT, "test/support/core/tiny-app.ts");
const shop = (number: number): AssignedService =>
  service(
    [
      revision(number, "serving", {
        run: run({ command: [process.execPath, APP], cwd: ROOT, env: {} }),
        health: health({ readiness: probe({ intervalMs: 300, healthyThreshold: 1 }) }),
      }),
    ],
    { listeners: [{ address: "127.0.0.1", port: 0, protocol: "http" as const }] },
  );

class Agent implements AsyncDisposable {
  readonly state: string;
  process!: RunningProcess;
  #admin = "";
  readonly #nats: NatsServers;

  constructor(folder: string, nats: NatsServers) {
    this.state = join(folder, "state");
    this.#nats = nats;
  }

  async start(): Promise<void> {
    const own = ["--name", "host-1", "--state", this.state, "--admin", "127.0.0.1:0", "--inbound-ports", "assigned"];
    const args = ["--nats", this.#nats.urls.join(), "--cluster", "baton", ...own];
    this.process = startNode("agent/main.ts", { args, graceMs: 20_000 });
    [, this.#admin = ""] = await this.process.line(/admin on (http:\/\/127\.0\.0\.1:\d+)/);
  }

  async json<T>(path: string): Promise<T> {
    return (await (await fetch(this.#admin + path)).json()) as T;
  }

  async serves(version: string): Promise<void> {
    await until(
      `it serves ${version}`,
      async () => {
        const { endpoints } = await this.json<{ endpoints: { port: number }[] }>("/report");
        const port = endpoints[0]?.port;
        if (port === undefined) return false;
        return (await ask(port)).startsWith(`${version} `);
      },
      30_000,
    ).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}\n${this.process.describe()}`);
    });
  }

  async kill(): Promise<void> {
    this.process.signal("SIGKILL");
    await this.process.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process.stop();
  }
}

/** On a connection of its own: one that is kept may lead to a worker that the agent before has left. */
function ask(port: number): Promise<string> {
  return new Promise((done) => {
    const sent = request({ host: "127.0.0.1", port, agent: false, timeout: 2_000 }, (response) => {
      let text = "";
      response.on("data", (part: Buffer) => (text += part.toString("utf8")));
      response.on("end", () => done(text));
      response.on("error", () => done(""));
    });
    sent.on("timeout", () => sent.destroy());
    sent.on("error", () => done(""));
    sent.end();
  });
}

async function put(nats: NatsServers, generation: number, assigned: AssignedService): Promise<void> {
  const link = await nats.link();
  const ambient = { clock: systemClock, random: systemRandom, log: silentLog };
  const puts = new Puts({ ...ambient, link, names: natsNames("baton"), refused: () => undefined });
  const services = [assigned];
  puts.put("host-1", { epoch: 1, generation, services, hash: assignmentHash(services) });
  await until("it is put", () => puts.pending === 0);
  await puts.close();
}

test("C1, C8: from its key at the first boot, from disk without NATS, from its key again when its disk is damaged", async () => {
  const folder = mkdtempSync(join(tmpdir(), "baton-over-nats-"));
  try {
    await using nats = await startNats();
    await put(nats, 1, shop(1));
    await using agent = new Agent(folder, nats);
    await agent.start();
    await agent.serves("v1");

    // Its machine is started again, and nothing else is there.
    await agent.kill();
    await nats.servers[0]!.kill();
    await agent.start();
    await agent.serves("v1");
    await nats.servers[0]!.restart();
    await put(nats, 2, shop(2));
    await agent.serves("v2");

    // A torn write: the file is set aside whole, named, and what the key holds is taken.
    await agent.kill();
    const file = join(agent.state, "assignment.json");
    const torn = readFileSync(file, "utf8").slice(0, 400);
    writeFileSync(file, torn);
    await agent.start();
    await agent.serves("v2");
    const aside = readdirSync(agent.state).filter((name) => name.startsWith("assignment.json.damaged"));
    expect(aside.map((name) => readFileSync(join(agent.state, name), "utf8"))).toEqual([torn]);
    const { incidents } = await agent.json<{ incidents: Incident[] }>("/incidents");
    expect(incidents[0]).toMatchObject({ kind: "state_set_aside", message: expect.stringContaining(file) as string });

    // A controller comes at last, learns what there is, and is told when the agent goes.
    await using controller = new NatsController({ link: await nats.link(), epoch: 2 });
    await until("it reports", () => controller.live("host-1"));
    expect(controller.fleet.agent("host-1")?.applied).toMatchObject({ epoch: 1, generation: 2 });
    await agent.process.stop();
    expect(controller.fleet.agent("host-1")?.session).toBeNull();
    expect(controller.fleet.agent("host-1")?.report?.instances).toMatchObject([{ version: "v2" }]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 60_000);
