import { expect, test } from "vitest";
import { engineAddress } from "../../../agent/core/drivers/docker/address.ts";
import { Engine } from "../../../agent/core/drivers/docker/engine.ts";
import { agentNetwork } from "../../../agent/core/drivers/docker/own-container.ts";
import { systemClock } from "../../../proto/runtime/system-clock.ts";
import { until } from "../../support/processes.ts";
import { DockerLab, PATIENCE_MS, serving, SLOW } from "../../support/docker.ts";

test(
  "an image becomes a container that serves through the agent, labelled, limited, with its output at hand",
  SLOW,
  async () => {
    await using lab = await DockerLab.start();
    const image = await lab.image("v1");
    const agent = await lab.agent(
      lab.document("v1", {
        ...{ image, port: 3_000, env: { COLOUR: "blue" }, init: true, user: "1000:1000", workdir: "/tmp" },
        limits: { memory: "256m", cpus: 0.5, pids: 64 },
        ulimits: { nofile: 2_048 },
        shmSize: "32m",
        volumes: [{ type: "tmpfs", target: "/scratch" }],
      }),
    );
    await serving(agent);
    const [instance] = await agent.instances();
    expect(await agent.ask()).toEqual({ status: 200, text: `v1 ${instance!.id}` });

    const { Name, Config, HostConfig, State, NetworkSettings } = await lab.running();
    expect(Name).toBe(`/baton-host-1-${instance!.id}`);
    expect(Config.Labels).toMatchObject({
      ...{ "baton.agent": "host-1", "baton.service": "shop", "baton.version": "v1", "baton.revision": "1" },
      ...{ "baton.instance": instance!.id, "baton.run": `${instance!.id}.1`, "test.baton": lab.id },
    });
    expect(Config.Env).toEqual(
      expect.arrayContaining([
        ...["PORT=3000", "HOST=0.0.0.0", "COLOUR=blue", "BATON_SERVICE=shop", "BATON_VERSION=v1", "BATON_HOST=host-1"],
        `BATON_INSTANCE=${instance!.id}`,
      ]),
    );
    expect(HostConfig).toMatchObject({
      ...{ Memory: 256 << 20, NanoCpus: 5e8, PidsLimit: 64, ShmSize: 32 << 20, Init: true },
      Ulimits: [{ Name: "nofile", Soft: 2_048, Hard: 2_048 }],
      RestartPolicy: { Name: "no" },
      LogConfig: { Type: "json-file", Config: { "max-size": "8m", "max-file": "2" } },
    });
    expect([Config.User, Config.WorkingDir]).toEqual(["1000:1000", "/tmp"]);
    // Only the host itself can reach it past the sidecar.
    expect(NetworkSettings.Ports["3000/tcp"]).toEqual([{ HostIp: "127.0.0.1", HostPort: String(instance!.port) }]);
    expect((await agent.instances())[0]).toMatchObject({ pid: State.Pid, address: "127.0.0.1", restarts: 0 });

    await agent.process.stop();
    expect(await lab.containers()).toEqual([]);
  },
);

test("with the host's network the app listens where Baton says, and two share it", SLOW, async () => {
  await using lab = await DockerLab.start();
  const image = await lab.image("v1");
  const agent = await lab.agent(lab.document("v1", { image, network: "host", count: 2 }));
  await agent.until("both serve", (all) => all.filter(({ state }) => state === "serving").length === 2);
  const all = await agent.instances();
  expect(new Set(all.map(({ port }) => port)).size).toBe(2);
  const seen = new Set<string>();
  await until("both answer", async () => seen.add((await agent.ask()).text).size === 2, PATIENCE_MS);
  expect(seen).toEqual(new Set(all.map(({ id }) => `v1 ${id}`)));
  expect((await lab.containers()).map(({ HostConfig }) => HostConfig.NetworkMode)).toEqual(["host", "host"]);
});

test("on a network of its own it is reached at its container's address", SLOW, async () => {
  await using lab = await DockerLab.start();
  const image = await lab.image("v1");
  const name = `baton-${lab.id}`;
  const network = await lab.docker.createNetwork({ Name: name, Labels: { "test.baton": lab.id } });
  lab.atEnd(() => network.remove());
  const agent = await lab.agent(lab.document("v1", { image, port: 3_000, network: name }));
  await serving(agent);
  const found = await lab.running();
  expect((await agent.instances())[0]).toMatchObject({
    address: found.NetworkSettings.Networks[name]?.IPAddress,
    port: 3_000,
  });
  expect((await agent.ask()).status).toBe(200);
});

test("the image's HEALTHCHECK says whether it is ready", SLOW, async () => {
  await using lab = await DockerLab.start();
  const image = await lab.image("v1", [
    "HEALTHCHECK --interval=1s --retries=1 CMD test ! -e /tmp/sick || { echo sick; false; }",
  ]);
  const text = lab
    .document("v1", { image, port: 3_000 })
    .replace(/health:.*/, "health: { container: {}, interval: 100ms }");
  const agent = await lab.agent(text.replace("interval: 100ms }", "interval: 100ms, unhealthyThreshold: 1 }"));
  await serving(agent);
  const container = lab.docker.getContainer((await lab.running()).Id);
  const exec = await container.exec({ Cmd: ["touch", "/tmp/sick"] });
  await exec.start({ Detach: true });
  await agent.until("it is not ready any more", ([one]) => one?.state === "starting");
  expect((await agent.instances())[0]?.reason).toContain("unhealthy: sick");
});

test(
  "the namespace of the agent is the host's, its own container's, or the one that this has joined",
  SLOW,
  async () => {
    await using lab = await DockerLab.start();
    const image = await lab.image("v1");
    const address = engineAddress({});
    if (typeof address === "string") throw new Error(address);
    const engine = new Engine(address, systemClock);
    const begin = async (NetworkMode: string): Promise<string> => {
      const labels = { "test.baton": lab.id };
      const container = await lab.docker.createContainer({
        ...{ Image: image, Labels: labels, Cmd: ["sleep", "600"], HostConfig: { NetworkMode } },
      });
      await container.start();
      return container.id;
    };
    const seenFrom = (id: string): Promise<string> =>
      agentNetwork(engine, `1 2 0:1 /var/lib/docker/containers/${id}/hostname /etc/hostname rw - ext4 /dev/sda rw\n`);
    const [own, host] = [await begin("bridge"), await begin("host")];
    expect(await seenFrom(own)).toBe(`container:${own}`);
    expect(await seenFrom(host)).toBe("host");
    expect(await seenFrom(await begin(`container:${own}`))).toBe(`container:${own}`);
    expect(await seenFrom("0".repeat(64))).toBe("host");
    expect(await agentNetwork(engine, "")).toBe("host");
  },
);
