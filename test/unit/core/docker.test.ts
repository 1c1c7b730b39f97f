import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { engineAddress } from "../../../agent/core/drivers/docker/address.ts";
import { createOptions, readContainer, scopeOf } from "../../../agent/core/drivers/docker/container.ts";
import { readCredentials } from "../../../agent/core/drivers/docker/credentials.ts";
import type { Inspected, Stream } from "../../../agent/core/drivers/docker/engine.ts";
import { frames, seconds } from "../../../agent/core/drivers/docker/logs.ts";
import { readPull } from "../../../agent/core/drivers/docker/pull.ts";
import type { RunRequest } from "../../../agent/core/drivers/driver.ts";
import { next } from "../../../agent/core/instances/life.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import type { DockerRun } from "../../../proto/contract/spec/docker.ts";

const run = (over: Partial<DockerRun> = {}): DockerRun => ({
  ...{ kind: "docker", image: "shop:v1", entrypoint: null, command: null, env: {}, count: 1, port: 8_080 },
  ...{ network: "bridge", mounts: [], user: "", workdir: "", init: false, shmBytes: 0, ulimits: [] },
  limits: { memoryBytes: 0, cpus: 0, pids: 0 },
  ...{ pullPolicy: "IfNotPresent", credentialsFile: null, retain: 2, labels: {} },
  logging: { driver: "json-file", options: {} },
  ...over,
});
const asked = (held: DockerRun, port = 0): RunRequest => ({
  ...{
    id: "shop-r1-0-ab12.3",
    instance: "shop-r1-0-ab12",
    service: "shop",
    revision: 1,
    version: "v1",
    run: held,
    port,
  },
});
const owner = { agent: "web-1", scope: scopeOf("/var/lib/baton"), boot: "b1" };

test("DOCKER_HOST is read as Docker's own command line reads it", () => {
  expect(engineAddress({})).toEqual({
    where: "unix:///var/run/docker.sock",
    options: { socketPath: "/var/run/docker.sock" },
  });
  expect(engineAddress({ DOCKER_HOST: "unix:///run/x.sock" })).toMatchObject({
    options: { socketPath: "/run/x.sock" },
  });
  expect(engineAddress({ DOCKER_HOST: "tcp://10.0.0.1" })).toMatchObject({
    options: { host: "10.0.0.1", port: 2_375, protocol: "http" },
  });
  expect(engineAddress({ DOCKER_HOST: "tcp://d:1", DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: "/none" })).toMatch(
    /^DOCKER_CERT_PATH is \/none: ENOENT/,
  );
  expect(engineAddress({ DOCKER_HOST: "ssh://me@there" })).toContain("it is read as unix:///PATH or tcp://HOST:PORT");
});

test("in its own network the app listens everywhere at its port; in a shared one on loopback at Baton's choice", () => {
  const own = createOptions(asked(run(), 4_000), run(), owner, "bridge");
  expect(own.Env).toEqual(expect.arrayContaining(["PORT=8080", "HOST=0.0.0.0"]));
  expect(own.HostConfig?.PortBindings).toEqual({ "8080/tcp": [{ HostIp: "127.0.0.1", HostPort: "4000" }] });
  const held = run({ network: "container:pause", port: 0, env: { BATON_HOST: "forged" } });
  const shared = createOptions(asked(held, 4_000), held, owner, "container:pause");
  expect(shared.Env).toEqual(expect.arrayContaining(["PORT=4000", "HOST=127.0.0.1", "BATON_HOST=web-1"]));
  expect(shared.HostConfig).toMatchObject({ NetworkMode: "container:pause" });
  expect(shared.HostConfig?.PortBindings).toBeUndefined();
});

test("what the engine says of an end is told: the code, memory, and when", () => {
  const State = {
    ...{ Status: "exited", Pid: 0, ExitCode: 137, OOMKilled: true, Error: "" },
    ...{ StartedAt: "2026-01-02T03:04:05.5Z", FinishedAt: "2026-01-02T03:04:07.75Z" },
  };
  const found = { Id: "abc", State, NetworkSettings: { Ports: {}, Networks: {} } } as unknown as Inspected;
  const held = run({ limits: { memoryBytes: 64 << 20, cpus: 0, pids: 0 } });
  expect(readContainer(found, asked(held), held)).toMatchObject({
    ...{ phase: "ended", port: 0, health: null },
    exit: { code: 137, note: "out of memory: its limit is 64m", atMs: Date.parse("2026-01-02T03:04:07.750Z") },
  });
});

test("credentials: Docker's file by registry, or one line; what a helper holds is said to be out of reach", () => {
  const folder = mkdtempSync(join(tmpdir(), "baton-credentials-"));
  const file = join(folder, "f");
  const read = (text: string, registry = "r.example:5000") => {
    writeFileSync(file, text);
    return readCredentials(file, registry);
  };
  const auth = Buffer.from("me:pass:word").toString("base64");
  const mine = { kind: "ok", value: { username: "me", password: "pass:word" } };
  try {
    expect(read("me:pass:word\n")).toMatchObject(mine);
    expect(read(JSON.stringify({ auths: { "https://r.example:5000/v1/": { auth } } }))).toMatchObject(mine);
    expect(read(JSON.stringify({ auths: { "https://index.docker.io/v1/": { auth } } }), "docker.io")).toMatchObject(
      mine,
    );
    expect(read(JSON.stringify({ auths: { "r.example:5000": { identitytoken: "t" } } }))).toMatchObject({
      value: { identitytoken: "t", serveraddress: "r.example:5000" },
    });
    expect(read(JSON.stringify({ auths: { "other.example": { auth } } }))).toEqual({ kind: "ok", value: null });
    const helper = JSON.stringify({ auths: { "r.example:5000": {} }, credsStore: "pass" });
    expect(read(helper)).toMatchObject({ kind: "wrong", why: expect.stringContaining("in the helper pass") as string });
    expect(read("{")).toMatchObject({ kind: "wrong", why: `credentialsFile ${file}: not JSON` });
    expect(read("nonsense")).toMatchObject({ kind: "wrong" });
    rmSync(file);
    expect(readCredentials(file, "x")).toEqual({ kind: "wrong", why: `credentialsFile ${file}: ENOENT` });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("output comes in frames, however they are cut; times keep their microseconds", () => {
  const frame = (text: string): Buffer => {
    const head = Buffer.alloc(8);
    head.writeUInt32BE(Buffer.byteLength(text), 4);
    return Buffer.concat([head, Buffer.from(text)]);
  };
  const bytes = Buffer.concat([frame("one\n"), frame("two ü\n"), frame("")]);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const first = frames(bytes.subarray(0, cut));
    const rest = frames(Buffer.concat([first.left, bytes.subarray(cut)]));
    expect(Buffer.concat([...first.messages, ...rest.messages]).toString()).toBe("one\ntwo ü\n");
    expect(rest.left).toHaveLength(0);
  }
  expect(() => frames(Buffer.alloc(8, 0xff))).toThrow("a frame of");
  expect(seconds("2026-01-02T03:04:05.123456789Z")).toBeCloseTo(Date.UTC(2026, 0, 2, 3, 4, 5) / 1_000 + 0.123456789, 6);
  expect(seconds("garbage")).toBe(0);
});

test("a pull's progress is the share of all layers' bytes; its error is its end, and silence is one too", async () => {
  const clock = new FakeClock();
  const begin = (said: number[] = []): { stream: PassThrough; done: Promise<unknown> } => {
    const stream = new PassThrough();
    const done = readPull(stream as Stream, clock, (percent) => said.push(percent)).then(
      () => "done",
      (error: unknown) => (error as Error).message,
    );
    return { stream, done };
  };
  const said: number[] = [];
  const good = begin(said);
  for (const [id, current] of [
    ["a", 25],
    ["b", 0],
    ["b", 25],
    ["a", 75],
  ] as const) {
    good.stream.write(`${JSON.stringify({ id, status: "Downloading", progressDetail: { current, total: 100 } })}\n`);
  }
  good.stream.end(`${JSON.stringify({ id: "a", status: "Pull complete" })}\n{"status":"Digest: x"}`);
  expect(await good.done).toBe("done");
  expect(said).toEqual([25, 12, 25, 50, 62]);

  const bad = begin();
  bad.stream.write('{"status":"Pulling"}\n{"error":"manifest unknown"}\n');
  expect(await bad.done).toBe("manifest unknown");

  const mute = begin();
  await clock.advance(121_000);
  expect(await mute.done).toBe("no progress for 2 minutes");

  const cut = begin();
  cut.stream.destroy();
  expect(await cut.done).toBe("the engine broke off in mid-pull");
});

test("a driver that learns more of what runs changes what is told, and starts nothing", () => {
  const life = { kind: "running", pid: 0, startedAtMs: 5 } as const;
  const up = { kind: "up", pid: 7, startedAtMs: 3 } as const;
  expect(next(life, up, 0)).toEqual({ life: { kind: "running", pid: 7, startedAtMs: 3 }, effects: [] });
});
