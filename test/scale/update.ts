/**
 * One rolling update, measured: what of its time was the instances' own, and what the control path's.
 *
 * A batch is as many hosts as the window takes at a time, in the order in which they began; it lasts from its first
 * host's beginning to its last one's end, by the controller's own journal. Its overhead is what remains after the
 * instances' own times: start, bakes, drain, stop.
 */
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../support/processes.ts";
import type { Pace } from "./light-agent.ts";
import type { Rig } from "./rig.ts";

export const MIN_HEALTHY_MS = 100;

export interface UpdateFigures {
  readonly batches: number;
  readonly seconds: number;
  /** Per batch, milliseconds. */
  readonly overhead: { readonly median: number; readonly worst: number };
  readonly assignments: number;
  /** Of all messages to the agents. */
  readonly bytesDown: number;
  readonly reports: number;
  readonly bytesUp: number;
  readonly cpuPercent: number;
  readonly cpuSeconds: number;
  readonly roundMs: number;
  readonly rounds: number;
  readonly rssBytes: number;
}

export const document = (options: {
  readonly service: number;
  readonly version: string;
  readonly surge: string;
  readonly parted: boolean;
  /** In place of a rolling update. */
  readonly strategy?: string;
}): string => `
apiVersion: baton/v1
kind: Service
metadata: { name: svc-${options.service} }
spec:
  version: ${options.version}
  listen: [{ address: 127.0.0.1, port: ${8_000 + options.service}, protocol: http }]
  hostnames: ["svc-${options.service}.test"]
  run: { process: { command: ["node", "server.js"], cwd: "." } }
  health: { path: /healthz, interval: 100ms, timeout: 100ms, healthyThreshold: 1, unhealthyThreshold: 2 }
  ${options.parted ? `placement: { labels: { part: "${options.service}" } }` : ""}
  drain: { timeout: 30s, kill: 500ms }
  strategy:${options.strategy ?? rolling(options.surge)}
`;

const rolling = (surge: string): string => `
    rolling:
      maxSurge: ${surge}
      maxUnavailable: 0
      minHealthyTime: ${MIN_HEALTHY_MS}ms
      healthyDeadline: 5m
      progressDeadline: 10m
`;

/** What one host's move takes at least, whoever directs it. The new version bakes while the old one drains. */
export const own = ({ startMs, drainMs, stopMs }: Pace): number =>
  startMs + MIN_HEALTHY_MS + Math.max(drainMs, MIN_HEALTHY_MS) + stopMs;

export async function healthy(rig: Rig, service: number, version: string, timeoutMs = 600_000): Promise<void> {
  let last = "";
  await until(
    `svc-${service} serves ${version}`,
    async () => {
      const view = await rig.client.rollout(`svc-${service}`);
      last = `${view.phase} ${view.stage} ${view.message}`;
      if (view.phase === "Degraded") throw new Error(`the update failed: ${last}`);
      await sleep(1_000);
      return view.phase === "Healthy" && view.endedAtMs > 0n;
    },
    timeoutMs,
  ).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}; at last: ${last}`);
  });
}

export async function update(rig: Rig, version: string, surge: string, window: number): Promise<UpdateFigures> {
  const before = { counts: await rig.counts(), rounds: await rig.rounds(), usage: rig.usage(), at: performance.now() };
  await rig.client.apply(document({ service: 0, version, surge, parted: rig.options.services > 1 }));
  await healthy(rig, 0, version);
  const wall = (performance.now() - before.at) / 1_000;
  const [counts, rounds, usage] = [await rig.counts(), await rig.rounds(), rig.usage()];
  const { id, startedAtMs, endedAtMs } = await rig.client.rollout("svc-0");
  const overheads = batches(journalOf(rig.database, id), window).map((ms) => ms - own(rig.options.pace));
  const cpuSeconds = usage.cpuSeconds - before.usage.cpuSeconds;
  return {
    batches: overheads.length,
    seconds: Number(endedAtMs - startedAtMs) / 1_000,
    overhead: { median: median(overheads), worst: Math.max(...overheads) },
    assignments: counts.assignments - before.counts.assignments,
    bytesDown: counts.bytesDown - before.counts.bytesDown,
    reports: counts.reports - before.counts.reports,
    bytesUp: counts.bytesUp - before.counts.bytesUp,
    cpuPercent: (cpuSeconds / wall) * 100,
    cpuSeconds,
    rounds: rounds.count - before.rounds.count,
    roundMs: ((rounds.seconds - before.rounds.seconds) * 1_000) / (rounds.count - before.rounds.count),
    rssBytes: usage.rssBytes,
  };
}

export interface Moved {
  readonly atMs: number;
  /** HostStarting … HostDone. */
  readonly reason: string;
  readonly host: string;
}

/** What the controller's journal says of each host, in order. */
export function journalOf(database: string, rollout: string): Moved[] {
  const db = new DatabaseSync(database, { readOnly: true });
  const rows = db
    .prepare("SELECT at_ms, reason, message FROM journal WHERE rollout = ? AND reason LIKE 'Host%' ORDER BY change")
    .all(rollout);
  db.close();
  return rows.map((row) => {
    const host = String(row["message"]).split(":")[0] ?? "";
    return { atMs: Number(row["at_ms"]), reason: String(row["reason"]), host };
  });
}

/** Milliseconds that each batch of `window` hosts took, from its first host's beginning to its last one's end. */
export function batches(moves: readonly Moved[], window: number): number[] {
  const began = new Map<string, number>();
  const ended = new Map<string, number>();
  for (const { atMs, reason, host } of moves) {
    if (!began.has(host)) began.set(host, atMs);
    if (reason === "HostDone") ended.set(host, atMs);
  }
  const order = [...began.keys()];
  return Array.from({ length: Math.ceil(order.length / window) }, (_, n) => {
    const hosts = order.slice(n * window, (n + 1) * window);
    const ends = hosts.map((host) => ended.get(host) ?? Number.NaN);
    return Math.max(...ends) - Math.min(...hosts.map((host) => began.get(host) ?? Number.NaN));
  });
}

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
