/**
 * Rollouts to and fro under traffic, with something struck at a random moment of each; and what may be lost by it. SEED
 * makes chance repeatable.
 */
import { expect } from "vitest";
import { EXIT } from "../../proto/contract/limits.ts";
import { integer, seededRandom } from "../../proto/kernel/random.ts";
import type { ClientLedger, LossRecord } from "../loss/ledger.ts";
import type { Demo } from "../support/cluster.ts";
import { describe as told, expectOnly } from "../support/cluster.ts";

const SEED = Number(process.env["SEED"] ?? 20_260_101);
const RATE = 100;
/** A rollout of three hosts takes about this long: moments are drawn from all of it. */
const ROLLOUT_MS = 9_000;
/**
 * A request written so shortly before the strike may not have been read by anyone: 2 cores, two tests and a load. On a
 * machine that is slower still, as long as the slowest of quick answers take.
 */
const JUST_ARRIVED_MS = 100;

/** Each has a name of its own: the app would take its orders for another's, said again. */
let clients = 0;

export const random = seededRandom(SEED);
export const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
export const pick = <T>(list: readonly T[]): T => list[integer(random, list.length)] as T;

export interface Fire {
  readonly ledger: ClientLedger;
  readonly losses: readonly LossRecord[];
  readonly batonLost: Readonly<Record<string, number>>;
  readonly unexplained: number;
  readonly strikes: readonly number[];
  /** What was done and what became of it, a line each. */
  readonly notes: readonly string[];
}

export interface FireOptions {
  /** One rollout each, struck once. `client` is what the traffic has counted so far. */
  readonly strikes: readonly ((client: () => ClientLedger) => void | Promise<void>)[];
  readonly mayRollBack?: boolean;
}

/** From and to v1 and v2, beginning with what the hosts serve now. */
export async function underFire(demo: Demo, from: "v1" | "v2", options: FireOptions): Promise<Fire> {
  const losses: LossRecord[] = [];
  clients += 1;
  const traffic = demo.traffic(RATE, SEED + clients, (loss) => losses.push(loss));
  await wait(1_000);
  const strikes: number[] = [];
  const rollouts: string[] = [];
  const notes: string[] = [];
  let now: string = from;
  for (const [turn, strike] of options.strikes.entries()) {
    const next = now === "v1" ? "v2" : "v1";
    const rollout = await demo.deploy(next);
    rollouts.push(rollout);
    const moment = integer(random, ROLLOUT_MS);
    await wait(moment);
    strikes.push(Date.now());
    await strike(() => traffic.snapshot());
    const end = await demo.until(rollout, (view) => view.ended);
    notes.push(`  turn ${turn}: struck ${moment} ms into ${told(end)}`);
    expect(told(end)).toMatch(options.mayRollBack === true ? /Succeeded|RolledBack/ : /Succeeded/);
    now = end.exitCode === EXIT.done ? next : now;
    await expectOnly(demo, now);
  }
  const ledger = await traffic.stop();
  await wait(4_000); // the agents' last counts, and the grace in which a loss finds its explanation
  const batonLost: Record<string, number> = {};
  let unexplained = 0;
  for (const rollout of rollouts) {
    const { ledger: counted } = await demo.until(rollout, () => true);
    unexplained += Number(counted?.unexplained ?? 0n);
    for (const [cause, n] of Object.entries(counted?.lost ?? {}))
      batonLost[cause] = (batonLost[cause] ?? 0) + Number(n);
  }
  notes.push(
    `  client: ${ledger.total.started} started, ${ledger.total.ok} ok, ${ledger.total.drained} drained, ${ledger.total.retried} retried, ${ledger.total.lost} lost ${JSON.stringify(ledger.causes)}`,
    `  Baton: lost ${JSON.stringify(batonLost)}, unexplained ${unexplained}`,
  );
  expect(ledger.balanced).toBe(true);
  // A busy machine may not begin every request in time; those that it began are what is judged, and they are nearly all.
  expect(ledger.counters.skipped).toBeLessThan(0.05 * ledger.total.started);
  return { ledger, losses, batonLost, unexplained, strikes, notes };
}

const sum = (counts: Readonly<Record<string, number>>): number => Object.values(counts).reduce((a, b) => a + b, 0);
export const shown = (losses: readonly LossRecord[]): string => JSON.stringify(losses.slice(0, 5), null, 1);

export function expectNothing({ ledger, batonLost }: Fire): void {
  expect(ledger.total.lost, shown(ledger.losses)).toBe(0);
  expect(sum(batonLost)).toBe(0);
}

/** Of a killed worker: what was in flight on it, and what had just reached its socket. */
export function expectOnlyInFlight({ ledger, losses, batonLost, unexplained, strikes }: Fire): void {
  expect(ledger.causes.connect_refused ?? 0).toBe(0);
  // What the client lost was in flight at a strike, and Baton names at least as much.
  const late = losses.filter((loss) => !strikes.some((at) => loss.atMs >= at - 50 && loss.atMs < at + 3_000));
  expect(late, shown(late)).toEqual([]);
  // All but what had only just reached the socket, unread: no one but the kernel knew of it.
  const justArrivedMs = Math.max(JUST_ARRIVED_MS, 2 * ledger.kinds.get.p99Ms);
  const unread = losses.filter((loss) => loss.bytesReceived === 0 && loss.afterMs < justArrivedMs);
  expect(losses).toHaveLength(ledger.total.lost);
  expect(losses.length - sum(batonLost), shown(unread)).toBeLessThanOrEqual(unread.length);
  expect(unexplained).toBe(0);
}
