/** `run: docker` back as a document, every default written out. */
import { formatSize } from "./docker.ts";
import type { DockerRun } from "./docker.ts";

type Document = Readonly<Record<string, unknown>>;

export function docker(run: DockerRun): Document {
  const { limits } = run;
  const bounds = {
    ...(limits.memoryBytes === 0 ? {} : { memory: formatSize(limits.memoryBytes) }),
    ...(limits.cpus === 0 ? {} : { cpus: limits.cpus }),
    ...(limits.pids === 0 ? {} : { pids: limits.pids }),
  };
  return {
    image: run.image,
    ...(run.entrypoint === null ? {} : { entrypoint: [...run.entrypoint] }),
    ...(run.command === null ? {} : { command: [...run.command] }),
    ...filled("env", run.env),
    count: run.count,
    ...(run.port === 0 ? {} : { port: run.port }),
    network: run.network,
    ...(run.mounts.length === 0 ? {} : { volumes: run.mounts.map(mount) }),
    ...(run.user === "" ? {} : { user: run.user }),
    ...(run.workdir === "" ? {} : { workdir: run.workdir }),
    ...(run.init ? { init: true } : {}),
    ...filled("limits", bounds),
    ...(run.shmBytes === 0 ? {} : { shmSize: formatSize(run.shmBytes) }),
    ...filled("ulimits", Object.fromEntries(run.ulimits.map(({ name, soft, hard }) => [name, { soft, hard }]))),
    pullPolicy: run.pullPolicy,
    ...(run.credentialsFile === null ? {} : { credentialsFile: run.credentialsFile }),
    retain: run.retain,
    ...filled("labels", run.labels),
    logging: { driver: run.logging.driver, ...filled("options", run.logging.options) },
  };
}

const filled = (key: string, entries: Document): Document =>
  Object.keys(entries).length === 0 ? {} : { [key]: entries };

const mount = ({ type, source, target, readOnly }: DockerRun["mounts"][number]): Document => ({
  type,
  ...(source === "" ? {} : { source }),
  target,
  ...(readOnly ? { readOnly } : {}),
});
