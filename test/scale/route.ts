/**
 * `route set`, measured: a canary's weight is changed by hand at its pause, again and again, and each host of the service
 * is to confirm it. When a host has confirmed is the controller's word (HostView.sync_since_ms).
 *
 *   confirm  from the operator's word until a host's confirmation is heard: over all hosts and changes
 *   barrier  from the operator's word until the rollout's barrier is passed, by changes that follow each other as soon as
 *            they may: a weight may only rise once every host has reported that it serves the last one
 *   bytes    of all messages both ways, less what flows while nothing happens
 *
 * What it costs has to follow the service's hosts, and not the fleet.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { status } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import type { HostView } from "../../proto/gen/baton/v1/operator.ts";
import { Api } from "../support/control.ts";
import { until } from "../support/processes.ts";
import type { Rig } from "./rig.ts";

export interface RouteFigures {
  readonly hosts: number;
  readonly changes: number;
  readonly confirmMs: Spread;
  readonly barrierMs: Spread;
  readonly assignmentsAChange: number;
  readonly bytesDownAHost: number;
  readonly bytesUpAHost: number;
  /** Of the leader, seconds of a core. */
  readonly cpuAChange: number;
  readonly rssBytes: number;
}

export interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

const QUIET_MS = 2_000;
/** Basis points: of the program's own first step, and as far as is gone by hand. */
const FIRST = 1_000;
const HIGHEST = 9_500;
const AGAIN_MS = 20;
const PATIENCE_MS = 300_000;

/** The label of the hosts that this service is placed on. */
export const labelOf = (service: number): string => `route-${service}`;

const document = (service: number, version: string): string => `
apiVersion: baton/v1
kind: Service
metadata: { name: route-${service} }
spec:
  version: ${version}
  listen: [{ address: 127.0.0.1, port: ${9_000 + service}, protocol: http }]
  hostnames: ["route-${service}.test"]
  run: { process: { command: ["node", "server.js"], cwd: "." } }
  health: { path: /healthz, interval: 100ms, timeout: 100ms, healthyThreshold: 1, unhealthyThreshold: 2 }
  placement: { labels: { ${labelOf(service)}: "yes" } }
  drain: { timeout: 30s, kill: 500ms }
  strategy:
    canary:
      minHealthyTime: 100ms
      healthyDeadline: 5m
      progressDeadline: 10m
      analysis: { metrics: [] }
      steps: [{ setWeight: 10 }, { pause: {} }]
`;

export async function routeSet(rig: Rig, service: number, hosts: number, changes: number): Promise<RouteFigures> {
  const name = `route-${service}`;
  await rig.client.apply(document(service, "v1"));
  await reaches(rig, name, "v1 is out", (phase) => phase === "Healthy");
  await rig.client.apply(document(service, "v2"));
  await reaches(rig, name, "the canary pauses", (phase) => phase === "Paused");
  await sleep(QUIET_MS);
  const idle = await flow(rig, QUIET_MS);

  // Half of the changes for each measure; all of them rises.
  const step = Math.floor((HIGHEST - FIRST) / (2 * changes + 1));
  let weight = FIRST;
  const rise = (): Promise<number> => accepted(rig, name, (weight += step));

  const confirms: number[] = [];
  const before = { counts: await rig.counts(), cpu: rig.usage().cpuSeconds, at: performance.now() };
  for (let n = 0; n < changes; n++) {
    const had = (await rig.counts()).assignments;
    const saidAt = await rise();
    await until(
      `change ${n} has reached all of ${hosts} hosts`,
      async () => (await rig.counts()).assignments >= had + hosts,
      PATIENCE_MS,
    );
    const took = (await confirmed(rig, service, saidAt)).map(({ syncSinceMs }) => Number(syncSinceMs) - saidAt);
    if (took.length !== hosts) throw new Error(`${took.length} hosts have the service, not ${hosts}`);
    confirms.push(...took);
  }
  const seconds = (performance.now() - before.at) / 1_000;
  const after = { counts: await rig.counts(), cpu: rig.usage().cpuSeconds };
  const moments = [await rise()];
  for (let n = 0; n < changes; n++) moments.push(await rise());
  const all = hosts * changes;
  return {
    ...{ hosts, changes, confirmMs: spread(confirms) },
    barrierMs: spread(moments.slice(1).map((at, n) => at - (moments[n] ?? 0))),
    assignmentsAChange: (after.counts.assignments - before.counts.assignments) / changes,
    bytesDownAHost: (after.counts.bytesDown - before.counts.bytesDown - idle.down * seconds) / all,
    bytesUpAHost: (after.counts.bytesUp - before.counts.bytesUp - idle.up * seconds) / all,
    cpuAChange: (after.cpu - before.cpu) / changes,
    rssBytes: rig.usage().rssBytes,
  };
}

/** Says it until it may be; answers when it was said that last time. */
async function accepted(rig: Rig, service: string, weight: number): Promise<number> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const saidAt = Date.now();
    try {
      await rig.client.call(Api.setWeight, { service, weight, actor: "scale" });
      return saidAt;
    } catch (error) {
      const early = (error as ServiceError).code === status.FAILED_PRECONDITION;
      if (!early || performance.now() > deadline) throw error;
      await sleep(AGAIN_MS);
    }
  }
}

/** Bytes a second both ways while nothing is asked. */
async function flow(rig: Rig, ms: number): Promise<{ readonly down: number; readonly up: number }> {
  const before = await rig.counts();
  const began = performance.now();
  await sleep(ms);
  const after = await rig.counts();
  const seconds = (performance.now() - began) / 1_000;
  return {
    down: (after.bytesDown - before.bytesDown) / seconds,
    up: (after.bytesUp - before.bytesUp) / seconds,
  };
}

/** The service's hosts, once all of them have confirmed what was asked since. */
async function confirmed(rig: Rig, service: number, sinceMs: number): Promise<readonly HostView[]> {
  let hosts: readonly HostView[] = [];
  await until(
    "all have confirmed it",
    async () => {
      const { hosts: all } = await rig.client.call(Api.listHosts, {});
      hosts = all.filter(({ labels }) => labels[labelOf(service)] === "yes");
      const over = hosts.every(({ sync, syncSinceMs }) => sync === "SYNCED" && Number(syncSinceMs) >= sinceMs);
      // The list of a great fleet is work for the controller too.
      if (!over) await sleep(500);
      return over;
    },
    PATIENCE_MS,
  );
  return hosts;
}

async function reaches(rig: Rig, name: string, what: string, is: (phase: string) => boolean): Promise<void> {
  let last = "";
  await until(
    `${name}: ${what}`,
    async () => {
      const view = await rig.client.rollout(name);
      last = `${view.phase} ${view.stage} ${view.reason}: ${view.message}`;
      if (view.phase === "Degraded") throw new Error(`${name} failed: ${last}`);
      await sleep(500);
      return is(view.phase);
    },
    PATIENCE_MS,
  ).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}; at last: ${last}`);
  });
}

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), max: sorted.at(-1) ?? 0 };
}
