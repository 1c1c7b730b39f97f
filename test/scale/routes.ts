/** A fleet's whole measurement of changes by hand: connected, quiet, one service a size, then its controllers killed. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Rig } from "./rig.ts";
import { labelOf, routeSet } from "./route.ts";
import type { RouteFigures, Spread } from "./route.ts";
import { restart, takeOver } from "./storm.ts";
import type { StormFigures } from "./storm.ts";

export interface RoutesOptions {
  /** Of each service, how many hosts it is on. */
  readonly sizes: readonly number[];
  readonly changes: number;
  readonly storm: boolean;
  readonly say: (line: string) => void;
}

export interface RoutesFigures {
  readonly agents: number;
  readonly over: string;
  readonly natsServers: number;
  readonly connectSeconds: number;
  readonly quietCpuPercent: number;
  readonly quietRssBytes: number;
  readonly routes: readonly RouteFigures[];
  /** Of the leader's whole life, storms not counted. */
  readonly peakBytes: number;
  readonly takeOver: StormFigures | null;
  readonly restart: StormFigures | null;
}

const QUIET_MS = 10_000;

/** Host `i` has those services that are on more than `i` hosts. */
export const labelsOf = (i: number, sizes: readonly number[]): Readonly<Record<string, string>> =>
  Object.fromEntries(sizes.flatMap((size, service) => (i < size ? [[labelOf(service), "yes"]] : [])));

export async function measureRoutes(rig: Rig, options: RoutesOptions): Promise<RoutesFigures> {
  const { say } = options;
  const { over, natsServers } = rig.options;
  const began = performance.now();
  await rig.connected();
  const connectSeconds = (performance.now() - began) / 1_000;
  say(`${rig.all} agents over ${over} are connected after ${connectSeconds.toFixed(1)} s`);
  const routes: RouteFigures[] = [];
  for (const [service, hosts] of options.sizes.entries()) {
    const it = await routeSet(rig, service, hosts, options.changes);
    routes.push(it);
    say(
      `route set on ${it.hosts} of ${rig.all}: confirmed after ${ms(it.confirmMs)}, barrier ${ms(it.barrierMs)}; ` +
        `${it.assignmentsAChange.toFixed(0)} assignments a change, ${it.bytesDownAHost.toFixed(0)} B down and ` +
        `${it.bytesUpAHost.toFixed(0)} B up a host, CPU ${it.cpuAChange.toFixed(2)} s a change, RSS ${mib(it.rssBytes)}`,
    );
  }
  await sleep(3_000);
  const quietCpuPercent = await rig.cpuOver(QUIET_MS);
  const { rssBytes, peakBytes } = rig.usage();
  say(`quiet: CPU ${quietCpuPercent.toFixed(1)} %, RSS ${mib(rssBytes)}, at most ${mib(peakBytes)}`);
  const quiet = { quietCpuPercent, quietRssBytes: rssBytes, peakBytes };
  const base = { agents: rig.all, over, natsServers, connectSeconds, routes, ...quiet };
  if (!options.storm) return { ...base, takeOver: null, restart: null };
  const taken = rig.controllers.length > 1 ? await takeOver(rig) : null;
  if (taken !== null) say(`take-over: ${storm(taken)}`);
  await sleep(5_000);
  const again = await restart(rig);
  say(`restart: ${storm(again)}`);
  return { ...base, takeOver: taken, restart: again };
}

const storm = (it: StormFigures): string =>
  `led after ${(it.ledAfterMs / 1_000).toFixed(1)} s, all SYNCED after ${(it.syncedAfterMs / 1_000).toFixed(1)} s, ` +
  `CPU at most ${it.cpuPeakPercent.toFixed(0)} %, ${it.cpuSeconds.toFixed(1)} s in all, memory at most ${mib(it.peakBytes)}`;
const ms = ({ p50, p99, max }: Spread): string => `${p50.toFixed(0)} / ${p99.toFixed(0)} / ${max.toFixed(0)} ms`;
const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
