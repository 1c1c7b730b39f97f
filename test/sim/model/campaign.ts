/**
 * One seed's history: a world in which one rollout follows another, each with a strategy, a version and trouble of its own.
 * After each the trouble ends, an operator sees it through, and what has to be true at rest is looked at.
 */
import { resolveCount } from "../../../proto/contract/units.ts";
import { seededRandom } from "../../../proto/kernel/random.ts";
import type { Rollout } from "../../../control/model/rollout.ts";
import { GOOD } from "./agent.ts";
import { Chance } from "./chance.ts";
import { atRest } from "./ending.ts";
import { seeThrough } from "./operator.ts";
import { revisionOf } from "./revisions.ts";
import { BREAKS, playStrikes, type Strike } from "./strikes.ts";
import { World } from "./world.ts";

export interface CampaignOptions {
  readonly seed: number;
  readonly rollouts: number;
  /** No fleet is larger. */
  readonly largest: number;
  /** So many hosts, whatever the seed says. */
  readonly hosts?: number;
  /** Tells what happens. */
  readonly tell?: (line: string) => void;
}

export interface History {
  readonly seed: number;
  readonly hosts: number;
  /** Of all rollouts that ended: "rolling succeeded" → how many. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly rollouts: number;
  readonly virtualMs: number;
  readonly events: number;
  /** Empty when nothing was found. Else what, with the journal that led to it. */
  readonly found: readonly string[];
  readonly round: number;
}

/** All is as it was asked to be, within so long after the last rollout. */
const REST_MS = 40_000;
const KEPT_REVISIONS = 8;

class Violated extends Error {}

export function runCampaign(options: CampaignOptions): History {
  const { seed, rollouts, largest, tell = () => undefined } = options;
  const shape = new Chance(seededRandom(mixed(seed, 0)));
  const world = new World(shape.world(seed, largest, options.hosts));
  world.onViolation = () => {
    throw new Violated();
  };
  const outcomes: Record<string, number> = {};
  let ended = 0;
  world.controller.onEnd = (rollout) => {
    ended += 1;
    const name = `${kindOf(rollout)} ${rollout.stage.kind}`;
    outcomes[name] = (outcomes[name] ?? 0) + 1;
  };
  const { hosts } = world.options;
  const wanted = hosts > 40 ? Math.max(2, Math.ceil(rollouts / hosts)) : rollouts;
  let found: readonly string[] = [];
  let round = 0;
  try {
    world.settle(shape.once(5) ? 0 : 1);
    while (ended < wanted && found.length === 0) {
      round += 1;
      found = play(world, new Chance(seededRandom(mixed(seed, round))), round, tell);
    }
  } catch (error) {
    if (!(error instanceof Violated)) world.violations.push(error instanceof Error ? (error.stack ?? "") : "unknown");
    found = world.violations;
  }
  if (found.length > 0) found = [...found, ...lastWords(world)];
  const { happened: events } = world.time;
  return { seed, hosts, outcomes, rollouts: ended, virtualMs: world.now - 1_000_000, events, found, round };
}

function play(world: World, chance: Chance, round: number, tell: (line: string) => void): readonly string[] {
  const { controller } = world;
  const { newest, stable, previous } = controller.service;
  const strategy = chance.strategy();
  const parts = { onTimeout: chance.of("cut" as const, "cut" as const, "pause" as const) };
  const [next, newer] = [newest + 1, newest + 2];
  world.addRevision(
    revisionOf(next, { ...parts, strategy, placement: chance.placement() }),
    chance.behaviour(world.options.hosts),
  );
  world.addRevision(
    revisionOf(newer, { ...parts, strategy: chance.strategy() }),
    chance.behaviour(world.options.hosts),
  );
  const to = previous !== 0 && previous !== stable && chance.once(8) ? previous : next;
  const strikes = chance.strikes();
  world.lost = 0;
  world.laboratory.trouble = chance.of(0, 0, 0.1, 0.4);
  world.acceptNothing();
  tell(`${world.now} round ${round}: r${stable} → r${to} ${JSON.stringify(controller.revision(to).spec.strategy)}`);
  tell(`  ${JSON.stringify(world.behaviours.get(to) ?? GOOD)} ${JSON.stringify(strikes)}`);
  controller.deploy(to);
  const older = previous === 0 ? stable : previous;
  playStrikes(world, strikes, { newer, older });
  for (const host of controller.hosts) if (host.adminState === "drain") controller.admin(host.name, "ready");
  world.laboratory.trouble = 0;
  const over = seeThrough(world);
  if (!over) world.violate(`stuck: ${world.describe()}`);
  const { service } = controller;
  const nothingLost = mayLoseNothing(world, [stable, to, newer, older, service.stable], strikes);
  // Whatever was promoted in spite of its faults has been mended, so that the next rollout finds a fleet at rest.
  world.behaviours.set(service.stable, GOOD);
  if (over) for (const text of comesToRest(world)) world.violate(text);
  if (world.lost > 0 && nothingLost) {
    world.violate(`${world.lost} requests found nobody, and nothing was broken`);
  }
  world.laboratory.forget();
  forgetRevisions(world);
  return world.violations;
}

/** At rest, and still so a second later; what is not, when the time is over. */
function comesToRest(world: World): readonly string[] {
  const { options } = world.network;
  world.network.options = { ...options, lossy: 0 };
  let left: readonly string[] = [];
  for (const end = world.now + REST_MS; world.now < end;) {
    world.run(200);
    if (atRest(world).length > 0) continue;
    world.run(1_000);
    left = atRest(world);
    if (left.length === 0) break;
  }
  world.network.options = options;
  return left;
}

/** Every version could serve, and nothing was taken down on purpose. */
function mayLoseNothing(world: World, versions: readonly number[], strikes: readonly Strike[]): boolean {
  if (strikes.some((one) => BREAKS.has(one.kind))) return false;
  const { hosts } = world.controller;
  const count = hosts.filter((host) => host.role === "host").length;
  return versions.every((number) => {
    const behaviour = world.behaviours.get(number) ?? GOOD;
    const spec = world.controller.revisions.find((one) => one.revision === number)?.spec;
    // All hosts out at once, in place: holding requests meanwhile (R13) is the agents' part.
    const out = spec === undefined ? 0 : resolveCount(spec.strategy.maxUnavailable, count, "down");
    const placed = spec?.placement.labels["pool"] === undefined;
    return behaviour.exitsAfterMs === null && out < Math.ceil(count / 2) && placed;
  });
}

function forgetRevisions(world: World): void {
  const { controller } = world;
  const { newest, stable, previous } = controller.service;
  const used = new Set(world.agents.flatMap((agent) => agent.instances.map((one) => one.revision)));
  const past = new Set(controller.past.flatMap((one) => [one.to]).slice(-3));
  controller.revisions = controller.revisions.filter(
    ({ revision }) =>
      revision > newest - KEPT_REVISIONS ||
      revision === stable ||
      revision === previous ||
      used.has(revision) ||
      past.has(revision),
  );
}

function kindOf({ strategy, from }: Rollout): string {
  if (from === 0) return "first";
  return strategy.kind === "canary" ? `canary (${strategy.trafficRouting})` : strategy.kind;
}

function lastWords(world: World): readonly string[] {
  const { seed, hosts, gateways, latencyMs, lossy } = world.options;
  return [
    `  world ${seed}: ${hosts} hosts, ${gateways} gateways, latency up to ${latencyMs} ms, ${lossy} lost`,
    ...world.controller.journal
      .slice(-45)
      .map(({ atMs, rollout, stage, reason, message }) => `  ${atMs} ${rollout} ${stage} ${reason}: ${message}`),
  ];
}

/** Two small numbers to one seed, far from its neighbours. */
const mixed = (a: number, b: number): number =>
  Math.imul(Math.imul(a + 1, 0x9e3779b1) ^ (b + 0x7f4a7c15), 0x85ebca6b) >>> 0;
