/**
 * What the control path costs as the fleet grows: real controllers, simulated agents with real sessions.
 *
 * How it is called: usage.ts.
 *
 * Measured without --route: the controller's CPU and memory while nothing happens, the same while every agent counts
 * requests, rolling updates (update.ts), and changes of a canary's weight (canary.ts); with it: route.ts, storm.ts. It
 * judges nothing: exit 0 when all could be measured, 1 when not, 2 for a bad option.
 */
import { mkdirSync } from "node:fs";
import { availableParallelism, cpus, release } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { paceOf } from "../../control/fleet/pace.ts";
import { SESSION } from "../../proto/contract/limits.ts";
import type { Planned } from "./agents.ts";
import { canary } from "./canary.ts";
import type { CanaryFigures } from "./canary.ts";
import { hostName, Rig } from "./rig.ts";
import type { RigOptions } from "./rig.ts";
import { labelsOf, measureRoutes } from "./routes.ts";
import { document, healthy, update } from "./update.ts";
import { USAGE } from "./usage.ts";
import type { UpdateFigures } from "./update.ts";

const PACE = { startMs: 500, drainMs: 500, stopMs: 100 };
/** Hosts that one gateway balances a service over, at most (contract/limits.ts). */
const HOSTS_A_SERVICE = 1_000;
/** Requests a second that an agent counts while there is traffic. */
const RATE = 100;

const OPTIONS = {
  options: {
    help: { type: "boolean", default: false },
    agents: { type: "string", default: "100" },
    over: { type: "string", default: "grpc" },
    "nats-servers": { type: "string" },
    route: { type: "string", default: "" },
    changes: { type: "string", default: "20" },
    "no-storm": { type: "boolean", default: false },
    gateways: { type: "string" },
    services: { type: "string" },
    connections: { type: "string" },
    processes: { type: "string", default: "1" },
    surge: { type: "string", default: "10,25" },
    idle: { type: "string", default: "10" },
    profile: { type: "string", default: "" },
    "no-traffic": { type: "boolean", default: false },
    "no-canary": { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
} as const;

const { values } = parsed();
if (values.help) {
  process.stdout.write(USAGE);
  process.exit(0);
}

function parsed(): ReturnType<typeof parseArgs<typeof OPTIONS>> {
  try {
    return parseArgs(OPTIONS);
  } catch (error) {
    return wrong(`scale: ${(error as Error).message}; see npm run scale -- --help`);
  }
}

interface Figures {
  readonly agents: number;
  readonly gateways: number;
  readonly services: number;
  readonly connections: number;
  readonly reportEveryMs: number;
  readonly connectSeconds: number;
  readonly firstDeploySeconds: number;
  readonly quiet: Idle;
  readonly traffic: Idle | null;
  readonly updates: Readonly<Record<string, UpdateFigures>>;
  readonly canary: CanaryFigures | null;
}

interface Idle {
  readonly cpuPercent: number;
  readonly reportsPerSecond: number;
  readonly roundMs: number;
  readonly rssBytes: number;
}

function wrong(why: string): never {
  process.stderr.write(`${why}\n`);
  process.exit(2);
}

type Numbers = "agents" | "gateways" | "services" | "connections" | "processes" | "idle" | "nats-servers" | "changes";
const number = (name: Numbers, otherwise: number): number => {
  const value = Number(values[name] ?? otherwise);
  return Number.isInteger(value) && value >= 0 ? value : wrong(`--${name} ${values[name] ?? ""} is no whole number`);
};

/** Many agents of one process share a connection, or descriptors would not suffice; of NATS' each has several hundred. */
const AGENTS_A_NATS_CONNECTION = 250;

function rigOptions(hosts: readonly Planned[], gateways: number): RigOptions {
  const all = hosts.length + gateways;
  const { over } = values;
  if (over !== "grpc" && over !== "nats") return wrong(`--over ${over} is neither grpc nor nats`);
  const natsServers = number("nats-servers", over === "nats" ? 3 : 0);
  if (natsServers !== 0 && natsServers !== 1 && natsServers !== 3) return wrong("--nats-servers is 0, 1 or 3");
  if (over === "nats" && natsServers === 0) return wrong("--over nats needs --nats-servers 1 or 3");
  if (values.profile !== "") mkdirSync(values.profile, { recursive: true });
  const connections = over === "nats" ? Math.ceil(all / AGENTS_A_NATS_CONNECTION) : Math.min(all, 1_002);
  return {
    ...{ hosts, gateways, services: 1, over, natsServers, pace: PACE, profile: values.profile },
    ...{ connections: number("connections", connections), processes: number("processes", 1) },
  };
}

async function withRig<T>(options: RigOptions, measure: (rig: Rig) => Promise<T>): Promise<T> {
  await using rig = await Rig.start(options);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void rig.stop().then(() => process.exit(1)));
  }
  return await measure(rig);
}

async function run(): Promise<Figures> {
  const agents = number("agents", 100);
  const services = number("services", Math.ceil(agents / HOSTS_A_SERVICE));
  const gateways = number("gateways", 2);
  const hosts = Array.from({ length: agents }, (_, i): Planned => {
    return { host: hostName(i), role: "host", labels: { part: String(i % services) } };
  });
  const options = { ...rigOptions(hosts, gateways), services };
  if (options.natsServers > 0) {
    wrong("updates are measured by the journal of a controller on SQLite; on NATS there is --route");
  }
  return await withRig(options, (rig) => updates(rig, { agents, services, gateways }));
}

async function updates(
  rig: Rig,
  { agents, services, gateways }: { readonly agents: number; readonly services: number; readonly gateways: number },
): Promise<Figures> {
  const began = performance.now();
  await rig.connected();
  const connectSeconds = (performance.now() - began) / 1_000;
  say(`${agents} agents are connected after ${connectSeconds.toFixed(1)} s`);
  const deployed = performance.now();
  for (let service = 0; service < services; service++) {
    await rig.client.apply(document({ service, version: "v1", surge: "1", parted: services > 1 }));
  }
  for (let service = 0; service < services; service++) await healthy(rig, service, "v1");
  const firstDeploySeconds = (performance.now() - deployed) / 1_000;
  say(`deployed everywhere after ${firstDeploySeconds.toFixed(1)} s`);
  await sleep(3_000);
  const quiet = await idle(rig);
  say(`quiet    ${words(quiet)}`);
  let traffic: Idle | null = null;
  if (!values["no-traffic"]) {
    rig.traffic(RATE);
    await sleep(3_000);
    traffic = await idle(rig);
    say(`traffic  ${words(traffic)}`);
  }
  const updates: Record<string, UpdateFigures> = {};
  const perService = Math.floor(agents / services);
  for (const [n, percent] of values.surge
    .split(",")
    .filter((text) => text !== "")
    .entries()) {
    const window = Math.ceil((perService * Number(percent)) / 100);
    const it = await update(rig, `v${n + 2}`, `${percent}%`, window);
    updates[percent] = it;
    say(
      `update ${percent} %: ${it.seconds.toFixed(1)} s, ${it.batches} batches, overhead a batch ${it.overhead.median.toFixed(0)} ms ` +
        `(worst ${it.overhead.worst.toFixed(0)}), CPU ${it.cpuPercent.toFixed(0)} % (${it.cpuSeconds.toFixed(1)} s), ` +
        `${it.rounds} rounds of ${it.roundMs.toFixed(1)} ms, ${it.assignments} assignments, ${kb(it.bytesDown)} down, ` +
        `${it.reports} reports, ${kb(it.bytesUp)} up, RSS ${mb(it.rssBytes)}`,
    );
  }
  let weights: CanaryFigures | null = null;
  if (!values["no-canary"]) {
    weights = await canary(rig, "v9");
    const ms = weights.weightMs.map((each) => each.toFixed(0)).join(", ");
    say(`canary: ready after ${weights.readySeconds.toFixed(1)} s; a weight is confirmed by all after ${ms} ms`);
  }
  const { connections } = rig.options;
  return {
    ...{ agents, gateways, services, connections, reportEveryMs: reportEveryMs(agents + gateways) },
    connectSeconds,
    firstDeploySeconds,
    quiet,
    traffic,
    updates,
    canary: weights,
  };
}

async function idle(rig: Rig): Promise<Idle> {
  const seconds = number("idle", 10);
  const before = { counts: await rig.counts(), rounds: await rig.rounds() };
  const cpuPercent = await rig.cpuOver(seconds * 1_000);
  const [counts, rounds] = [await rig.counts(), await rig.rounds()];
  return {
    cpuPercent,
    reportsPerSecond: (counts.reports - before.counts.reports) / seconds,
    roundMs: ((rounds.seconds - before.rounds.seconds) * 1_000) / Math.max(1, rounds.count - before.rounds.count),
    rssBytes: rig.usage().rssBytes,
  };
}

const reportEveryMs = (agents: number): number =>
  paceOf(agents, { reportEveryMs: SESSION.reportEveryMs, leaseMs: SESSION.leaseMs }).reportEveryMs;

const words = (it: Idle): string =>
  `CPU ${it.cpuPercent.toFixed(1)} %, ${it.reportsPerSecond.toFixed(0)} reports/s, a round ${it.roundMs.toFixed(2)} ms, RSS ${mb(it.rssBytes)}`;
const mb = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
const kb = (bytes: number): string => `${(bytes / 1_024).toFixed(0)} KiB`;
const say = (text: string): void => void process.stderr.write(`${text}\n`);

say(
  `${cpus()[0]?.model.trim() ?? "unknown"}, ${availableParallelism()} cores, Linux ${release()}, Node ${process.versions.node}`,
);
const figures = values.route === "" ? await run() : await route();
if (values.json) process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`);

async function route(): Promise<unknown> {
  const agents = number("agents", 100);
  // A gateway is told of every host of a service: as many as it takes are fewer than a fleet may have.
  const gateways = number("gateways", 0);
  const sizes = values.route.split(",").map((text) => (text === "all" ? agents : Number(text)));
  if (sizes.some((size) => !Number.isInteger(size) || size < 1 || size > agents)) {
    wrong(`--route ${values.route}: numbers of hosts, or all, each at most ${String(agents)}`);
  }
  const hosts = Array.from({ length: agents }, (_, i): Planned => {
    return { host: hostName(i), role: "host", labels: labelsOf(i, sizes) };
  });
  const measured = { sizes, changes: number("changes", 20), storm: !values["no-storm"], say };
  return await withRig(rigOptions(hosts, gateways), (rig) => measureRoutes(rig, measured));
}
