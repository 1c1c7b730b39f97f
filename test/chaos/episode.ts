/** One episode's account: how its rollouts ended, what the client lost, what Baton says of it, and what is wrong. */
import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import type { RolloutView } from "../../proto/gen/baton/v1/operator.ts";
import type { LossRecord } from "../loss/ledger.ts";
import type { Commander } from "./commands.ts";
import { SERVICE } from "./documents.ts";
import type { FaultKind } from "./faults.ts";
import { blame } from "./losses.ts";
import type { Blame, Seen } from "./losses.ts";
import type { Part } from "./part.ts";
import type { Episode } from "./schedule.ts";
import type { Rest } from "./settle.ts";
import { told } from "./settle.ts";
import type { Strike } from "./strikes.ts";
import type { Topology } from "./topology.ts";

export interface Judged {
  readonly number: number;
  /** How its rollouts ended, oldest first: "canary weighted: RolledBack". */
  readonly ends: readonly string[];
  /** By whom and how: "kill-worker of host-2: answer_cut" → count. */
  readonly explained: Readonly<Record<string, number>>;
  readonly unexplained: number;
  readonly clientLost: number;
  readonly uncounted: number;
  readonly unread: number;
  readonly batonLost: number;
  readonly batonUnexplained: number;
  readonly restMs: number;
  readonly wrong: readonly string[];
  readonly summary: string;
}

export interface Played {
  readonly planned: Episode;
  readonly topology: Topology;
  readonly commander: Commander;
  readonly rest: Rest;
  /** Rollouts that were there before. */
  readonly known: ReadonlySet<string>;
  /** Baton's count of what was lost, before. */
  readonly before: number;
  readonly startedAtMs: number;
  readonly losses: () => readonly LossRecord[];
  readonly strikes: () => readonly Strike[];
  readonly seen: () => readonly Seen[];
}

/** The agents' last counts, and the grace in which Baton's books wait for a loss's explanation. */
const BOOKS_MS = 4_500;
const ASK_MS = 20_000;
/** These touch no instance, and no host's processes. */
const HARMLESS: ReadonlySet<FaultKind> = new Set([
  ...(["kill-controller", "stop-controller", "kill-nats", "kill-nats-majority", "stop-nats"] as const),
  ...(["cut", "hole", "delay", "trickle", "clock-step"] as const),
]);

export async function judge(played: Played): Promise<Judged> {
  const { planned, topology, commander, rest, known, before } = played;
  await wait(BOOKS_MS);
  const wrong = [...rest.wrong];
  const rollouts = ((await asked(() => topology.operators.rollouts())) ?? [])
    .filter((view) => !known.has(view.id))
    .toReversed();
  const service = await asked(() => topology.operators.service(SERVICE));
  const batonLost = Number(service?.ledger?.lostTotal ?? 0n) - before;
  const batonUnexplained = rollouts.reduce((sum, view) => sum + Number(view.ledger?.unexplained ?? 0n), 0);

  const [gateways, hosts] = [new Set(topology.roster.gateways), new Set(topology.roster.hosts)];
  const crashes = commander.deployments.some(({ behaviour }) => behaviour.startsWith("crash-after"));
  const blamed = blame(played.losses(), played.strikes(), { gateways, hosts, crashes, seen: played.seen() });
  const unexplained = blamed.filter(({ by }) => by === "");
  for (const { loss } of unexplained.slice(0, 5)) wrong.push(`a loss that no fault explains: ${JSON.stringify(loss)}`);
  if (unexplained.length > 5) wrong.push(`${String(unexplained.length)} losses that no fault explains`);
  if (batonUnexplained > 0) {
    const notes = rollouts.flatMap((view) => view.ledger?.notes ?? []).filter((note) => note.explanation === "");
    const shown = notes.map(({ host, cause, count }) => `${String(count)} × ${cause} at ${host}`).join(", ");
    wrong.push(`Baton's ledger has ${String(batonUnexplained)} losses unexplained: ${shown}`);
  }
  const countable = blamed.filter((one) => !one.uncounted);
  const noOnes = countable.filter(({ unread }) => unread).length;
  // Books that fell were lost with other records by the servers of the store, as some controller must have said.
  const fell = batonLost < 0 && topology.controllers.some(saidLost);
  if (!fell && countable.length - noOnes > batonLost) {
    wrong.push(
      `the client lost ${String(countable.length)} (${String(noOnes)} unread), Baton counted ${String(batonLost)}`,
    );
  }
  const ends = rollouts.map(endOf);
  // Only a target that itself dies twice, on some host, may bring that about; or a disk that is full as it starts there,
  // where its output goes.
  const full = played.strikes().filter(({ fault }) => fault.kind === "disk-full");
  for (const view of rollouts.filter(({ stage }) => stage === "Failed")) {
    const why = told(view);
    if (!full.some(({ victim }) => why.includes(` on ${victim} exited`))) wrong.push(`a rollback failed: ${why}`);
  }
  for (const view of rollouts) wrong.push(...takenBack(view, played), ...letThrough(view, commander));
  return {
    ...{ number: planned.number, ends, explained: counted(blamed), unexplained: unexplained.length },
    ...{ clientLost: blamed.length, uncounted: blamed.length - countable.length, unread: noOnes },
    ...{ batonLost, batonUnexplained, restMs: rest.tookMs, wrong },
    summary: [
      `${ends.join("; ")}.`,
      `Client lost ${String(blamed.length)}, unexplained ${String(unexplained.length)};`,
      `Baton ${String(batonLost)}, unexplained ${String(batonUnexplained)}.`,
      `At rest after ${(rest.tookMs / 1_000).toFixed(1)} s.`,
    ].join(" "),
  };
}

const LOST = /no server of \S+ has these records any more|the servers of \S+ have lost \d+ commits/;

const saidLost = ({ spec }: Part): boolean => LOST.test(readFileSync(spec.logFile, "utf8"));

/** The last word of a rollout; what a person would want to know of one that did not succeed. */
function endOf(view: RolloutView): string {
  return `${view.service} ${view.fromVersion}→${view.toVersion} ${view.strategy}: ${view.stage}`;
}

/**
 * A good version is taken back only for what was done to its instances or their host, or on an operator's word: not for a
 * controller, a way or a clock that failed.
 */
function takenBack(view: RolloutView, { commander, strikes }: Played): readonly string[] {
  const good = view.service !== SERVICE || commander.deploymentOf(view.toVersion)?.behaviour === "";
  if (view.stage !== "RolledBack" || !good) return [];
  const asked = commander.said.some(({ verb }) => verb === "abort" || verb === "undo");
  if (asked || strikes().some(({ fault }) => !HARMLESS.has(fault.kind))) return [];
  const why = view.transitions.find(({ stage }) => stage === "Aborting" || stage === "RollingBack");
  return [`${view.toVersion} is good, and was taken back: ${why?.reason ?? ""} ${why?.message ?? told(view)}`];
}

/** A bad version gets to the end only where an operator promoted it past the checks. */
function letThrough(view: RolloutView, commander: Commander): readonly string[] {
  const behaviour = view.service === SERVICE ? (commander.deploymentOf(view.toVersion)?.behaviour ?? "") : "";
  const promoted = commander.said.some(({ verb }) => verb === "promote-full" || verb === "promote");
  if (view.stage !== "Succeeded" || behaviour === "" || promoted) return [];
  return [`${view.toVersion} is bad (${behaviour}), and nobody but Baton let it through`];
}

function counted(blamed: readonly Blame[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { by, loss } of blamed) {
    if (by === "") continue;
    const key = `${by}: ${loss.cause}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

/** Until somebody answers; null when nobody does for `ASK_MS`. */
export async function asked<T>(question: () => Promise<T | null>): Promise<T | null> {
  const deadline = Date.now() + ASK_MS;
  for (; Date.now() < deadline; await wait(200, true)) {
    const answer = await question();
    if (answer !== null) return answer;
  }
  return null;
}
