/**
 * What will happen when: drawn in full from the seed before anything is started, so that one seed is one schedule, whatever
 * the machine does. An episode is a rollout (or some), what befalls the cluster during it, and the calm after it in which
 * everything is judged. Each episode draws from a source of its own, so that one can be played alone.
 *
 * Units  milliseconds from the episode's start.
 */
import { integer, seededRandom } from "../../proto/kernel/random.ts";
import type { Random } from "../../proto/kernel/random.ts";
import { STRATEGIES } from "../e2e/strategies/documents.ts";
import type { StrategyName } from "../e2e/strategies/documents.ts";
import { FAULT_KINDS, FAULTS } from "./faults.ts";
import type { FaultKind } from "./faults.ts";

export interface PlannedFault {
  readonly atMs: number;
  readonly kind: FaultKind;
  /** A part's name; "leader" and "follower" are found out at the moment. */
  readonly victim: string;
  /** How long it lasts, or the victim stays down. */
  readonly forMs: number;
  /** Chance for what is only known at the moment: which of several processes, how far a clock. In [0, 1). */
  readonly pick: number;
}

export const VERBS = [
  "pause",
  "resume",
  "promote",
  "promote-full",
  "abort",
  "retry",
  "undo",
  "deploy",
  "drain",
  "undrain",
  "apply-aside",
  "delete-aside",
] as const;
export type Verb = (typeof VERBS)[number];

export interface PlannedCommand {
  readonly atMs: number;
  readonly verb: Verb;
  /** Of drain and undrain. */
  readonly host: string;
  /** Of deploy. */
  readonly deployment: Deployment;
}

export interface Deployment {
  readonly strategy: StrategyName;
  /** In the words of test/apps/demo/behaviour.ts; "" is a good version. */
  readonly behaviour: string;
}

export interface Episode {
  readonly number: number;
  readonly deployment: Deployment;
  readonly faults: readonly PlannedFault[];
  readonly commands: readonly PlannedCommand[];
}

/** What there is to strike at: known before the first draw, the same for the same topology. */
export interface Roster {
  readonly controllers: readonly string[];
  readonly gateways: readonly string[];
  readonly hosts: readonly string[];
  readonly nats: readonly string[];
  /** Parts with a relay, a disk and a clock of their own. */
  readonly links: readonly string[];
  readonly disks: readonly string[];
  readonly clocks: readonly string[];
}

export interface Wishes {
  readonly only: readonly FaultKind[];
  readonly leaveOut: readonly FaultKind[];
  readonly commands: boolean;
}

/** Faults and commands begin within this; a rollout of three hosts takes about as long. */
export const ACTIVE_MS = 16_000;
const BEHAVIOURS = ["never-ready", "crash-at-start", "crash-after=3s", "errors=100%"] as const;
const GOOD_SHARE = 0.7;

export function episode(seed: number, number: number, roster: Roster, wishes: Wishes): Episode {
  const random = seededRandom(Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) + number * 7_919);
  const deployment = drawDeployment(random);
  const count = 3 + integer(random, 4);
  const faults = Array.from({ length: count }, () => drawFault(random, roster, wishes.only));
  const commands = Array.from({ length: integer(random, 4) }, () => drawCommand(random, roster));
  const byTime = <T extends { readonly atMs: number }>(list: readonly T[]): T[] =>
    list.toSorted((a, b) => a.atMs - b.atMs);
  return {
    number,
    deployment,
    faults: byTime(
      faults.filter((fault): fault is PlannedFault => fault !== null && !wishes.leaveOut.includes(fault.kind)),
    ),
    commands: wishes.commands ? byTime(commands) : [],
  };
}

function drawDeployment(random: Random): Deployment {
  const strategy = one(random, STRATEGIES);
  const good = random.next() < GOOD_SHARE;
  const bad = one(random, BEHAVIOURS);
  return { strategy, behaviour: good ? "" : bad };
}

/** Null when the topology has nobody whom the drawn kinds could befall. */
function drawFault(random: Random, roster: Roster, only: readonly FaultKind[]): PlannedFault | null {
  const kinds = FAULT_KINDS.filter(
    (kind) => victimsOf(kind, roster).length > 0 && (only.length === 0 || only.includes(kind)),
  );
  const sum = kinds.reduce((total, kind) => total + FAULTS[kind].weight, 0);
  let point = random.next() * sum;
  const kind = kinds.find((each) => (point -= FAULTS[each].weight) < 0);
  // Each draw takes as many numbers, so that what follows stays the same.
  const [atMs, long, victim, pick] = [integer(random, ACTIVE_MS), random.next(), random.next(), random.next()];
  if (kind === undefined) return null;
  const [least, most] = FAULTS[kind].lastsMs;
  const victims = victimsOf(kind, roster);
  return {
    ...{ atMs, kind, pick },
    victim: victims[Math.floor(victim * victims.length)]!,
    forMs: Math.round(least + long * (most - least)),
  };
}

function victimsOf(kind: FaultKind, roster: Roster): readonly string[] {
  const { controllers, gateways, hosts, nats } = roster;
  switch (FAULTS[kind].victims) {
    case "controller":
      return controllers.length > 1 ? ["leader", "leader", "follower"] : controllers;
    case "agent":
      return [...gateways, ...hosts];
    case "host":
      return hosts;
    case "nats":
      return nats.length > 0 ? [...nats, "nats-leader"] : [];
    case "link":
      return roster.links;
    case "disk":
      return roster.disks;
    case "clock":
      return roster.clocks;
  }
}

function drawCommand(random: Random, roster: Roster): PlannedCommand {
  const verb = one(random, VERBS);
  const deployment = drawDeployment(random);
  return { atMs: integer(random, ACTIVE_MS), verb, host: one(random, roster.hosts), deployment };
}

function one<const T>(random: Random, list: readonly T[]): T {
  return list[integer(random, list.length)]!;
}
