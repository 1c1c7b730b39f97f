/**
 * One scenario, played and judged: the loss client's traffic flows from before its first step until after its last, and
 * in the end the hosts, the rollouts, both ledgers and the command line's exit codes must say what the scenario says.
 *
 * What is asked of every scenario, whatever it does:
 *   every host runs exactly one version, the right one; the rollout has the right stage and exit code, and so has the
 *   command line; the sentence names the cause
 *   the client's ledger balances; what it began is what Baton counted; what it lost is what Baton says was lost
 *   nothing is unexplained, and nothing was lost through a version that is well
 */
import assert from "node:assert/strict";
import type { LedgerView, RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import { seededRandom } from "../../../proto/kernel/random.ts";
import { systemClock } from "../../../proto/runtime/system-clock.ts";
import type { ClientLedger, LossRecord } from "../../loss/ledger.ts";
import type { Mix, Traffic } from "../../loss/traffic.ts";
import { startTraffic } from "../../loss/traffic.ts";
import { describe, expectOnly } from "../../support/cluster.ts";
import { startCallers } from "./caller.ts";
import type { Callers, CallersOptions } from "./caller.ts";
import type { StrategyName } from "./documents.ts";
import type { Deployment, Rig } from "./rig.ts";

export interface Scenario {
  readonly name: string;
  readonly on: readonly StrategyName[];
  /** Part of every CI run; the others are run by `SCENARIOS=all` and by main.ts. */
  readonly quick?: readonly StrategyName[];
  /** Of the loss client; QUICK_MIX by default. */
  readonly mix?: Mix;
  readonly play: (scene: Scene) => Promise<End>;
}

/** How it must have ended. */
export interface End {
  /** The last rollout of the scenario, and how the command line that started it must exit. */
  readonly rollout: Deployment;
  readonly stage: "Succeeded" | "RolledBack";
  readonly exitCode: number;
  /** What the sentence, or the journal, must say. */
  readonly why?: RegExp;
  /** The app itself may have answered 5xx. */
  readonly appErrors?: boolean;
  /** A version that crashed while it served takes with it what it had in its hands. */
  readonly crashed?: string;
}

export interface Row {
  readonly strategy: StrategyName;
  readonly scenario: string;
  readonly end: string;
  readonly exitCode: number;
  readonly requests: number;
  readonly appErrors: number;
  readonly lostClient: number;
  readonly lostBaton: number;
  /** Of Baton's: with a cause that was seen. */
  readonly explained: number;
  readonly seconds: number;
  readonly note: string;
}

/** No long polls, few slow transfers: what drains, drains within a second or two. */
export const QUICK_MIX: Mix = {
  ...{ get: 66, short: 12, post: 16, upload: 2, download: 2 },
  ...{ poll: 0, websocket: 1, events: 1 },
};
/** Nothing that takes its time: the slowest hundredth is a few milliseconds. */
export const PROMPT_MIX: Mix = { ...QUICK_MIX, upload: 0, download: 0 };

const RATE = 60;
/** Requests before anything is done: the clients are under way, the stable version is known to be well. */
const STEADY = 40;

export class Scene {
  readonly rig: Rig;
  readonly rollouts: string[] = [];
  readonly notes: string[] = [];
  readonly traffic: Traffic;
  readonly #losses: LossRecord[];
  readonly #callers: Callers[] = [];

  constructor(rig: Rig, traffic: Traffic, losses: LossRecord[]) {
    this.rig = rig;
    this.traffic = traffic;
    this.#losses = losses;
  }

  get strategy(): StrategyName {
    return this.rig.strategy;
  }

  /** Every loss of the client, as it happened. */
  get losses(): readonly LossRecord[] {
    return this.#losses;
  }

  async deploy(how?: Parameters<Rig["deploy"]>[0]): Promise<Deployment> {
    return this.#mine(await this.rig.deploy(how));
  }

  async undo(): Promise<Deployment> {
    return this.#mine(await this.rig.undo());
  }

  #mine(deployment: Deployment): Deployment {
    this.rollouts.push(deployment.rollout);
    return deployment;
  }

  until(deployment: Deployment, what: string, when: (view: RolloutView) => boolean): Promise<RolloutView> {
    return this.rig.until(deployment.rollout, what, (view) => {
      if (view.ended && !when(view)) throw new Error(`ended before ${what}: ${describe(view)}`);
      return when(view);
    });
  }

  /** Callers of their own, whose requests are part of the ledgers' sum. */
  callers(options: Omit<CallersOptions, "port">): Callers {
    const callers = startCallers({ ...options, port: this.rig.port });
    this.#callers.push(callers);
    return callers;
  }

  /** How many requests callers have begun; all of them have been answered. */
  async dismiss(): Promise<number> {
    const all = await Promise.all(this.#callers.map((callers) => callers.stop()));
    return all.reduce((sum, answers) => sum + answers.length, 0);
  }

  note(text: string): void {
    this.notes.push(text);
  }
}

export async function playScenario(rig: Rig, scenario: Scenario, seed: number): Promise<Row> {
  const began = performance.now();
  const before = await settled(rig);
  const losses: LossRecord[] = [];
  rig.played += 1;
  const traffic = startTraffic({
    ...{ target: { host: "127.0.0.1", port: rig.port }, rate: RATE, mix: scenario.mix ?? QUICK_MIX, resend: true },
    ...{ clock: systemClock, random: seededRandom(seed * 1_000 + rig.played), onLoss: (loss) => losses.push(loss) },
  });
  const scene = new Scene(rig, traffic, losses);
  try {
    await rig.eventually("the traffic flows", () => {
      return Promise.resolve(traffic.snapshot().total.ok >= STEADY ? true : undefined);
    });
    const end = await scenario.play(scene);
    const view = await rig.until(end.rollout.rollout, "the rollout ends", (one) => one.ended);
    rig.stable = end.stage === "Succeeded" ? view.toVersion : view.fromVersion;
    await judgeRollout(rig, end, view);
    const client = await traffic.stop();
    const own = await scene.dismiss();
    const counted = await judgeLedgers(scene, { before, client, own, end });
    return {
      strategy: rig.strategy,
      scenario: scenario.name,
      end: view.stage,
      exitCode: view.exitCode,
      requests: client.total.started + own,
      appErrors: client.total.appErrors,
      lostClient: client.total.lost,
      ...counted,
      seconds: (performance.now() - began) / 1_000,
      note: scene.notes.join("; "),
    };
  } catch (error) {
    const kept = await rig.keep(scene.rollouts);
    const shown = JSON.stringify(losses.slice(0, 5), null, 1);
    const message = `${rig.strategy}: ${scenario.name} (kept in ${kept}; ${losses.length} lost ${shown})`;
    throw new Error(`${message}: ${(error as Error).message}`, { cause: error });
  } finally {
    await Promise.allSettled([traffic.stop(), scene.dismiss()]);
  }
}

async function judgeRollout(rig: Rig, end: End, view: RolloutView): Promise<void> {
  const shown = describe(view);
  assert.equal(view.stage, end.stage, shown);
  assert.equal(view.exitCode, end.exitCode, shown);
  if (end.why !== undefined) {
    const said = [view.message, ...view.transitions.map((one) => one.message)].join("\n");
    assert.match(said, end.why);
  }
  await expectOnly(rig, rig.stable);
  const cli = await end.rollout.cli;
  assert.equal(cli.exitCode, end.exitCode, cli.said);
  assert.equal((await rig.hosts()).filter((host) => host.live).length, 4, "every agent is there");
}

interface Judged {
  readonly before: LedgerView;
  readonly client: ClientLedger;
  /** Requests of callers, all answered. */
  readonly own: number;
  readonly end: End;
}

async function judgeLedgers(
  scene: Scene,
  { before, client, own, end }: Judged,
): Promise<Pick<Row, "lostBaton" | "explained">> {
  const { rig } = scene;
  const after = await settled(rig);
  const lostBaton = Number(after.lostTotal - before.lostTotal);
  const shown = (): string =>
    JSON.stringify({ total: client.total, causes: client.causes, baton: brief(after), before: brief(before), own });
  assert(client.balanced, shown());
  assert.equal(client.counters.violations, 0, shown());
  if (end.appErrors !== true) assert.equal(client.total.appErrors, 0, shown());
  assert.equal(Number(after.requests - before.requests), client.total.started + own, `requests differ: ${shown()}`);
  assert.equal(lostBaton, client.total.lost, `losses differ: ${shown()}`);
  let unexplained = 0;
  for (const id of scene.rollouts) {
    const view = await rig.rollout(id);
    unexplained += Number(view.ledger?.unexplained ?? 0n);
    for (const version of view.versions) {
      if (version.version !== end.crashed) assert.equal(version.lost, 0n, `${version.version} lost: ${shown()}`);
    }
  }
  assert.equal(unexplained, 0, "nothing is unexplained");
  if (end.crashed === undefined) assert.equal(client.total.lost, 0, shown());
  return { lostBaton, explained: lostBaton - unexplained };
}

const brief = ({ requests, carried, clientGone, inFlight, lost, cut }: LedgerView): object => ({
  ...{ requests: Number(requests), carried: Number(carried), clientGone: Number(clientGone) },
  inFlight: Number(inFlight),
  lost: Object.fromEntries(Object.entries(lost).map(([cause, n]) => [cause, Number(n)])),
  cut: Object.fromEntries(Object.entries(cut).map(([cause, n]) => [cause, Number(n)])),
});

/** The service's ledger once nothing is in flight and two looks a report apart agree. */
async function settled(rig: Rig): Promise<LedgerView> {
  let last: LedgerView | undefined;
  return await rig.eventually("the last reports are in", async () => {
    const now = await rig.ledger();
    const same = last !== undefined && now.requests === last.requests && now.inFlight === 0n;
    last = now;
    if (same) return now;
    await new Promise((wait) => setTimeout(wait, REPORTS_MS));
    return undefined;
  });
}

/** Agents report every 250 ms. */
const REPORTS_MS = 600;
