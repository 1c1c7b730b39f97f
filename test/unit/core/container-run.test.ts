/** One container as the engine says it is, whatever was taken to be. */
import { expect, test } from "vitest";
import { ContainerRun } from "../../../agent/core/drivers/docker/container-run.ts";
import type { RunWorld } from "../../../agent/core/drivers/docker/container-run.ts";
import { createOptions } from "../../../agent/core/drivers/docker/container.ts";
import type { RunRequest, RunState } from "../../../agent/core/drivers/driver.ts";
import type { DockerRun } from "../../../proto/contract/spec/docker.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const run: DockerRun = {
  ...{ kind: "docker", image: "shop:v1", entrypoint: null, command: null, env: {}, count: 1, port: 0 },
  ...{ network: "agent", mounts: [], user: "", workdir: "", init: false, shmBytes: 0, ulimits: [] },
  limits: { memoryBytes: 0, cpus: 0, pids: 0 },
  ...{ pullPolicy: "IfNotPresent", credentialsFile: null, retain: 2, labels: {} },
  logging: { driver: "json-file", options: {} },
};
const owner = { agent: "host-1", scope: "s", boot: "b" };
const asked: RunRequest = {
  ...{
    id: "shop-1.1",
    instance: "shop-1",
    service: "shop",
    version: "v1",
    revision: 1,
    host: "host-1",
    port: 41_000,
    run,
  },
};

/** Taken to be up by a core that finds it on record; the engine says that it runs in this network. */
async function looked(mode: string): Promise<RunState[]> {
  const told: RunState[] = [];
  const { Labels } = createOptions(asked, run, owner, mode);
  const found = {
    ...{
      Id: "c1",
      Config: { Labels },
      HostConfig: { NetworkMode: mode },
      NetworkSettings: { Ports: {}, Networks: {} },
    },
    State: { Running: true, Status: "running", Pid: 7, StartedAt: "2026-01-01T00:00:00Z", ExitCode: 0 },
  };
  const never = new Promise<never>(() => undefined);
  const engine = { inspect: () => Promise.resolve(found), logs: () => never };
  const world = {
    ...{ engine, images: { ensure: () => never }, owner, clock: new FakeClock(), log: silentLog },
    ...{
      events: { news: (state: RunState) => void told.push(state), note: () => undefined },
      outputFile: () => "/dev/null",
    },
    ...{ networkMode: () => Promise.resolve("container:mine"), engineBack: () => never, settled: () => undefined },
  } as unknown as RunWorld;
  const container = new ContainerRun(world, asked, run);
  container.assume();
  await container.look();
  return told;
}

test("a container in the namespace of this agent is taken on as it is", async () => {
  expect(await looked("container:mine")).toMatchObject([{ id: "shop-1.1", pid: 7, port: 41_000, error: null }]);
});

test("one in a namespace that was made anew beside it can't be reached: it is over, and another takes its place", async () => {
  const [over, ...more] = await looked("container:theirs");
  expect(more).toEqual([]);
  expect(over?.error).toContain("in another network namespace than this agent");
});
