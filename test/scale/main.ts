/**
 * What the control path costs as the fleet grows: a real controller, simulated agents with real sessions.
 *
 *   node test/scale/main.ts --agents 1000 [--gateways 2] [--services S] [--surge 10,25] [--json]
 *
 * Measured: the controller's CPU and memory while nothing happens, the same while every agent counts requests, and
 * rolling updates (update.ts), and changes of a canary's weight (canary.ts). It judges nothing: exit 0 when all could be measured, 1 when not, 2 for a bad option.
 */
import { mkdirSync } from "node:fs";
import { availableParallelism, cpus, release } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { canary } from "./canary.ts";
import type { CanaryFigures } from "./canary.ts";
import { Rig } from "./rig.ts";
import { document, healthy, update } from "./update.ts";
import type { UpdateFigures } from "./update.ts";

const PACE = { startMs: 500, drainMs: 500, stopMs: 100 };
/** Hosts that one gateway balances a service over, at most (contract/limits.ts). */
const HOSTS_A_SERVICE = 1_000;
/** Requests a second that an agent counts while there is traffic. */
const RATE = 100;

const { values } = parseArgs({
  options: {
    agents: { type: "string", default: "100" },
    gateways: { type: "string", default: "2" },
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
});

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

const number = (
  name: "agents" | "gateways" | "services" | "connections" | "processes" | "idle",
  otherwise: number,
): number => {
  const value = Number(values[name] ?? otherwise);
  if (Number.isInteger(value) && value >= 0) return value;
  process.stderr.write(`--${name} ${values[name] ?? ""} is no whole number\n`);
  process.exit(2);
};

async function run(): Promise<Figures> {
  const agents = number("agents", 100);
  const services = number("services", Math.ceil(agents / HOSTS_A_SERVICE));
  const gateways = number("gateways", 2);
  const connections = number("connections", Math.min(agents + gateways, 1_002));
  if (values.profile !== "") mkdirSync(values.profile, { recursive: true });
  const processes = number("processes", 1);
  const options = { agents, gateways, services, connections, processes, pace: PACE, profile: values.profile };
  const began = performance.now();
  await using rig = await Rig.start(options);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void rig.stop().then(() => process.exit(1)));
  }
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
        `${it.rounds} rounds of ${it.roundMs.toFixed(1)} ms, ${it.assignments} assignments ${kb(it.assignmentBytes)}, ` +
        `${it.reports} reports ${kb(it.reportBytes)}, RSS ${mb(it.rssBytes)}`,
    );
  }
  let weights: CanaryFigures | null = null;
  if (!values["no-canary"]) {
    weights = await canary(rig, "v9");
    const ms = weights.weightMs.map((each) => each.toFixed(0)).join(", ");
    say(`canary: ready after ${weights.readySeconds.toFixed(1)} s; a weight is confirmed by all after ${ms} ms`);
  }
  const { reportEveryMs } = await rig.counts();
  return {
    agents,
    gateways,
    services,
    connections,
    reportEveryMs,
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

const words = (it: Idle): string =>
  `CPU ${it.cpuPercent.toFixed(1)} %, ${it.reportsPerSecond.toFixed(0)} reports/s, a round ${it.roundMs.toFixed(2)} ms, RSS ${mb(it.rssBytes)}`;
const mb = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
const kb = (bytes: number): string => `${(bytes / 1_024).toFixed(0)} KiB`;
const say = (text: string): void => void process.stderr.write(`${text}\n`);

say(
  `${cpus()[0]?.model.trim() ?? "unknown"}, ${availableParallelism()} cores, Linux ${release()}, Node ${process.versions.node}`,
);
const figures = await run();
if (values.json) process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`);
