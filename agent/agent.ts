/**
 * The core's composition root: the real clock, files, network and log are given to it here, and nowhere else.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Log } from "../proto/kernel/log.ts";
import { readChecked, setAside, writeAtomic } from "../proto/runtime/atomic-file.ts";
import { pinoLog } from "../proto/runtime/pino-log.ts";
import { systemClock, systemRandom } from "../proto/runtime/system-clock.ts";
import { Admin } from "./core/admin/server.ts";
import { Core } from "./core/core.ts";
import type { Driver, DriverEvents } from "./core/drivers/driver.ts";
import { DOCKER_FILE, LazyDocker } from "./core/drivers/lazy-docker.ts";
import { OutputFiles } from "./core/drivers/output.ts";
import { baseEnvironment, pickPort } from "./core/drivers/process.ts";
import type { KeeperStart } from "./core/keeper-link.ts";
import type { Channel, StateFiles } from "./core/ports.ts";
import { networkCheck } from "./core/probes/check.ts";
import type { OpenLink } from "./core/session/nats-session.ts";
import type { AssignmentSource, SourcePort } from "./core/source.ts";

const files: StateFiles = {
  read: readChecked,
  write: writeAtomic,
  setAside: (path, why) => setAside(path, why).setAside,
};

export async function startCore(
  channel: Channel,
  start: KeeperStart,
): Promise<{ readonly core: Core; readonly log: Log }> {
  const { options } = start;
  const ambient = { clock: systemClock, random: systemRandom };
  const log = pinoLog({ name: "core", level: options.logLevel }).child({ agent: options.name });
  const software = softwareVersion();
  const source = await sourceOf(start, log, software);
  const output = new OutputFiles(join(options.stateDir, "output"), log);
  const core = new Core({
    ...{ ...ambient, log, files, channel, start },
    instances: {
      check: networkCheck(systemClock),
      pickPort,
      output,
      environment: baseEnvironment(process.env),
      docker: (events, boot) => dockerDriver(start, log, output, events, boot),
    },
    source,
    sourceWaits: true,
    failed: (sentences) => {
      for (const sentence of sentences) process.stderr.write(`baton agent: ${sentence}\n`);
    },
  });
  const admin = new Admin({ ...ambient, core, software, log });
  admin.listen(() => core.startSource());
  return { core, log };
}

/** Only what is needed is loaded: a core is started again while its agent carries traffic. */
async function sourceOf(
  { options }: KeeperStart,
  log: Log,
  software: string,
): Promise<(port: SourcePort) => AssignmentSource> {
  const ambient = { clock: systemClock, random: systemRandom, log };
  const { source } = options;
  switch (source.kind) {
    case "static": {
      const { StaticSource } = await import("./core/static/static-source.ts");
      return (port) => new StaticSource({ ...ambient, files: source.files, host: options.name }, port);
    }
    case "controller": {
      const { Session } = await import("./core/session/session.ts");
      return (port) => new Session({ ...ambient, agent: options, controllers: source.controllers, software }, port);
    }
    case "nats": {
      const [{ NatsSession }, { openNats }, { natsNames }] = await Promise.all([
        import("./core/session/nats-session.ts"),
        import("../proto/runtime/nats.ts"),
        import("../proto/contract/nats.ts"),
      ]);
      const { nats } = source;
      const inbox = natsNames(nats.cluster).agentInbox(options.name);
      const name = `baton agent ${options.name}`;
      const open: OpenLink = (told) => openNats({ ...ambient, ...told, nats, name, inbox });
      return (port) => new NatsSession({ ...ambient, agent: options, nats, software, open }, port);
    }
  }
}

function dockerDriver(
  { options: { name: agent, stateDir } }: KeeperStart,
  log: Log,
  output: OutputFiles,
  events: DriverEvents,
  boot: string,
): Driver {
  const ambient = { clock: systemClock, random: systemRandom, log, files };
  const driver = new LazyDocker(
    async () => {
      const { DockerDriver, scopeOf } = await import("./core/drivers/docker/docker-driver.ts");
      const owner = { agent, scope: scopeOf(stateDir), boot };
      return new DockerDriver({ ...ambient, environment: process.env, stateDir, owner, output, pickPort, events });
    },
    events,
    systemClock,
  );
  if (existsSync(join(stateDir, DOCKER_FILE))) driver.begin();
  return driver;
}

/** As package.json says it; from the sources and from build/ the way up leads to the same one. */
function softwareVersion(): string {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    const file = join(folder, "package.json");
    if (existsSync(file)) return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
    if (dirname(folder) === folder) return "unknown";
  }
}
