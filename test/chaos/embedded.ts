/** One controller on SQLite, a gateway with two workers, three hosts: each with a relay, a disk and a clock of its own. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Random } from "../../proto/kernel/random.ts";
import { lowPort } from "../support/low-port.ts";
import { Relay } from "../support/relay.ts";
import { StallingDisk, stallingDisksWork } from "../support/stalling-disk.ts";
import { faketime, SteppedClock } from "../support/stepped-clock.ts";
import { Operators } from "./operators.ts";
import { Part } from "./part.ts";
import type { Ended } from "./part.ts";
import type { Roster } from "./schedule.ts";
import type { Link, Topology } from "./topology.ts";

const GATEWAYS = ["gateway-1"];
const HOSTS = ["host-1", "host-2", "host-3"];
const AGENTS = [...GATEWAYS, ...HOSTS];
const CONTROLLER = "controller";

export const EMBEDDED: Roster = {
  ...{ controllers: [CONTROLLER], gateways: GATEWAYS, hosts: HOSTS, nats: [] },
  links: AGENTS,
  disks: [CONTROLLER, ...AGENTS],
  clocks: [CONTROLLER, ...AGENTS],
};

export interface StartOptions {
  readonly folder: string;
  readonly run: string;
  /** Of ports; not of the schedule. */
  readonly random: Random;
  readonly onEnded: (ended: Ended) => void;
}

export async function startEmbedded(options: StartOptions): Promise<Topology> {
  const { folder, run, random } = options;
  const ground = await groundOf(folder, EMBEDDED);
  const grpc = { host: "127.0.0.1", port: lowPort(random) };
  const address = `${grpc.host}:${String(grpc.port)}`;
  const part = ground.partMaker(options);
  const controller = part(CONTROLLER, "controller", "control/main.ts", (http) => [
    ...["--grpc", address, "--http", http, "--state", ground.stateOf(CONTROLLER)],
  ]);
  const relays = new Map<string, Relay>();
  for (const name of AGENTS) relays.set(name, await Relay.start(grpc, lowPort(random)));
  const agents = AGENTS.map((name) => {
    const gateway = GATEWAYS.includes(name);
    return part(name, gateway ? "gateway" : "host", "agent/main.ts", (http) => [
      ...["--name", name, "--role", gateway ? "gateway" : "host", "--controller", relays.get(name)!.address],
      ...["--state", ground.stateOf(name), "--address", "127.0.0.1", "--admin", http],
      ...["--inbound-ports", gateway ? "declared" : "assigned", "--workers", gateway ? "2" : "1"],
    ]);
  });
  const operators = new Operators([address]);
  for (const each of [controller, ...agents]) each.start();
  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    for (const relay of relays.values()) relay.set({ kind: "pass" });
    for (const disk of ground.disks.values()) await disk.thaw();
    await Promise.all(agents.map((agent) => agent.end(20_000)));
    await controller.end(20_000);
    operators[Symbol.dispose]();
    await Promise.all([...relays.values()].map((relay) => relay[Symbol.asyncDispose]()));
    await Promise.all([...ground.disks.values()].map((disk) => disk[Symbol.asyncDispose]()));
  };
  return {
    ...{ roster: EMBEDDED, controllers: [controller], agents, nats: [], operators, run, folder },
    links: new Map<string, Link>(relays),
    ...{ disks: ground.disks, clocks: ground.clocks, missing: ground.missing },
    ...{ port: lowPort(random), asidePort: lowPort(random) },
    natsLeader: () => Promise.resolve(undefined),
    stop: () => (stopping ??= stop()),
    [Symbol.asyncDispose]: () => (stopping ??= stop()),
  };
}

interface Ground {
  readonly disks: ReadonlyMap<string, StallingDisk>;
  readonly clocks: ReadonlyMap<string, SteppedClock>;
  readonly missing: readonly string[];
  stateOf(name: string): string;
  partMaker(
    options: StartOptions,
  ): (name: string, kind: Part["spec"]["kind"], file: string, args: (http: string) => readonly string[]) => Part;
}

/** Disks, clocks and folders for the parts of a roster, as far as this machine gives them. */
export async function groundOf(folder: string, { disks: onDisks, clocks: byClocks }: Roster): Promise<Ground> {
  const logs = join(folder, "logs");
  for (const name of [logs, join(folder, "clocks"), join(folder, "state")])
    mkdirSync(name, { recursive: true, mode: 0o700 });
  const missing: string[] = [];
  const noDisks = await stallingDisksWork();
  if (noDisks !== "") missing.push(`disk-full and disk-stall: ${noDisks}`);
  const { library, why } = faketime();
  if (why !== "") missing.push(`clock-step: ${why}`);
  const stateOf = (name: string): string => join(folder, "state", name);
  const disks = new Map<string, StallingDisk>();
  if (noDisks === "") for (const name of onDisks) disks.set(name, await StallingDisk.mount(stateOf(name)));
  const clocks = new Map(
    why === "" ? byClocks.map((name) => [name, new SteppedClock(join(folder, "clocks", name), library)]) : [],
  );
  return {
    ...{ disks, clocks, missing, stateOf },
    partMaker:
      ({ run, random, onEnded }) =>
      (name, kind, file, args) => {
        const http = `127.0.0.1:${String(lowPort(random))}`;
        const env = { CHAOS_RUN: run, ...clocks.get(name)?.env };
        const logFile = join(logs, `${name}.log`);
        return new Part({ name, kind, file, http, env, logFile, args: args(http) }, onEnded);
      },
  };
}
