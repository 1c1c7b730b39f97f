/**
 * Parts of the system killed with SIGKILL under load, at random moments of a rollout. KILLS says how often each (the
 * figures in the notes are of ten and more); chance is seeded by SEED, so that a run can be repeated.
 */
import { afterEach, expect, test } from "vitest";
import { EXIT } from "../../proto/contract/limits.ts";
import { integer, seededRandom } from "../../proto/kernel/random.ts";
import type { ClientLedger, LossRecord } from "../loss/ledger.ts";
import type { DemoCluster } from "../support/cluster.ts";
import { demoCluster, describe as told, expectOnly } from "../support/cluster.ts";
import { partsOf } from "../support/proc.ts";

const KILLS = Number(process.env["KILLS"] ?? 2);
const SEED = Number(process.env["SEED"] ?? 20_260_101);
const RATE = 100;
/** A rollout of three hosts takes about this long: moments are drawn from all of it. */
const ROLLOUT_MS = 9_000;
/** A request written so shortly before the strike may not have been read by anyone: 2 cores, two tests and a load. */
const JUST_ARRIVED_MS = 100;
const PER_KILL_MS = 60_000;

const random = seededRandom(SEED);
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const kept: string[] = [];
afterEach(() => {
  if (kept.length > 0) console.log(kept.splice(0).join("\n"));
});

/** KILLS rollouts to and fro under traffic, with one `strike` at a random moment of each. */
async function underFire(
  demo: DemoCluster,
  strike: () => void | Promise<void>,
  mayRollBack = false,
): Promise<{
  ledger: ClientLedger;
  losses: readonly LossRecord[];
  batonLost: Record<string, number>;
  unexplained: number;
  strikes: number[];
}> {
  const losses: LossRecord[] = [];
  const traffic = demo.traffic(RATE, SEED, (loss) => losses.push(loss));
  await wait(1_000);
  const strikes: number[] = [];
  const rollouts: string[] = [];
  let now = "v1";
  for (let turn = 0; turn < KILLS; turn++) {
    const next = now === "v1" ? "v2" : "v1";
    const rollout = await demo.deploy(next);
    rollouts.push(rollout);
    const moment = integer(random, ROLLOUT_MS);
    await wait(moment);
    strikes.push(Date.now());
    await strike();
    const end = await demo.until(rollout, (view) => view.ended);
    kept.push(`  turn ${turn}: struck ${moment} ms into ${told(end)}`);
    expect(told(end)).toMatch(mayRollBack ? /Succeeded|RolledBack/ : /Succeeded/);
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
  kept.push(
    `  client: ${ledger.total.started} started, ${ledger.total.ok} ok, ${ledger.total.drained} drained, ${ledger.total.retried} retried, ${ledger.total.lost} lost ${JSON.stringify(ledger.causes)}`,
  );
  kept.push(`  Baton: lost ${JSON.stringify(batonLost)}, unexplained ${unexplained}`);
  expect(ledger.balanced).toBe(true);
  // A busy machine may not begin every request in time; those that it began are what is judged, and they are nearly all.
  expect(ledger.counters.skipped).toBeLessThan(0.05 * ledger.total.started);
  return { ledger, losses, batonLost, unexplained, strikes };
}

const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((a, b) => a + b, 0);
const shown = (losses: readonly LossRecord[]): string => JSON.stringify(losses.slice(0, 5), null, 1);
const pick = <T>(list: readonly T[]): T => list[integer(random, list.length)] as T;

test("the controller: rollouts resume and complete, nothing is lost", { timeout: KILLS * PER_KILL_MS }, async () => {
  await using demo = await demoCluster({ mayEnd: ["controller"] });
  const { ledger, batonLost } = await underFire(demo, async () => {
    process.kill(demo.cluster.pid("controller"), "SIGKILL");
    await wait(integer(random, 2_000));
    demo.cluster.restart("controller");
  });
  expect(ledger.total.lost, shown(ledger.losses)).toBe(0);
  expect(sum(batonLost)).toBe(0);
});

test(
  "a core: apps and workers go on untouched, the next core takes them over",
  { timeout: KILLS * PER_KILL_MS },
  async () => {
    await using demo = await demoCluster();
    const agents = [demo.cluster.gateway, ...demo.cluster.hosts];
    const { ledger, batonLost } = await underFire(demo, async () => {
      const keeper = demo.cluster.pid(pick(agents));
      const before = partsOf(keeper);
      expect(before.core).toHaveLength(1);
      process.kill(before.core[0]!, "SIGKILL");
      await expect.poll(() => partsOf(keeper).core, { timeout: 5_000 }).not.toEqual(before.core);
      expect(partsOf(keeper).workers).toEqual(before.workers);
    });
    expect(ledger.total.lost, shown(ledger.losses)).toBe(0);
    expect(sum(batonLost)).toBe(0);
  },
);

test(
  "a worker: none refused, only what was in flight on it is cut, and the ledger names it",
  { timeout: KILLS * PER_KILL_MS },
  async () => {
    await using demo = await demoCluster();
    const agents = [demo.cluster.gateway, ...demo.cluster.hosts];
    const { ledger, losses, batonLost, unexplained, strikes } = await underFire(demo, () => {
      const [worker] = partsOf(demo.cluster.pid(pick(agents))).workers;
      expect(worker).toBeDefined();
      process.kill(worker!, "SIGKILL");
    });
    expect(ledger.causes.connect_refused ?? 0).toBe(0);
    // What the client lost was in flight at a strike, and Baton names at least as much.
    const late = losses.filter((loss) => !strikes.some((at) => loss.atMs >= at - 50 && loss.atMs < at + 3_000));
    expect(late, shown(late)).toEqual([]);
    // All but what had only just reached the socket, unread: no one but the kernel knew of it.
    const unread = losses.filter((loss) => loss.bytesReceived === 0 && loss.afterMs < JUST_ARRIVED_MS);
    expect(losses).toHaveLength(ledger.total.lost);
    expect(losses.length - sum(batonLost), shown(unread)).toBeLessThanOrEqual(unread.length);
    expect(unexplained).toBe(0);
  },
);

test(
  "an app instance with another serving: only what was half answered is cut",
  { timeout: KILLS * PER_KILL_MS },
  async () => {
    await using demo = await demoCluster();
    // A new version whose instance dies while it serves is taken back: that is the rollout's word on it, not a defect.
    const strike = (): void => {
      const apps = partsOf(demo.cluster.pid(pick(demo.cluster.hosts))).apps;
      process.kill(pick(apps), "SIGKILL");
    };
    const { ledger, unexplained } = await underFire(demo, strike, true);
    const idempotent = ledger.losses.filter((loss) => !["post", "upload"].includes(loss.kind));
    const unanswered = idempotent.filter((loss) => loss.bytesReceived === 0);
    expect(unanswered, shown(unanswered)).toEqual([]);
    expect(unexplained).toBe(0);
  },
);
