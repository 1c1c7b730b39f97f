/**
 * Parts of the system killed with SIGKILL under load, at random moments of a rollout. KILLS says how often each (the
 * figures in the notes are of ten and more); chance is seeded by SEED, so that a run can be repeated.
 */
import { afterEach, expect, test } from "vitest";
import { integer } from "../../proto/kernel/random.ts";
import type { DemoCluster } from "../support/cluster.ts";
import { demoCluster } from "../support/cluster.ts";
import { partsOf } from "../support/proc.ts";
import type { Fire } from "./under-fire.ts";
import { expectNothing, expectOnlyInFlight, pick, random, shown, underFire, wait } from "./under-fire.ts";

const KILLS = Number(process.env["KILLS"] ?? 2);
const PER_KILL_MS = 60_000;

const kept: string[] = [];
afterEach(() => {
  if (kept.length > 0) console.log(kept.splice(0).join("\n"));
});

/** KILLS rollouts, with one `strike` in each. */
async function often(demo: DemoCluster, strike: () => void | Promise<void>, mayRollBack = false): Promise<Fire> {
  const fire = await underFire(demo, "v1", { strikes: Array.from({ length: KILLS }, () => strike), mayRollBack });
  kept.push(...fire.notes);
  return fire;
}

test("the controller: rollouts resume and complete, nothing is lost", { timeout: KILLS * PER_KILL_MS }, async () => {
  await using demo = await demoCluster({ mayEnd: ["controller"] });
  const fire = await often(demo, async () => {
    process.kill(demo.cluster.pid("controller"), "SIGKILL");
    await wait(integer(random, 2_000));
    demo.cluster.restart("controller");
  });
  expectNothing(fire);
});

test(
  "a core: apps and workers go on untouched, the next core takes them over",
  { timeout: KILLS * PER_KILL_MS },
  async () => {
    await using demo = await demoCluster();
    const agents = [demo.cluster.gateway, ...demo.cluster.hosts];
    const fire = await often(demo, async () => {
      const keeper = demo.cluster.pid(pick(agents));
      const before = partsOf(keeper);
      expect(before.core).toHaveLength(1);
      process.kill(before.core[0]!, "SIGKILL");
      await expect.poll(() => partsOf(keeper).core, { timeout: 5_000 }).not.toEqual(before.core);
      expect(partsOf(keeper).workers).toEqual(before.workers);
    });
    expectNothing(fire);
  },
);

test(
  "a worker: none refused, only what was in flight on it is cut, and the ledger names it",
  { timeout: KILLS * PER_KILL_MS },
  async () => {
    await using demo = await demoCluster();
    const agents = [demo.cluster.gateway, ...demo.cluster.hosts];
    const fire = await often(demo, () => {
      const [worker] = partsOf(demo.cluster.pid(pick(agents))).workers;
      expect(worker).toBeDefined();
      process.kill(worker!, "SIGKILL");
    });
    expectOnlyInFlight(fire);
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
    const { ledger, unexplained } = await often(demo, strike, true);
    const idempotent = ledger.losses.filter((loss) => !["post", "upload"].includes(loss.kind));
    const unanswered = idempotent.filter((loss) => loss.bytesReceived === 0);
    expect(unanswered, shown(unanswered)).toEqual([]);
    expect(unexplained).toBe(0);
  },
);
