/**
 * `run: docker`: the service's instances are containers. What a key is called in Compose or Nomad's docker driver it is
 * called here; where Compose has a short form (`volumes`, `ulimits`), both are read.
 *
 * Errors  zod issues, as schema.ts's.
 */
import * as z from "zod";
import { MAX_PORT } from "../address.ts";
import { LIMITS } from "../limits.ts";
import { DEFAULTS } from "./defaults.ts";
import {
  DOCKER_BOUNDS,
  dockerNetwork,
  formatSize,
  isAbsolutePath,
  isLogDriver,
  isOwnLabel,
  isUlimit,
  isUser,
  isVolumeName,
  LABEL_PREFIX,
  MOUNT_TYPES,
  parseImage,
  PULL_POLICIES,
  sharesPorts,
  SIZE_UNITS,
} from "./docker.ts";
import type { DockerMount, DockerRun } from "./docker.ts";
import { flag, leaf, list, mapping, oneOf, table, text, whole } from "./leaf.ts";
import type { Leaf } from "./leaf.ts";
import { command, env, noNul } from "./schema-words.ts";

const { pathLength: PATH_LENGTH, bytes: MAX_BYTES, cpus: MAX_CPUS, pids: MAX_PIDS, ulimit: MAX_ULIMIT } = DOCKER_BOUNDS;
/** Docker refuses less. */
const MIN_MEMORY = 6 << 20;

/** Bytes as Docker and Compose write them: `256m`, `1g`, `65536`. */
function size(min: number): Leaf<number> {
  const expected = "a size such as 256m";
  const json = { anyOf: [{ type: "integer" }, { type: "string", pattern: "^\\d+(\\.\\d+)?[bkmg]?b?$" }] };
  return leaf(json, expected, (input) => {
    const said = typeof input === "number" ? String(input) : input;
    const found = typeof said === "string" ? /^(\d+(?:\.\d+)?)([bkmg]?)b?$/i.exec(said) : null;
    if (found === null) return undefined;
    const bytes = Number(found[1]) * (SIZE_UNITS[(found[2] ?? "").toLowerCase()] ?? 1);
    if (!Number.isInteger(bytes) || bytes > MAX_BYTES) return undefined;
    return bytes >= min ? { value: bytes } : { wrong: `at least ${formatSize(min)}, got ${String(input)}` };
  });
}

const cpus = leaf(
  { type: "number", exclusiveMinimum: 0, maximum: MAX_CPUS },
  "a number of CPUs such as 0.5",
  (input) => {
    if (typeof input !== "number" || !(input > 0 && input <= MAX_CPUS)) return undefined;
    return Math.round(input * 1_000) / 1_000 === input ? { value: input } : { wrong: "finer than 0.001 CPUs" };
  },
);

const image = leaf({ type: "string", maxLength: 512 }, "an image such as registry.example.com/shop:v2", (input) => {
  if (typeof input !== "string") return undefined;
  if (parseImage(input) !== undefined) return { value: input };
  return { wrong: `${JSON.stringify(input.slice(0, 80))} is not an image such as shop:v2 or shop@sha256:…` };
});

const NETWORKS = "bridge, host, agent, container:NAME, or a network's name";
const network = leaf({ type: "string" }, NETWORKS, (input) => {
  if (typeof input !== "string") return undefined;
  if (input === "none") return { wrong: `none: nobody could send it a request; expected ${NETWORKS}` };
  return dockerNetwork(input) === undefined ? undefined : { value: input };
});

const longMount = mapping({
  type: oneOf(MOUNT_TYPES).optional(),
  source: text("/srv/data", noNul, "without a NUL character", PATH_LENGTH).default(""),
  target: text("/data", isAbsolutePath, "an absolute path such as /data", PATH_LENGTH),
  readOnly: flag().default(false),
});

/** `SOURCE:TARGET[:ro]`, or a mapping. What looks like a path is one. */
const mount = z
  .unknown()
  .meta({ anyOf: [{ type: "string" }, { type: "object" }] })
  .transform((input) => {
    if (typeof input !== "string") return input;
    const [source, target, mode, ...more] = input.split(":");
    const known = mode === undefined || mode === "ro" || mode === "rw";
    if (target === undefined || !known || more.length > 0) return { target: input };
    return { source, target, ...(mode === "ro" ? { readOnly: true } : {}) };
  })
  .pipe(longMount)
  .transform((m, context): DockerMount => {
    const wrong = (message: string): never => {
      context.issues.push({ code: "custom", path: ["source"], message, input: m });
      return z.NEVER;
    };
    const type = m.type ?? (/^[./]/.test(m.source) ? "bind" : "volume");
    if (type === "bind" && m.source === "") return wrong("missing; expected a path of the host");
    if (type === "volume" && !isVolumeName(m.source)) {
      return wrong(`${JSON.stringify(m.source)} is not a volume's name; a path begins with / or ./`);
    }
    if (type === "tmpfs" && m.source !== "") return wrong("a tmpfs has no source");
    return { type, source: m.source, target: m.target, readOnly: m.readOnly };
  });

const LIMIT = "a limit, -1 for none";
const ulimit = z
  .unknown()
  .meta({ anyOf: [{ type: "integer", minimum: -1 }, { type: "object" }] })
  .transform((input) => (typeof input === "number" ? { soft: input, hard: input } : input))
  .pipe(mapping({ soft: whole(-1, MAX_ULIMIT, LIMIT), hard: whole(-1, MAX_ULIMIT, LIMIT) }));

const words = (max: number): z.ZodType<Record<string, string>> =>
  table(
    { is: (key) => key !== "" && noNul(key), rule: "an empty name" },
    text("text", noNul, "without a NUL character", PATH_LENGTH),
    max,
  );

const usual = DEFAULTS.docker.logging;
const logging = mapping({
  driver: text(usual.driver, isLogDriver, "a log driver", 128).default(usual.driver),
  options: words(LIMITS.variables).default({}),
}).transform(({ driver, options }) => ({
  driver,
  options: driver === usual.driver ? { ...usual.options, ...options } : options,
}));

export const docker = mapping({
  image,
  entrypoint: command.optional(),
  command: command.optional(),
  env: env.default({}),
  count: whole(1, LIMITS.instancesPerHost, "a count").default(DEFAULTS.processCount),
  port: whole(1, MAX_PORT, "a port").optional(),
  network: network.default(DEFAULTS.docker.network),
  volumes: list(mount, 0, LIMITS.mounts, "volumes").default([]),
  user: text("1000:1000", isUser, "a user such as node or 1000:1000", 128).default(""),
  workdir: text("/app", isAbsolutePath, "an absolute path such as /app", PATH_LENGTH).default(""),
  init: flag().default(false),
  limits: mapping({
    memory: size(MIN_MEMORY).default(0),
    cpus: cpus.default(0),
    pids: whole(1, MAX_PIDS, "a count").default(0),
  }).prefault({}),
  shmSize: size(1).default(0),
  ulimits: table({ is: isUlimit, rule: "not a limit's name such as nofile" }, ulimit, LIMITS.ulimits).default({}),
  pullPolicy: oneOf(PULL_POLICIES).default(DEFAULTS.docker.pullPolicy),
  credentialsFile: text("/etc/baton/registry.json", (t) => t !== "" && noNul(t), "a file", PATH_LENGTH).optional(),
  retain: whole(0, 100, "a count").default(DEFAULTS.docker.retain),
  labels: table(
    { is: isOwnLabel, rule: `not a label to set: ${LABEL_PREFIX}* are Baton's own` },
    text("checkout", noNul, "without a NUL character", PATH_LENGTH),
    LIMITS.labels,
  ).default({}),
  logging: logging.prefault({}),
}).transform((d, context): DockerRun => {
  const { volumes, ulimits, shmSize, limits, port, credentialsFile, entrypoint, command: cmd, ...same } = d;
  const wrong = (message: string): never => {
    context.issues.push({ code: "custom", path: ["port"], message, input: d });
    return z.NEVER;
  };
  const shared = sharesPorts(dockerNetwork(d.network) ?? { kind: "bridge" });
  if (!shared && port === undefined)
    return wrong("missing; expected the port that the app listens on in its container");
  if (shared && port !== undefined) {
    return wrong(
      `network ${d.network} is shared, and a port in it is had by one alone: Baton gives each instance its own as PORT; leave it out`,
    );
  }
  return {
    kind: "docker",
    ...same,
    entrypoint: entrypoint ?? null,
    command: cmd ?? null,
    port: port ?? 0,
    mounts: volumes,
    limits: { memoryBytes: limits.memory, cpus: limits.cpus, pids: limits.pids },
    shmBytes: shmSize,
    ulimits: Object.entries(ulimits)
      .map(([name, { soft, hard }]) => ({ name, soft, hard }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
    credentialsFile: credentialsFile ?? null,
  };
});
