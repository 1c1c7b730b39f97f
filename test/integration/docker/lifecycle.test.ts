import { Agent as HttpAgent, get } from "node:http";
import { expect, test } from "vitest";
import { partsOf } from "../../support/proc.ts";
import { until } from "../../support/processes.ts";
import { DockerLab, PATIENCE_MS, serving, SLOW } from "../../support/docker.ts";

/** Requests without a pause; every one that is not answered in full with 200 is a loss. */
class Traffic implements AsyncDisposable {
  readonly answers = new Map<string, number>();
  readonly losses: string[] = [];
  readonly #agent = new HttpAgent({ keepAlive: true });
  readonly #clients: Promise<void>[];
  #over = false;

  constructor(port: number, clients = 4) {
    this.#clients = Array.from({ length: clients }, async (_, n) => {
      while (!this.#over) await this.#ask(port, n % 2 === 0 ? "/slow" : "/");
    });
  }

  #ask(port: number, path: string): Promise<void> {
    return new Promise((done) => {
      const lost = (why: string): void => {
        this.losses.push(why);
        done();
      };
      const sent = get({ host: "127.0.0.1", port, path, agent: this.#agent }, (response) => {
        let text = "";
        response.on("data", (part: Buffer) => (text += part.toString()));
        response.on("error", (error) => lost(String(error)));
        response.on("end", () => {
          if (response.statusCode !== 200) {
            lost(`${String(response.statusCode)} ${text}`);
            return;
          }
          const version = text.split(" ")[0] ?? "";
          this.answers.set(version, (this.answers.get(version) ?? 0) + 1);
          done();
        });
      });
      sent.on("error", (error) => lost(String(error)));
    });
  }

  async stop(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#clients);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.#agent.destroy();
  }
}

test(
  "from one image to the next under traffic nothing is lost, and the old container goes when it is empty",
  SLOW,
  async () => {
    await using lab = await DockerLab.start();
    const [v1, v2] = [await lab.image("v1"), await lab.image("v2")];
    const agent = await lab.agent(lab.document("v1", { image: v1, port: 3_000 }));
    await serving(agent);
    await using traffic = new Traffic(await agent.port());
    await until("v1 answers", () => (traffic.answers.get("v1") ?? 0) > 20, PATIENCE_MS);
    agent.write(lab.document("v2", { image: v2, port: 3_000 }));
    await until("v2 answers", () => (traffic.answers.get("v2") ?? 0) > 20, PATIENCE_MS);
    await until("one container is left", async () => (await lab.containers()).length === 1, PATIENCE_MS);
    await traffic.stop();
    expect(traffic.losses).toEqual([]);
    expect((await lab.running()).Config.Image).toBe(v2);
  },
);

test(
  "a crash is told with its exit and its last words, and it is started again with backoff as a new container",
  SLOW,
  async () => {
    await using lab = await DockerLab.start();
    const image = await lab.image("v1");
    const agent = await lab.agent(lab.document("v1", { image, port: 3_000, env: { CRASH: "no database" } }));
    await agent.until("it has crashed twice", ([one]) => one?.state === "failed" && one.restarts > 0);
    const [failed] = await agent.instances();
    expect(failed).toMatchObject({ exit: { code: 3, signal: null } });
    expect(failed?.reason).toMatch(/^exited with 3 after \d/);
    expect(failed?.output).toContain("it can't go on: no database");
    expect((await lab.containers()).length).toBeLessThan(2);
  },
);

test("memory beyond the limit is said to be the reason of the end", SLOW, async () => {
  await using lab = await DockerLab.start();
  const image = await lab.image("v1");
  const run = { image, port: 3_000, env: { EAT: "all" }, limits: { memory: "64m" } };
  const agent = await lab.agent(lab.document("v1", run));
  await agent.until("it is ended", ([one]) => one?.state === "failed" && one.exit !== null);
  expect((await agent.instances())[0]).toMatchObject({ exit: { code: 137 } });
  expect((await agent.instances())[0]?.reason).toContain("out of memory: its limit is 64m");
});

test("one that does not heed its stop signal is killed when its grace is over", SLOW, async () => {
  await using lab = await DockerLab.start();
  const image = await lab.image("v1");
  const agent = await lab.agent(lab.document("v1", { image, port: 3_000, env: { STUBBORN: "yes" } }));
  await serving(agent);
  const old = await lab.running();
  agent.write(lab.document("v2", { image, port: 3_000 }));
  await serving(agent, "v2");
  await agent.until("the old one is gone", (all) =>
    all.some(({ version, state }) => version === "v1" && state === "stopped"),
  );
  const [gone] = (await agent.instances()).filter(({ version }) => version === "v1");
  expect(gone).toMatchObject({ exit: { code: 137 } });
  expect(gone?.output).toContain("told to end");
  await until(
    "its container is removed",
    async () => (await lab.containers()).every(({ Id }) => Id !== old.Id),
    PATIENCE_MS,
  );
});

test(
  "containers run on when core or agent are killed, are found again, and what nobody explains is ended",
  SLOW,
  async () => {
    await using lab = await DockerLab.start();
    const image = await lab.image("v1");
    const agent = await lab.agent(lab.document("v1", { image, port: 3_000 }));
    await serving(agent);
    const before = await lab.running();
    const [instance] = await agent.instances();
    const same = expect.objectContaining({ id: instance!.id, pid: before.State.Pid, restarts: 0 }) as unknown;

    const after = agent.process.lines.length;
    process.kill(partsOf(agent.process.pid).core[0]!, "SIGKILL");
    await agent.adminAgain(after);
    await serving(agent);
    await agent.until("the core knows its process again", ([one]) => one?.pid === before.State.Pid);
    expect(await agent.instances()).toEqual([same]);

    // Of this agent, by its labels, and of no record: as an agent leaves it that is killed between two steps.
    const { Config } = before;
    const stray = await lab.docker.createContainer({
      Image: image,
      Env: ["PORT=3000", "HOST=0.0.0.0"],
      Labels: { ...Config.Labels, "baton.run": "shop-r9-0-dead.1", "baton.instance": "shop-r9-0-dead" },
    });
    await stray.start();
    const foreign = await lab.docker.createContainer({
      Image: image,
      Labels: { ...Config.Labels, "baton.scope": "another", "baton.run": "shop-r9-0-beef.1" },
    });

    agent.process.signal("SIGKILL");
    await agent.process.exited;
    await agent.begin();
    await serving(agent);
    await agent.until("the agent knows its process again", ([one]) => one?.pid === before.State.Pid);
    expect(await agent.instances()).toEqual([same]);
    expect((await agent.ask()).status).toBe(200);
    await until("the stray is gone", async () => (await lab.containers()).length === 2, PATIENCE_MS);
    const left = (await lab.containers()).map(({ Id }) => Id);
    expect(left.toSorted()).toEqual([before.Id, foreign.id].toSorted());
  },
);
