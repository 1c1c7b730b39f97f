/** What the core makes of what a driver tells that can't always see its runs. */
import { expect, test } from "vitest";
import type { AgentOptions } from "../../../agent/keeper/protocol.ts";
import type { Adopted, Driver, DriverEvents, RunRequest, RunState } from "../../../agent/core/drivers/driver.ts";
import type { DockerRun } from "../../../proto/contract/spec/docker.ts";
import { assignment, revision, service } from "../../support/core/assignments.ts";
import { ScriptedKeeper } from "../../support/core/scripted-keeper.ts";

const run: DockerRun = {
  ...{ kind: "docker", image: "shop:v1", entrypoint: null, command: null, env: {}, count: 1, port: 8_080 },
  ...{ network: "bridge", mounts: [], user: "", workdir: "", init: false, shmBytes: 0, ulimits: [] },
  limits: { memoryBytes: 0, cpus: 0, pids: 0 },
  ...{ pullPolicy: "IfNotPresent", credentialsFile: null, retain: 2, labels: {} },
  logging: { driver: "json-file", options: {} },
};

class ScriptedDocker implements Driver {
  readonly said: string[] = [];
  readonly asked: RunRequest[] = [];
  events!: DriverEvents;

  port(): Promise<number> {
    return Promise.resolve(0);
  }
  launch(asked: RunRequest): void {
    this.said.push(`launch ${asked.id.split(".").at(-1)!}`);
    this.asked.push(asked);
  }
  adopt(asked: RunRequest, wasUp: { address: string; port: number } | null): Adopted {
    this.said.push(`adopt ${wasUp === null ? "new" : String(wasUp.port)}`);
    this.asked.push(asked);
    return wasUp === null ? "coming" : { ...this.state(), ...wasUp, pid: 0 };
  }
  kill(_: string, signal: string, graceMs: number): void {
    this.said.push(`${signal} ${String(graceMs)}`);
  }
  forget(): void {
    this.said.push("forget");
  }
  health(): { ok: true } {
    return { ok: true };
  }

  state(change: Partial<RunState> = {}): RunState {
    const { id } = this.asked.at(-1)!;
    return { id, pid: 7, startedAtMs: 0, address: "127.0.0.1", port: 41_000, exit: null, error: null, ...change };
  }
  news(change: Partial<RunState> = {}): void {
    this.events.news(this.state(change));
  }
}

function begin(options: Partial<AgentOptions> = {}): {
  readonly keeper: ScriptedKeeper;
  readonly docker: ScriptedDocker;
} {
  const docker = new ScriptedDocker();
  const keeper = new ScriptedKeeper({
    options,
    docker: (events) => {
      docker.events = events;
      return docker;
    },
  });
  keeper.offer(assignment(1, [service([revision(1, "serving", { run })])]));
  return { keeper, docker };
}
const one = (keeper: ScriptedKeeper) => keeper.core.instanceReports()[0]!;

test("a container's port is known when it is up; when it is another after that, it is probed anew", async () => {
  const { keeper, docker } = begin();
  using _ = keeper;
  await keeper.settle(1_000);
  expect([docker.said, one(keeper).state]).toEqual([["launch 1"], "starting"]);
  docker.events.note(docker.asked[0]!.id, "pulling shop:v1 42 %");
  expect(one(keeper).reason).toBe("pulling shop:v1 42 %");
  docker.news();
  docker.events.note(docker.asked[0]!.id, "");
  await keeper.settle(1_000);
  expect(one(keeper)).toMatchObject({ state: "serving", port: 41_000, pid: 7, reason: "" });
  keeper.sick.set(42_000, "503");
  docker.news({ port: 42_000, pid: 8, startedAtMs: 5 });
  await keeper.settle(1_000);
  expect(one(keeper)).toMatchObject({ state: "starting", port: 42_000, pid: 8, restarts: 0 });
});

test("a start for which nothing could be begun is tried again, and counted as no restart; one that ended is", async () => {
  const { keeper, docker } = begin();
  using _ = keeper;
  await keeper.settle(1_000);
  docker.news({ error: "image shop:v1 can't be pulled: not found", begun: false });
  expect(one(keeper)).toMatchObject({ state: "failed", reason: "image shop:v1 can't be pulled: not found" });
  await keeper.settle(1_000);
  expect(one(keeper)).toMatchObject({ state: "starting", restarts: 0, exit: null });
  docker.news();
  await keeper.settle(1_000);
  docker.news({ exit: { code: 137, signal: null, atMs: 2_500, note: "out of memory" } });
  expect(one(keeper)).toMatchObject({ state: "failed", exit: { code: 137, signal: null } });
  expect(one(keeper).reason).toMatch(/^exited with 137 after 2.5 s: out of memory$/);
  await keeper.settle(2_000);
  expect(one(keeper).restarts).toBe(1);
  expect(docker.said).toEqual(["launch 1", "forget", "launch 2", "forget", "launch 3"]);
});

test("what ran is taken to run by the next core and by the next agent, until the engine says otherwise", async () => {
  const { keeper, docker } = begin();
  using _ = keeper;
  await keeper.settle(1_000);
  docker.news();
  await keeper.settle(1_000);
  const before = one(keeper);
  keeper.restart();
  await keeper.settle();
  expect(one(keeper)).toMatchObject({ id: before.id, state: "serving", restarts: 0 });
  keeper.rebirth();
  await keeper.settle(1_000);
  expect(one(keeper)).toMatchObject({ id: before.id, state: "serving", restarts: 0 });
  expect(docker.said).toEqual(["launch 1", "adopt 41000", "adopt 41000"]);
  docker.news({ error: "its container is gone: somebody removed it" });
  await keeper.settle(1_000);
  expect(docker.said.slice(3)).toEqual(["forget", "launch 2"]);
});

test("a core that dies in mid-start has the start gone on with", async () => {
  const { keeper, docker } = begin();
  using _ = keeper;
  await keeper.settle(1_000);
  keeper.restart();
  await keeper.settle(1_000);
  expect([docker.said, one(keeper).state]).toEqual([["launch 1", "adopt new"], "starting"]);
  docker.news();
  await keeper.settle(1_000);
  expect(one(keeper)).toMatchObject({ state: "serving", restarts: 0 });
});

test("at the agent's end containers are told to stop when no worker is left, and the core leaves behind them", async () => {
  const { keeper, docker } = begin();
  using _ = keeper;
  await keeper.settle(1_000);
  docker.news();
  await keeper.settle(1_000);
  keeper.tell({ type: "stopping", signal: "SIGTERM" });
  await keeper.settle(5_000);
  expect(keeper.saidOf("shutdown")).toHaveLength(1);
  expect(docker.said).toEqual(["launch 1"]);
  for (const id of [...keeper.workers.keys()]) keeper.endWorker(id, false);
  await keeper.settle(100);
  expect(docker.said).toEqual(["launch 1", "SIGTERM 2000"]);
  let left = false;
  void keeper.core.leave().then(() => (left = true));
  await keeper.settle(100);
  expect(left).toBe(false);
  docker.news({ exit: { code: 0, signal: null, atMs: 0 } });
  await keeper.settle(100);
  expect([left, docker.said.at(-1)]).toEqual([true, "forget"]);
});

test("where a pod stays, so do the containers: the agent that comes next finds them as they are", async () => {
  const { keeper, docker } = begin({ pod: "/run/baton/pod.sock" });
  using _ = keeper;
  await keeper.settle(1_000);
  docker.news();
  await keeper.settle(1_000);
  keeper.tell({ type: "stopping", signal: "SIGTERM" });
  await keeper.settle(5_000);
  for (const id of [...keeper.workers.keys()]) keeper.endWorker(id, false);
  await keeper.settle(100);
  await keeper.core.leave();
  expect(docker.said).toEqual(["launch 1"]);
});

test("a keeper that is killed takes no container along", async () => {
  const { keeper, docker } = begin();
  using _ = keeper;
  await keeper.settle(1_000);
  docker.news();
  await keeper.core.leave();
  expect(docker.said).toEqual(["launch 1"]);
});
