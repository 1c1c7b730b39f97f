/**
 * A fleet on NATS with parts of it killed by SIGKILL under load, one at a time and in pairs, in mid-rollout. CASES=all
 * plays every case (a regular expression those that match), KILLS says how often each; without them a few that every run
 * plays. Chance is seeded by SEED.
 *
 * After every case the agents' logs and the controllers' are held against I4: what an agent applied never went back, and
 * no epoch was led by two.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, expect, test } from "vitest";
import { integer } from "../../proto/kernel/random.ts";
import { Api } from "../../control/cli/client.ts";
import type { ControllerPart } from "../../control/cli/up/cluster.ts";
import { DEMO } from "../../control/cli/up/service.ts";
import { EXIT } from "../../proto/contract/limits.ts";
import type { ClientLedger } from "../loss/ledger.ts";
import { Epochs } from "../chaos/epochs.ts";
import type { DemoCluster } from "../support/cluster.ts";
import {
  CONTROLLERS,
  demoCluster,
  infoOf,
  leadership,
  NATS_SERVERS,
  natsLeader,
  THREE_NATS,
} from "../support/cluster.ts";
import { partsOf } from "../support/proc.ts";
import { startNode, until } from "../support/processes.ts";
import type { RunningProcess } from "../support/processes.ts";
import { expectNothing, expectOnlyInFlight, pick, random, underFire, wait } from "./under-fire.ts";

const KILLS = Number(process.env["KILLS"] ?? 1);
const CASES = process.env["CASES"] ?? "";
const CASE_MS = 120_000;
/** How long NATS is without a majority, once that was noticed. */
const OUTAGE_MS = 4_000;

interface Victim {
  readonly pid: number;
  /** The part that has to be started again; null for what its keeper starts. */
  readonly name: string | null;
}
/** None when there is none at the moment. */
type Find = (demo: DemoCluster) => Promise<readonly Victim[]>;

const part =
  (nameOf: (demo: DemoCluster) => Promise<string | undefined>): Find =>
  async (demo) => {
    const name = await nameOf(demo);
    if (name === undefined) throw new Error("there is no such part at the moment");
    return [{ pid: demo.cluster.pid(name), name }];
  };

const leader = part(async ({ cluster }) => (await leadership(cluster)).leader.name);
const follower = part(async ({ cluster }) => (await leadership(cluster)).followers[0]?.name);
const natsLead = part(async ({ cluster }) => (await natsLeader(cluster)).name);
const natsOther = part(async ({ cluster }) => {
  const { name } = await natsLeader(cluster);
  return pick(NATS_SERVERS.filter((one) => one !== name));
});
const partsOfOne = ({ cluster }: DemoCluster) => partsOf(cluster.pid(pick([cluster.gateway, ...cluster.hosts])));
const first = (pids: readonly number[]): Promise<readonly Victim[]> =>
  Promise.resolve(pids.slice(0, 1).map((pid) => ({ pid, name: null })));
const core: Find = (demo) => first(partsOfOne(demo).core);
const worker: Find = (demo) => first(partsOfOne(demo).workers);

interface Case {
  readonly name: string;
  readonly victims: readonly Find[];
  /** Every run plays it. */
  readonly quick?: true;
  /** What is in flight on a killed worker is cut. */
  readonly cuts?: true;
}

const ALL: readonly Case[] = [
  { name: "the leader", victims: [leader] },
  { name: "the follower", victims: [follower] },
  { name: "the NATS leader", victims: [natsLead] },
  { name: "an agent's core", victims: [core] },
  { name: "an agent's worker", victims: [worker], cuts: true },
  { name: "the leader and the NATS leader", victims: [leader, natsLead], quick: true },
  { name: "the leader and the follower", victims: [leader, follower] },
  { name: "the leader and an agent's core", victims: [leader, core] },
  { name: "the leader and an agent's worker", victims: [leader, worker], cuts: true },
  { name: "the follower and the NATS leader", victims: [follower, natsLead] },
  { name: "the follower and a NATS server that follows", victims: [follower, natsOther] },
  { name: "the NATS leader and an agent's core", victims: [natsLead, core] },
  { name: "the NATS leader and an agent's worker", victims: [natsLead, worker], cuts: true },
  { name: "an agent's core and an agent's worker", victims: [core, worker], cuts: true },
];
const wanted = (name: string, quick: boolean): boolean =>
  CASES === "" ? quick : CASES === "all" || new RegExp(CASES, "i").test(name);
const chosen = ALL.filter(({ name, quick }) => wanted(name, quick === true));

let demo: DemoCluster;
const agents = (): readonly string[] => [demo.cluster.gateway, ...demo.cluster.hosts];
const logOf = (name: string): string => join(demo.cluster.folder, "logs", `${name}.log`);
let epochs: Epochs;
const kept: string[] = [];

let started = false;
beforeEach(async () => {
  if (started) return;
  demo = await demoCluster({ onNats: THREE_NATS, mayEnd: [...CONTROLLERS, ...NATS_SERVERS] });
  started = true;
  const logged = (name: string) => ({ name, logFile: logOf(name) });
  epochs = new Epochs(agents().map(logged), CONTROLLERS.map(logged));
});
const end = async (): Promise<void> => {
  if (started) await demo[Symbol.asyncDispose]();
  started = false;
};
afterEach(async ({ task }) => {
  if (kept.length > 0) console.log(kept.splice(0).join("\n"));
  // A case that failed may leave anything behind: the next one gets a cluster of its own.
  if (task.result?.state === "fail") await end();
});
afterAll(end);

/** What every host serves now. */
const serves = async (): Promise<"v1" | "v2"> =>
  (await demo.cluster.controller.call(Api.getService, { name: DEMO })).stableVersion === "v2" ? "v2" : "v1";

/** Whoever was killed is there again, and one leads: the next case begins well. */
async function mended(names: readonly string[]): Promise<void> {
  for (const name of names) demo.cluster.restart(name);
  await natsLeader(demo.cluster);
  const all = async (): Promise<boolean> =>
    (await leadership(demo.cluster)).followers.length === CONTROLLERS.length - 1;
  await until("every controller is there again", all, 60_000);
}

/** `baton rollout watch`, asking this one first. */
function watching({ grpc }: ControllerPart): RunningProcess {
  const others = demo.cluster.controllers.map((one) => one.grpc).filter((one) => one !== grpc);
  const args = ["rollout", "watch", "demo", "--timeout", "90s", "--controller", [grpc, ...others].join(",")];
  return startNode("control/cli/main.ts", { args, env: { NO_COLOR: "1" } });
}

const rolloutEnded = async (): Promise<boolean> =>
  (await demo.cluster.controller.call(Api.getRollout, { service: DEMO, rollout: "" })).ended;

/** It has seen the rollout to its end, and has said in one line that it went on elsewhere. */
async function expectWatched(watch: RunningProcess, from: ControllerPart): Promise<void> {
  const { code } = await watch.exited;
  expect(code, watch.describe()).toBe(EXIT.done);
  const moved = watch.stderr.split("\n").filter((line) => line.includes("can't be reached"));
  expect(moved[0], watch.describe()).toMatch(new RegExp(`^the controller at ${from.grpc} can't be reached .* asking `));
}

function expectOneLeaderAtATime(): void {
  expect(epochs.look()).toEqual([]);
  expect(epochs.seen).toBeGreaterThan(0);
  // Nobody told an agent of an epoch that no controller says it led in.
  for (const name of agents()) {
    const lines = readFileSync(logOf(name), "utf8").split("\n");
    const met = lines.filter((line) => line.includes("assignment applied") || line.includes("session open"));
    const of = met.map((line) => Number(/"epoch":(\d+)/.exec(line)?.[1]));
    expect([...new Set(of)].filter((epoch) => !epochs.epochs.has(epoch))).toEqual([]);
  }
}

test.each(chosen)(
  "$name: rollouts complete, nothing more is lost, no two lead",
  { timeout: KILLS * CASE_MS },
  async (one) => {
    const watched: { readonly watch: RunningProcess; readonly from: ControllerPart }[] = [];
    const strike = async (): Promise<void> => {
      const killed: string[] = [];
      const { leader: leads } = await leadership(demo.cluster);
      const watch = one.victims.includes(leader) ? watching(leads) : null;
      await watch?.line(/^demo v\d → v\d /);
      // All are found before the first is gone: they are to be gone together.
      const found = await Promise.all(one.victims.map((victim) => victim(demo)));
      // A rollout that has ended by now needs no other controller.
      if (watch !== null && !(await rolloutEnded())) watched.push({ watch, from: leads });
      for (const { pid, name } of found.flat()) {
        process.kill(pid, "SIGKILL");
        if (name !== null) killed.push(name);
      }
      await wait(integer(random, 6_000));
      await mended(killed);
    };
    const fire = await underFire(demo, await serves(), { strikes: Array.from({ length: KILLS }, () => strike) });
    kept.push(one.name, ...fire.notes, `  ${watched.length} watched through a take-over`);
    for (const { watch, from } of watched) await expectWatched(watch, from);
    if (one.cuts === true) expectOnlyInFlight(fire);
    else expectNothing(fire);
    expectOneLeaderAtATime();
  },
);

test.skipIf(!wanted("the NATS majority", true))(
  "the NATS majority: the rollout stands still and traffic flows, and it goes on when NATS is back",
  { timeout: KILLS * CASE_MS },
  async () => {
    const strike = async (client: () => ClientLedger): Promise<void> => {
      const lead = await natsLeader(demo.cluster);
      const down = [lead.name, pick(NATS_SERVERS.filter((name) => name !== lead.name))];
      for (const name of down) process.kill(demo.cluster.pid(name), "SIGKILL");
      // Whoever led can't renew its lease, and stands down by its own clock.
      const leads = async (): Promise<boolean> => (await infoOf(demo.cluster)).some((info) => info?.role === "leader");
      await until("nobody leads", async () => !(await leads()), 30_000);
      await wait(500); // an assignment that was on its way
      expectOneLeaderAtATime();
      const before = { applied: epochs.seen, ok: client().total.ok };
      await wait(OUTAGE_MS);
      expectOneLeaderAtATime();
      expect(epochs.seen).toBe(before.applied);
      expect(client().total.ok).toBeGreaterThan(before.ok + 100);
      await mended(down);
    };
    const fire = await underFire(demo, await serves(), { strikes: Array.from({ length: KILLS }, () => strike) });
    kept.push("the NATS majority", ...fire.notes);
    expectNothing(fire);
    expectOneLeaderAtATime();
  },
);
