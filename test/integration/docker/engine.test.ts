import { rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DockerLab, PATIENCE_MS, serving, SLOW } from "../../support/docker.ts";
import { until } from "../../support/processes.ts";

/** The engine's socket behind one that can be taken away: its restart, as its clients see it. */
class Door {
  readonly path: string;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(path: string) {
    this.path = path;
  }

  async open(): Promise<void> {
    const server = createServer((client) => {
      const engine = connect("/var/run/docker.sock");
      for (const [one, other] of [
        [client, engine],
        [engine, client],
      ] as const) {
        this.#sockets.add(one);
        one.on("close", () => {
          this.#sockets.delete(one);
          other.destroy();
        });
        one.on("error", () => undefined);
        one.pipe(other);
      }
    });
    this.#server = server;
    await new Promise<void>((done) => server.listen(this.path, done));
  }

  async shut(): Promise<void> {
    const closed = new Promise((done) => this.#server?.close(done));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
    rmSync(this.path, { force: true });
  }
}

test(
  "an engine that is away is no container's end; what happened meanwhile is found when it is back",
  SLOW,
  async () => {
    await using lab = await DockerLab.start();
    const image = await lab.image("v1");
    const agent = lab.newAgent();
    const door = new Door(join(agent.folder, "engine.sock"));
    await door.open();
    lab.atEnd(() => door.shut());
    agent.write(lab.document("v1", { image, port: 3_000 }));
    agent.launch([], { DOCKER_HOST: `unix://${door.path}` });
    await agent.adminAgain();
    await serving(agent);
    const first = await lab.running();
    const [before] = await agent.instances();

    await door.shut();
    await agent.until("it is said", ([one]) => one?.reason.includes("the Docker engine") === true);
    expect((await agent.instances())[0]).toMatchObject({ state: "serving", restarts: 0, pid: before!.pid });
    expect((await agent.ask()).status).toBe(200);

    await door.open();
    await agent.until("all is well", ([one]) => one?.reason === "" && one.state === "serving");
    expect((await lab.running()).Id).toBe(first.Id);

    // It dies while nobody hears of it.
    await door.shut();
    await lab.docker.getContainer(first.Id).kill();
    await agent.until("probes see it", ([one]) => one?.state === "starting");
    expect((await agent.instances())[0]).toMatchObject({ restarts: 0 });
    await door.open();
    await agent.until("it runs again", ([one]) => one?.state === "serving" && one.restarts === 1);
    expect((await agent.instances())[0]).toMatchObject({ exit: { code: 137 } });
    expect((await lab.running()).Id).not.toBe(first.Id);

    // A start that the engine is away for waits for it, and is no failure.
    await door.shut();
    agent.write(lab.document("v2", { image, port: 3_000 }));
    await agent.until("it waits", (all) =>
      all.some((one) => one.version === "v2" && one.reason.includes("can't be reached")),
    );
    await door.open();
    await serving(agent, "v2");
    const v2 = (await agent.instances()).find(({ version }) => version === "v2");
    expect(v2).toMatchObject({ restarts: 0 });
    await until("the old one is gone", async () => (await lab.containers()).length === 1, PATIENCE_MS);
  },
);

test("somebody who removes a container by hand is found out, and it is started again", SLOW, async () => {
  await using lab = await DockerLab.start();
  const image = await lab.image("v1");
  const agent = await lab.agent(lab.document("v1", { image, port: 3_000 }));
  await serving(agent);
  const { Id } = await lab.running();
  await lab.docker.getContainer(Id).remove({ force: true });
  await agent.until("it runs again", ([one]) => one?.state === "serving" && one.restarts === 1);
  expect((await lab.running()).Id).not.toBe(Id);
});
