import { expect, test } from "vitest";
import { dockerNetwork, formatSize, parseImage } from "../../../proto/contract/spec/docker.ts";
import { formatProblem, parseDocuments } from "../../../proto/contract/spec/parse.ts";
import type { DockerRun } from "../../../proto/contract/spec/docker.ts";

const document = (docker: string, health = ""): string => `apiVersion: baton/v1
kind: Service
metadata: { name: shop }
spec:
  version: v1
  listen: [{ port: 8080 }]
  run: { docker: ${docker} }
${health}`;

function runOf(docker: string, baseDir?: string): DockerRun {
  const source = { file: "shop.yaml", text: document(docker), ...(baseDir === undefined ? {} : { baseDir }) };
  const parsed = parseDocuments(source);
  if (parsed.kind === "invalid") throw new Error(parsed.problems.map(formatProblem).join("\n"));
  const run = parsed.services[0]?.spec.run;
  if (run?.kind !== "docker") throw new Error("not docker");
  return run;
}

function wrongs(docker: string, health = ""): string[] {
  const parsed = parseDocuments({ file: "shop.yaml", text: document(docker, health) });
  return parsed.kind === "ok" ? [] : parsed.problems.map(({ path, message }) => `${path}: ${message}`);
}

test("an image and a port are all that must be said", () => {
  expect(runOf("{ image: shop:v1, port: 8080 }")).toEqual({
    kind: "docker",
    image: "shop:v1",
    entrypoint: null,
    command: null,
    env: {},
    count: 1,
    port: 8080,
    network: "bridge",
    mounts: [],
    user: "",
    workdir: "",
    init: false,
    limits: { memoryBytes: 0, cpus: 0, pids: 0 },
    shmBytes: 0,
    ulimits: [],
    pullPolicy: "IfNotPresent",
    credentialsFile: null,
    retain: 2,
    labels: {},
    logging: { driver: "json-file", options: { "max-size": "8m", "max-file": "2" } },
  });
});

test("Compose's short forms are read, and relative paths stand on the document's folder", () => {
  const run = runOf(
    "{ image: shop, network: host, volumes: [./conf:/etc/shop:ro, data:/data, { type: tmpfs, target: /tmp }], " +
      "ulimits: { nofile: 1024, core: { soft: 0, hard: -1 } }, limits: { memory: 1.5g, cpus: 0.5, pids: 64 }, " +
      "shmSize: 128m, credentialsFile: secrets/registry.json, logging: { options: { max-size: 1m } } }",
    "/srv/shop",
  );
  expect(run.mounts).toEqual([
    { type: "bind", source: "/srv/shop/conf", target: "/etc/shop", readOnly: true },
    { type: "volume", source: "data", target: "/data", readOnly: false },
    { type: "tmpfs", source: "", target: "/tmp", readOnly: false },
  ]);
  expect(run.ulimits).toEqual([
    { name: "core", soft: 0, hard: -1 },
    { name: "nofile", soft: 1_024, hard: 1_024 },
  ]);
  expect(run.limits).toEqual({ memoryBytes: 1_610_612_736, cpus: 0.5, pids: 64 });
  expect([run.shmBytes, run.port, run.credentialsFile]).toEqual([128 << 20, 0, "/srv/shop/secrets/registry.json"]);
  expect(run.logging.options).toEqual({ "max-size": "1m", "max-file": "2" });
});

test.each([
  ["{ image: shop }", "spec.run.docker.port: missing; expected the port that the app listens on in its container"],
  [
    "{ image: shop, network: host, port: 80 }",
    "spec.run.docker.port: network host is shared, and a port in it is had by one alone: Baton gives each instance its own as PORT; leave it out",
  ],
  ["{ image: Shop, port: 80 }", 'spec.run.docker.image: "Shop" is not an image such as shop:v2 or shop@sha256:…'],
  ["{ imgae: shop, image: a, port: 80 }", "spec.run.docker.imgae: unknown key; did you mean image?"],
  [
    "{ image: shop, port: 80, network: none }",
    "spec.run.docker.network: none: nobody could send it a request; expected bridge, host, agent, container:NAME, or a network's name",
  ],
  ["{ image: shop, port: 80, limits: { memory: 1m } }", "spec.run.docker.limits.memory: at least 6m, got 1m"],
  [
    "{ image: shop, port: 80, limits: { memory: lots } }",
    'spec.run.docker.limits.memory: expected a size such as 256m, got text "lots"',
  ],
  [
    "{ image: shop, port: 80, labels: { baton.agent: x } }",
    'spec.run.docker.labels["baton.agent"]: not a label to set: baton.* are Baton\'s own',
  ],
  [
    "{ image: shop, port: 80, pullPolicy: always }",
    'spec.run.docker.pullPolicy: expected one of Always, IfNotPresent, Never, got text "always"; did you mean Always?',
  ],
  [
    "{ image: shop, port: 80, volumes: [data] }",
    'spec.run.docker.volumes[0].target: text "data" is not an absolute path such as /data',
  ],
  ["{ image: shop, port: 80, volumes: [/a:/d, /b:/d] }", "spec.run.docker.volumes[1]: /d is already volumes[0]"],
])("%s is refused", (docker, message) => {
  expect(wrongs(docker)).toEqual([message]);
});

test("only an image has a HEALTHCHECK to ask", () => {
  expect(wrongs("{ image: shop, port: 80 }", "  health: { container: {} }\n")).toEqual([]);
  const text = document("{ image: shop, port: 80 }", "  health: { container: {} }\n").replace(
    "docker: { image: shop, port: 80 }",
    "process: { command: [node] }",
  );
  const parsed = parseDocuments({ file: "shop.yaml", text });
  expect(parsed.kind === "invalid" ? parsed.problems.map(({ message }) => message) : []).toEqual([
    "container asks an image's HEALTHCHECK, and run is process",
  ]);
});

test("an image's name is read as Docker reads it", () => {
  const digest = `sha256:${"ab".repeat(32)}`;
  expect(parseImage("shop")).toEqual({ repository: "shop", registry: "docker.io", tag: "latest", digest: "" });
  expect(parseImage("team/shop:v1")).toMatchObject({ repository: "team/shop", registry: "docker.io", tag: "v1" });
  expect(parseImage("localhost:5000/shop")).toMatchObject({ registry: "localhost:5000", tag: "latest" });
  expect(parseImage(`r.example/a/b@${digest}`)).toEqual({
    ...{ repository: "r.example/a/b", registry: "r.example", tag: "", digest },
  });
  for (const wrong of ["", "a:", "a@sha256:12", "A", "a//b", "http://a/b", "a b", "a".repeat(300)]) {
    expect(parseImage(wrong), wrong).toBeUndefined();
  }
});

test("networks and sizes", () => {
  expect(dockerNetwork("container:agent-1")).toEqual({ kind: "container", name: "agent-1" });
  expect(dockerNetwork("shop_default")).toEqual({ kind: "named", name: "shop_default" });
  expect(dockerNetwork("container:")).toBeUndefined();
  expect([6 * 2 ** 20, 3 * 2 ** 30, 1_537].map(formatSize)).toEqual(["6m", "3g", "1537b"]);
});
