/**
 * A demo cluster for end-to-end tests: real controllers, gateway and hosts, v1 of the demo app rolled out, and the loss
 * client's traffic through the gateway. Everything it starts ends with it.
 */
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Api, Controller } from "../../control/cli/client.ts";
import type { Cluster, ControllerPart, OnNats } from "../../control/cli/up/cluster.ts";
import { freePort, startCluster } from "../../control/cli/up/cluster.ts";
import type { OwnServer } from "../../control/cli/up/nats.ts";
import { DEMO, deploy } from "../../control/cli/up/service.ts";
import { natsNames } from "../../proto/contract/nats.ts";
import type { HostView, Info, RolloutView } from "../../proto/gen/baton/v1/operator.ts";
import { seededRandom } from "../../proto/kernel/random.ts";
import { systemClock } from "../../proto/runtime/system-clock.ts";
import type { LossRecord } from "../loss/ledger.ts";
import type { Traffic } from "../loss/traffic.ts";
import { startTraffic } from "../loss/traffic.ts";
import { until as eventually } from "./processes.ts";

export interface DemoCluster extends AsyncDisposable {
  readonly cluster: Cluster;
  readonly port: number;
  /** `onLoss` sees every loss; the ledger keeps the first ones only. */
  traffic(rate: number, seed?: number, onLoss?: (loss: LossRecord) => void): Traffic;
  deploy(version: string): Promise<string>;
  /** The rollout once `when` holds of it; fails with what was last seen. */
  until(rollout: string, when: (view: RolloutView) => boolean, timeoutMs?: number): Promise<RolloutView>;
  hosts(): Promise<readonly HostView[]>;
  /** The same cluster, with everything asked of this one. */
  asking(controller: Controller): Demo;
}

/** What can be done on it by whoever does not end it. */
export type Demo = Omit<DemoCluster, typeof Symbol.asyncDispose>;

export interface DemoOptions {
  readonly mayEnd?: readonly string[];
  readonly onNats?: OnNats;
  readonly workers?: number;
}

/** Two controllers on a cluster of three NATS servers of its own, agents over NATS. */
export const THREE_NATS: OnNats = { nats: { kind: "own", servers: 3 }, controllers: 2, agentsOver: "nats" };
export const NATS_SERVERS: readonly string[] = ["nats-1", "nats-2", "nats-3"];
export const CONTROLLERS: readonly string[] = ["controller-1", "controller-2"];

const ASK_EVERY_MS = 50;
/** Of another seed a client has another name: the app takes no order of its for one that it has seen. */
let seeds = 0;

export async function demoCluster(options: DemoOptions = {}): Promise<DemoCluster> {
  const folder = mkdtempSync(join(tmpdir(), "baton-e2e-"));
  const cluster = await startCluster({ workers: 1, ...options, folder, hosts: 3, wellKnownPorts: false });
  const demo: DemoCluster = {
    ...over(cluster, freePort(0), folder),
    async [Symbol.asyncDispose]() {
      await cluster[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    const first = await demo.until(await demo.deploy("v1"), (view) => view.ended);
    assert.match(describe(first), /Succeeded/);
  } catch (error) {
    await demo[Symbol.asyncDispose]();
    throw error;
  }
  return demo;
}

function over(cluster: Cluster, port: number, folder: string): Demo {
  const until: DemoCluster["until"] = async (rollout, when, timeoutMs = 90_000) => {
    const deadline = systemClock.monotonic() + timeoutMs;
    let last: RolloutView | null = null;
    for (;;) {
      // The controller may be down for a moment: a test has killed it.
      last = await cluster.controller.call(Api.getRollout, { service: "", rollout }).catch(() => last);
      if (last !== null && when(last)) return last;
      if (systemClock.monotonic() > deadline) {
        throw new Error(`still waiting; last seen: ${describe(last)}; logs: ${keepLogs(folder)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
  };
  return {
    ...{ cluster, port, until },
    traffic: (rate, seed = (seeds += 1), onLoss = () => undefined) =>
      startTraffic({
        ...{ target: { host: "127.0.0.1", port }, rate, resend: true, onLoss },
        ...{ clock: systemClock, random: seededRandom(seed) },
      }),
    deploy: (version) => deploy(cluster, port, version),
    hosts: async () => (await cluster.controller.call(Api.listHosts, {})).hosts,
    asking: (controller) => over({ ...cluster, controller }, port, folder),
  };
}

/** The folder goes with the cluster; what is needed to understand a failure stays. */
function keepLogs(folder: string): string {
  const kept = mkdtempSync(join(tmpdir(), "baton-e2e-logs-"));
  for (const file of readdirSync(join(folder, "logs"))) copyFileSync(join(folder, "logs", file), join(kept, file));
  return kept;
}

export function describe(view: RolloutView | null): string {
  if (view === null) return "nothing";
  const hosts = view.hosts.map((host) => `${host.host}=${host.stage}`).join(" ");
  return `${view.fromVersion}→${view.toVersion} ${view.phase}/${view.stage} ${view.reason}: ${view.message} [${hosts}]`;
}

/** Every host serves `version` and nothing else: no host has both versions, or none. */
export async function expectOnly(demo: Pick<DemoCluster, "hosts">, version: string): Promise<void> {
  const serving = (await demo.hosts())
    .filter((host) => host.role === "host")
    .map((host) => host.instances.filter((one) => one.service === DEMO && one.state !== "stopped"))
    .map((instances) => instances.map((one) => `${one.version} ${one.state}`));
  assert.deepEqual(
    serving,
    serving.map(() => [`${version} serving`]),
  );
}

/** What each controller says of itself; null for one that does not answer. */
export async function infoOf({ controllers }: Cluster): Promise<readonly (Info | null)[]> {
  return await Promise.all(
    controllers.map(async ({ grpc }) => {
      using one = new Controller({ controllers: [grpc], timeoutMs: 1_000 });
      return await one.call(Api.getInfo, {}).catch(() => null);
    }),
  );
}

/** Once one controller leads and every other that answers follows it. */
export async function leadership(
  cluster: Cluster,
): Promise<{ readonly leader: ControllerPart; readonly followers: readonly ControllerPart[]; readonly epoch: bigint }> {
  let infos: readonly (Info | null)[] = [];
  const heard = (): readonly Info[] => infos.filter((info) => info !== null);
  const led = (info: Info | null): boolean => info?.role === "leader";
  await eventually(
    "one controller leads and the others follow it",
    async () => {
      infos = await infoOf(cluster);
      const [first, ...more] = heard().filter(led);
      return first !== undefined && more.length === 0 && heard().every(({ leader }) => leader === first.id);
    },
    60_000,
  ).catch((error: unknown) => {
    const said = heard().map(({ id, role, leader, troubles }) => `${id} ${role} of ${leader} ${troubles.join("; ")}`);
    throw new Error(`${(error as Error).message}: ${said.join(" | ")}`);
  });
  const leading = cluster.controllers.find((_, i) => led(infos[i] ?? null));
  if (leading === undefined) throw new Error("nobody leads");
  const followers = cluster.controllers.filter((one, i) => one !== leading && infos[i] !== null);
  return { leader: leading, followers, epoch: infos.find(led)?.epoch ?? 0n };
}

interface Jsz {
  readonly account_details?: readonly {
    readonly stream_detail?: readonly { readonly name: string; readonly cluster?: { readonly leader?: string } }[];
  }[];
}

/** The server that leads the store's stream: commits go through it. */
export async function natsLeader({ natsServers }: Cluster): Promise<OwnServer> {
  const stream = `KV_${natsNames("baton").storeBucket}`;
  let found: OwnServer | undefined;
  await eventually(`${stream} has a leader`, async () => {
    for (const { monitor } of natsServers) {
      const jsz = await fetch(`http://${monitor}/jsz?streams=true`, { signal: AbortSignal.timeout(1_000) })
        .then((answer) => answer.json() as Promise<Jsz>)
        .catch((): Jsz => ({}));
      const streams = jsz.account_details?.flatMap((account) => account.stream_detail ?? []) ?? [];
      const leader = streams.find(({ name }) => name === stream)?.cluster?.leader;
      found = natsServers.find(({ name }) => name === leader);
      if (found !== undefined) return true;
    }
    return false;
  });
  if (found === undefined) throw new Error(`${stream} has no leader`);
  return found;
}
