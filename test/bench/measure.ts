/**
 * One measurement of one peer. CPU is read before the first request and after the last, and divided by the requests
 * answered between: no window to misalign. Opening the connections is in it, some dozens among hundreds of thousands.
 *
 * Units   seconds, requests, bytes, microseconds where named; shares 0..1 of one core.
 */
import { runLoad } from "./load.ts";
import type { Load, LoadResult } from "./load.ts";
import type { Cores } from "./machine.ts";
import type { PeerName } from "./options.ts";
import { coreBusySeconds, treeCpuSeconds } from "./processes.ts";
import type { Program } from "./processes.ts";

export interface Peer {
  readonly name: PeerName;
  readonly port: number;
  readonly program: Program;
}

export interface Bench {
  readonly load: Load;
  readonly cores: Cores;
  readonly signal: AbortSignal;
}

export interface Sample extends LoadResult {
  readonly peer: PeerName;
  /** Of the peer's whole process tree. */
  readonly cpuSeconds: number;
  /** Share of its core that the peer used: below about 0.97 its throughput was the load's limit, not its own. */
  readonly proxyShare: number;
  /** Share of the load's core that was busy. */
  readonly loadShare: number;
  /** Share of the peer's core that others took: other programs, other peers idling. */
  readonly foreignShare: number;
}

export async function measure(bench: Bench, peer: Peer, seconds: number): Promise<Sample> {
  const before = read(bench, peer);
  const startedAt = performance.now();
  const result = await Promise.race([runLoad(bench.load, peer.port, seconds, bench.signal), peer.program.failed]);
  const wall = (performance.now() - startedAt) / 1000;
  const after = read(bench, peer);
  const cpuSeconds = after.cpu - before.cpu;
  return {
    ...result,
    peer: peer.name,
    cpuSeconds,
    proxyShare: cpuSeconds / result.seconds,
    loadShare: (after.loadCore - before.loadCore) / wall,
    foreignShare: Math.max(0, (after.proxyCore - before.proxyCore - cpuSeconds) / wall),
  };
}

const read = (bench: Bench, peer: Peer) => ({
  cpu: treeCpuSeconds(peer.program.pid),
  proxyCore: coreBusySeconds(bench.cores.proxy),
  loadCore: coreBusySeconds(bench.cores.load),
});
