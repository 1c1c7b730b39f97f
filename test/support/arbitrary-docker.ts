/** Any valid `run: docker`, every field at its edges. */
import * as fc from "fast-check";
import {
  DOCKER_BOUNDS,
  dockerNetwork,
  MOUNT_TYPES,
  PULL_POLICIES,
  sharesPorts,
} from "../../proto/contract/spec/docker.ts";
import type { DockerMount, DockerRun } from "../../proto/contract/spec/docker.ts";
import { textArb } from "./arbitrary-text.ts";

const wordsArb = fc.option(
  fc
    .tuple(
      textArb.filter((t) => t !== ""),
      fc.array(textArb, { maxLength: 2 }),
    )
    .map(([program, rest]) => [program, ...rest]),
);

const mountArb: fc.Arbitrary<DockerMount> = fc
  .tuple(fc.constantFrom(...MOUNT_TYPES), fc.constantFrom("/srv/a", "/srv/a b/c"), fc.boolean())
  .chain(([type, path, readOnly]) =>
    fc.constantFrom("/data", "/a:b", "/etc/shop.conf").map((target) => ({
      ...{ type, target, readOnly },
      source: { bind: path, volume: "shop_data", tmpfs: "" }[type],
    })),
  );

const limitArb = fc.constantFrom(-1, 0, 1_024, DOCKER_BOUNDS.ulimit);
const digest = `sha256:${"0a".repeat(32)}`;

export const dockerArb: fc.Arbitrary<DockerRun> = fc
  .record({
    kind: fc.constant("docker" as const),
    image: fc.constantFrom(
      "shop",
      "shop:v2",
      `a.example:5000/team/shop@${digest}`,
      `shop:v1@${digest}`,
      "localhost/a__b",
    ),
    entrypoint: wordsArb,
    command: wordsArb,
    env: fc.dictionary(fc.constantFrom("A", "_x", "constructor"), textArb, { noNullPrototype: true }),
    count: fc.integer({ min: 1, max: 64 }),
    port: fc.integer({ min: 1, max: 65_535 }),
    network: fc.constantFrom("bridge", "host", "agent", "container:agent_1", "shop_default"),
    mounts: fc.uniqueArray(mountArb, { maxLength: 3, selector: ({ target }) => target }),
    user: fc.constantFrom("", "node", "1000:1000"),
    workdir: fc.constantFrom("", "/", "/srv/a b"),
    init: fc.boolean(),
    limits: fc.record({
      memoryBytes: fc.constantFrom(0, 6 << 20, (6 << 20) + 1, 3 * 2 ** 30, DOCKER_BOUNDS.bytes),
      cpus: fc.constantFrom(0, 0.001, 0.5, 2, DOCKER_BOUNDS.cpus),
      pids: fc.constantFrom(0, 1, DOCKER_BOUNDS.pids),
    }),
    shmBytes: fc.constantFrom(0, 1, 64 << 20),
    ulimits: fc.uniqueArray(
      fc.record({ name: fc.constantFrom("nofile", "core", "nproc"), soft: limitArb, hard: limitArb }),
      { maxLength: 3, selector: ({ name }) => name },
    ),
    pullPolicy: fc.constantFrom(...PULL_POLICIES),
    credentialsFile: fc.option(fc.constantFrom("/etc/baton/registry.json", "/a b")),
    retain: fc.integer({ min: 0, max: 100 }),
    labels: fc.dictionary(fc.constantFrom("team", "com.example/x"), textArb, { noNullPrototype: true }),
    logging: fc.oneof(
      fc.constant({ driver: "json-file", options: { "max-size": "1m", "max-file": "3", compress: "true" } }),
      fc.constant({ driver: "syslog", options: {} }),
    ),
  })
  .map((run) => {
    const shared = sharesPorts(dockerNetwork(run.network) ?? { kind: "bridge" });
    const ulimits = run.ulimits.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    return { ...run, ulimits, port: shared ? 0 : run.port };
  });
