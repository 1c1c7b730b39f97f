/**
 * A demo cluster for end-to-end tests: real controller, gateway and hosts, v1 of the demo app rolled out, and the loss
 * client's traffic through the gateway. Everything it starts ends with it.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Api } from "../../control/cli/client.ts";
import type { Cluster } from "../../control/cli/up/cluster.ts";
import { freePort, startCluster } from "../../control/cli/up/cluster.ts";
import { DEMO, deploy } from "../../control/cli/up/service.ts";
import type { HostView, RolloutView } from "../../proto/gen/baton/v1/operator.ts";
import { seededRandom } from "../../proto/kernel/random.ts";
import { systemClock } from "../../proto/runtime/system-clock.ts";
import type { LossRecord } from "../loss/ledger.ts";
import type { Traffic } from "../loss/traffic.ts";
import { startTraffic } from "../loss/traffic.ts";

export interface DemoCluster extends AsyncDisposable {
  readonly cluster: Cluster;
  readonly port: number;
  /** `onLoss` sees every loss; the ledger keeps the first ones only. */
  traffic(rate: number, seed?: number, onLoss?: (loss: LossRecord) => void): Traffic;
  deploy(version: string): Promise<string>;
  /** The rollout once `when` holds of it; fails with what was last seen. */
  until(rollout: string, when: (view: RolloutView) => boolean, timeoutMs?: number): Promise<RolloutView>;
  hosts(): Promise<readonly HostView[]>;
}

const ASK_EVERY_MS = 50;

export async function demoCluster(options: { readonly mayEnd?: readonly string[] } = {}): Promise<DemoCluster> {
  const folder = mkdtempSync(join(tmpdir(), "baton-e2e-"));
  const cluster = await startCluster({ ...options, folder, hosts: 3, workers: 1, wellKnownPorts: false });
  const port = freePort(0);
  const until: DemoCluster["until"] = async (rollout, when, timeoutMs = 90_000) => {
    const deadline = systemClock.monotonic() + timeoutMs;
    let last: RolloutView | null = null;
    for (;;) {
      // The controller may be down for a moment: a test has killed it.
      last = await cluster.controller.call(Api.getRollout, { service: "", rollout }).catch(() => last);
      if (last !== null && when(last)) return last;
      if (systemClock.monotonic() > deadline) throw new Error(`still waiting; last seen: ${describe(last)}`);
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
  };
  const demo: DemoCluster = {
    cluster,
    port,
    traffic: (rate, seed = 1, onLoss = () => undefined) =>
      startTraffic({
        ...{ target: { host: "127.0.0.1", port }, rate, resend: true, onLoss },
        ...{ clock: systemClock, random: seededRandom(seed) },
      }),
    deploy: (version) => deploy(cluster, port, version),
    until,
    hosts: async () => (await cluster.controller.call(Api.listHosts, {})).hosts,
    async [Symbol.asyncDispose]() {
      await cluster[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    const first = await until(await demo.deploy("v1"), (view) => view.ended);
    assert.match(describe(first), /Succeeded/);
  } catch (error) {
    await demo[Symbol.asyncDispose]();
    throw error;
  }
  return demo;
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
