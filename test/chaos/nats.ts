/**
 * The fleet form: three NATS servers, two controllers on them, a gateway and a host over NATS, two hosts over gRPC that know
 * both controllers. Every way between a part and NATS, or a host and a controller, leads through a relay of its own; servers
 * do not tell clients of each other, so that no client finds a way around it.
 */
import { join } from "node:path";
import { natsNames } from "../../proto/contract/nats.ts";
import { lowPort } from "../support/low-port.ts";
import { startNats } from "../support/nats.ts";
import type { NatsServer, NatsServers } from "../support/nats.ts";
import { Relay } from "../support/relay.ts";
import type { RelayMode } from "../support/relay.ts";
import { StallingDisk } from "../support/stalling-disk.ts";
import { groundOf } from "./embedded.ts";
import type { StartOptions } from "./embedded.ts";
import { Operators } from "./operators.ts";
import type { Roster } from "./schedule.ts";
import type { Link, NatsPart, Topology } from "./topology.ts";

const CONTROLLERS = ["c1", "c2"];
const GATEWAYS = ["gateway-1"];
const HOSTS = ["host-1", "host-2", "host-3"];
const AGENTS = [...GATEWAYS, ...HOSTS];
const OVER_NATS = new Set(["gateway-1", "host-1"]);
const SERVERS = ["n1", "n2", "n3"];
const SERVER_DISK_MIB = 256;
const READY_MS = 10_000;

export const FLEET: Roster = {
  ...{ controllers: CONTROLLERS, gateways: GATEWAYS, hosts: HOSTS, nats: SERVERS },
  links: [...CONTROLLERS, ...AGENTS],
  disks: [...AGENTS, ...SERVERS],
  clocks: [...CONTROLLERS, ...AGENTS],
};

export async function startFleet(options: StartOptions): Promise<Topology> {
  const { folder, run, random } = options;
  const ground = await groundOf(folder, { ...FLEET, disks: AGENTS });
  const nats = await startNats({ servers: 3, advertise: false, logs: join(folder, "logs") });
  const disks = new Map(ground.disks);
  if (ground.disks.size > 0) for (const [name, disk] of await onDisks(nats)) disks.set(name, disk);

  const relays: Relay[] = [];
  const links = new Map<string, Link>();
  /** Addresses that lead to the targets, for this part alone. */
  const relayed = async (part: string, targets: readonly { host: string; port: number }[]): Promise<string[]> => {
    const own = await Promise.all(targets.map((target) => Relay.start(target, lowPort(random))));
    relays.push(...own);
    links.set(part, {
      set: (mode: RelayMode) => {
        for (const relay of own) relay.set(mode);
      },
    });
    return own.map((relay) => relay.address);
  };
  const servers = nats.urls.map((url) => ({ host: "127.0.0.1", port: Number(new URL(url).port) }));
  const grpc = CONTROLLERS.map(() => ({ host: "127.0.0.1", port: lowPort(random) }));
  const part = ground.partMaker(options);
  const toNats = async (name: string): Promise<string[]> => {
    const urls = (await relayed(name, servers)).map((address) => `nats://${address}`);
    return ["--nats", urls.join(",")];
  };
  const controllers = await Promise.all(
    CONTROLLERS.map(async (name, at) => {
      const way = await toNats(name);
      const listen = `127.0.0.1:${String(grpc[at]!.port)}`;
      return part(name, "controller", "control/main.ts", (http) => [
        ...["--name", name, "--grpc", listen, "--http", http, ...way],
      ]);
    }),
  );
  const agents = await Promise.all(
    AGENTS.map(async (name) => {
      const way = OVER_NATS.has(name) ? await toNats(name) : ["--controller", (await relayed(name, grpc)).join(",")];
      const gateway = GATEWAYS.includes(name);
      return part(name, gateway ? "gateway" : "host", "agent/main.ts", (http) => [
        ...["--name", name, "--role", gateway ? "gateway" : "host", ...way],
        ...["--state", ground.stateOf(name), "--address", "127.0.0.1", "--admin", http],
        ...["--inbound-ports", gateway ? "declared" : "assigned", "--workers", gateway ? "2" : "1"],
      ]);
    }),
  );
  const operators = new Operators(grpc.map(({ host, port }) => `${host}:${String(port)}`));
  for (const each of [...controllers, ...agents]) each.start();
  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    for (const relay of relays) relay.set({ kind: "pass" });
    for (const disk of disks.values()) await disk.thaw();
    await Promise.all(agents.map((agent) => agent.end(20_000)));
    await Promise.all(controllers.map((controller) => controller.end(20_000)));
    operators[Symbol.dispose]();
    await Promise.all(relays.map((relay) => relay[Symbol.asyncDispose]()));
    await Promise.all(nats.servers.map((server) => server.kill()));
    await Promise.all([...disks.values()].map((disk) => disk[Symbol.asyncDispose]()));
    await nats[Symbol.asyncDispose]();
  };
  const parts = nats.servers.map(partOf);
  return {
    ...{ roster: FLEET, controllers, agents, nats: parts, operators, run, folder, links, disks },
    ...{ clocks: ground.clocks, missing: ground.missing, port: lowPort(random), asidePort: lowPort(random) },
    natsLeader: async () => {
      const leader = await nats.leaderOf(`KV_${natsNames("baton").storeBucket}`).catch(() => undefined);
      return parts.find((one) => one.name === leader?.name);
    },
    stop: () => (stopping ??= stop()),
    [Symbol.asyncDispose]: () => (stopping ??= stop()),
  };
}

const partOf = (server: NatsServer): NatsPart => ({
  name: server.name,
  get running() {
    return server.running;
  },
  async healthy() {
    try {
      const answer = await fetch(`${server.monitor}/healthz`, { signal: AbortSignal.timeout(2_000) });
      return answer.ok;
    } catch {
      return false;
    }
  },
  kill: () => server.kill(),
  restart: () => server.restart(),
  stop: () => server.stop(),
  cont: () => server.cont(),
});

/** Each server's storage on a disk of its own, put under it while all are down: there is nothing on them yet. */
async function onDisks(nats: NatsServers): Promise<ReadonlyMap<string, StallingDisk>> {
  await Promise.all(nats.servers.map((server) => server.kill()));
  const disks = new Map<string, StallingDisk>();
  for (const { name, folder } of nats.servers) disks.set(name, await StallingDisk.mount(folder, SERVER_DISK_MIB));
  await Promise.all(nats.servers.map((server) => server.restart()));
  return disks;
}

/**
 * After trouble with its disk: a server that has given up JetStream for it (2.9 does, for good, at the first ENOSPC) is
 * started again, as its operator would.
 */
export async function mendServer(server: NatsPart): Promise<void> {
  const deadline = Date.now() + READY_MS;
  while (server.running && Date.now() < deadline) {
    if (await server.healthy()) return;
    await new Promise((again) => setTimeout(again, 200));
  }
  await server.restart();
}
