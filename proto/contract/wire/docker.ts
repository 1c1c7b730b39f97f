/** `run: docker`, as it travels. */
import type * as wire from "../../gen/baton/v1/spec.ts";
import { MAX_PORT } from "../address.ts";
import { LIMITS } from "../limits.ts";
import {
  DOCKER_BOUNDS as BOUNDS,
  dockerNetwork,
  isAbsolutePath,
  isLogDriver,
  isOwnLabel,
  isUlimit,
  isUser,
  isVolumeName,
  MOUNT_TYPES,
  parseImage,
  PULL_POLICIES,
  sharesPorts,
} from "../spec/docker.ts";
import type { DockerMount, DockerRun } from "../spec/docker.ts";
import { fail, list, present, table, text, u32, u64, whole, word } from "./reader.ts";
import { argument, isVariable, noNul } from "./words.ts";

export const encodeDocker = (run: DockerRun): wire.DockerRun => ({
  image: run.image,
  entrypoint: encodeWords(run.entrypoint),
  command: encodeWords(run.command),
  env: { ...run.env },
  count: u32(run.count),
  port: u32(run.port),
  network: run.network,
  mounts: run.mounts.map((m) => ({ ...m })),
  user: run.user,
  workdir: run.workdir,
  init: run.init,
  memoryBytes: u64(run.limits.memoryBytes),
  cpus: run.limits.cpus,
  pids: u32(run.limits.pids),
  shmBytes: u64(run.shmBytes),
  ulimits: run.ulimits.map(({ name, soft, hard }) => ({ name, soft: BigInt(soft), hard: BigInt(hard) })),
  pullPolicy: run.pullPolicy,
  credentialsFile: run.credentialsFile ?? "",
  retain: u32(run.retain),
  labels: { ...run.labels },
  logging: { driver: run.logging.driver, options: { ...run.logging.options } },
});

const encodeWords = (words: readonly string[] | null): wire.Words | undefined =>
  words === null ? undefined : { words: [...words] };

export function readDocker(field: string, run: wire.DockerRun): DockerRun {
  const network = dockerNetwork(run.network) ?? fail(`${field}.network`, "no such kind of network");
  const port = whole(`${field}.port`, run.port, MAX_PORT);
  if ((port === 0) !== sharesPorts(network)) fail(`${field}.port`, `${String(port)} does not go with ${run.network}`);
  const logging = present(`${field}.logging`, run.logging);
  return {
    kind: "docker",
    image: text(`${field}.image`, run.image, BOUNDS.imageLength, (t) => parseImage(t) !== undefined),
    entrypoint: readWords(`${field}.entrypoint`, run.entrypoint),
    command: readWords(`${field}.command`, run.command),
    env: table(`${field}.env`, run.env, LIMITS.variables, argument, isVariable),
    count: whole(`${field}.count`, run.count, LIMITS.instancesPerHost, 1),
    port,
    network: run.network,
    mounts: list(`${field}.mounts`, run.mounts, LIMITS.mounts, readMount),
    user: text(`${field}.user`, run.user, BOUNDS.nameLength, (t) => t === "" || isUser(t)),
    workdir: text(`${field}.workdir`, run.workdir, BOUNDS.pathLength, (t) => t === "" || isAbsolutePath(t)),
    init: run.init,
    limits: {
      memoryBytes: whole(`${field}.memory_bytes`, run.memoryBytes, BOUNDS.bytes),
      cpus: cpus(`${field}.cpus`, run.cpus),
      pids: whole(`${field}.pids`, run.pids, BOUNDS.pids),
    },
    shmBytes: whole(`${field}.shm_bytes`, run.shmBytes, BOUNDS.bytes),
    ulimits: list(`${field}.ulimits`, run.ulimits, LIMITS.ulimits, (f, { name, soft, hard }) => ({
      name: text(`${f}.name`, name, BOUNDS.nameLength, isUlimit),
      soft: whole(`${f}.soft`, soft, BOUNDS.ulimit, -1),
      hard: whole(`${f}.hard`, hard, BOUNDS.ulimit, -1),
    })),
    pullPolicy: word(`${field}.pull_policy`, run.pullPolicy, PULL_POLICIES),
    credentialsFile:
      run.credentialsFile === ""
        ? null
        : text(`${field}.credentials_file`, run.credentialsFile, BOUNDS.pathLength, noNul),
    retain: whole(`${field}.retain`, run.retain, BOUNDS.retain),
    labels: table(`${field}.labels`, run.labels, LIMITS.labels, long, isOwnLabel),
    logging: {
      driver: text(`${field}.logging.driver`, logging.driver, BOUNDS.nameLength, isLogDriver),
      options: table(
        `${field}.logging.options`,
        logging.options,
        LIMITS.variables,
        long,
        (key) => key !== "" && noNul(key),
      ),
    },
  };
}

const long = (field: string, value: string): string => text(field, value, BOUNDS.pathLength, noNul);

function readWords(field: string, words: wire.Words | undefined): readonly string[] | null {
  if (words === undefined) return null;
  if (words.words.length === 0 || words.words[0] === "") fail(field, "names no program");
  return list(field, words.words, LIMITS.arguments, argument);
}

function cpus(field: string, value: number): number {
  return value >= 0 && value <= BOUNDS.cpus ? value : fail(field, `${String(value)} is not a number of CPUs`);
}

function readMount(field: string, m: wire.DockerMount): DockerMount {
  const type = word(`${field}.type`, m.type, MOUNT_TYPES);
  const fits = { bind: (t: string) => t !== "" && noNul(t), volume: isVolumeName, tmpfs: (t: string) => t === "" }[
    type
  ];
  return {
    type,
    source: text(`${field}.source`, m.source, BOUNDS.pathLength, fits),
    target: text(`${field}.target`, m.target, BOUNDS.pathLength, isAbsolutePath),
    readOnly: m.readOnly,
  };
}
