/**
 * The calm after an episode: everything must come to rest by itself, or say which command moves it on; and when that is
 * said, it must do so. Then the cluster has to be whole again.
 *
 * Errors  what is waited for in vain is a sentence in the answer, never a throw.
 */
import { setTimeout as wait } from "node:timers/promises";
import type { RolloutView } from "../../proto/gen/baton/v1/operator.ts";
import type { Commander } from "./commands.ts";
import { SERVICE } from "./documents.ts";
import { processesOf } from "./leftovers.ts";
import type { Topology } from "./topology.ts";

const LOOK_MS = 300;
/** A pause that ends by itself, or another reason behind it, has so long before an operator looks at it. */
const PATIENCE_MS = 10_000;
const ROLLOUTS_MS = 180_000;
const WHOLE_MS = 60_000;
/** Long pauses are the operator's to end. */
const BY_ITSELF = new Set(["FleetPartitioned", "Rejected"]);

const MOVES: Readonly<Record<string, "resume" | "promote" | "abort">> = {
  Manual: "resume",
  Step: "promote",
  AwaitingApproval: "promote",
  Inconclusive: "promote",
  DrainTimeout: "promote",
  UnexplainedLoss: "resume",
  Unhealthy: "abort",
  InvariantViolation: "abort",
};

export interface Rest {
  /** A sentence for each thing that is not as it should be. */
  readonly wrong: readonly string[];
  readonly tookMs: number;
}

export async function settle(topology: Topology, commander: Commander): Promise<Rest> {
  const began = Date.now();
  const wrong = await led(topology);
  if (wrong.length === 0) {
    await undrained(topology, commander);
    wrong.push(...(await ended(topology, commander)));
  }
  if (wrong.length === 0) wrong.push(...(await mended(topology, commander)));
  if (wrong.length === 0) wrong.push(...(await whole(topology)));
  return { wrong, tookMs: Date.now() - began };
}

/** Followers answer questions too, with what was when somebody led. */
async function led({ operators, controllers }: Topology): Promise<string[]> {
  const deadline = Date.now() + ROLLOUTS_MS;
  for (; Date.now() < deadline; await wait(LOOK_MS, true)) {
    const infos = await Promise.all(controllers.map((_, at) => operators.info(at)));
    if (infos.some((info) => info?.role === "leader")) return [];
  }
  return ["no controller leads"];
}

/** Whatever an operator took out of service is put back; said until it is heard. */
async function undrained({ operators }: Topology, commander: Commander): Promise<void> {
  const deadline = Date.now() + WHOLE_MS;
  for (; Date.now() < deadline; await wait(LOOK_MS, true)) {
    const hosts = await operators.hosts();
    if (hosts === null) continue;
    const drained = hosts.filter((host) => host.adminState !== "ready");
    if (drained.length === 0) return;
    for (const { name } of drained) await commander.undrain(name);
  }
}

async function ended({ operators }: Topology, commander: Commander): Promise<string[]> {
  const wrong: string[] = [];
  const pausedSince = new Map<string, number>();
  let open: readonly RolloutView[] = [];
  const deadline = Date.now() + ROLLOUTS_MS;
  for (; Date.now() < deadline; await wait(LOOK_MS, true)) {
    const rollouts = await operators.rollouts();
    if (rollouts === null) continue;
    open = rollouts.filter((view) => !view.ended);
    if (open.length === 0) return wrong;
    for (const view of open.filter(({ phase }) => phase === "Paused")) {
      const key = `${view.id} ${view.reason}`;
      const since = pausedSince.get(key) ?? Date.now();
      pausedSince.set(key, since);
      if (Date.now() - since < PATIENCE_MS) continue;
      pausedSince.delete(key);
      if (!/baton \w+/.test(view.message)) wrong.push(`${view.id} is paused and names no command: ${view.message}`);
      const move = MOVES[view.reason];
      if (move !== undefined) await commander.say(move, view.reason, view.service);
      else if (!BY_ITSELF.has(view.reason)) wrong.push(`${view.id} is paused for a reason unknown: ${view.reason}`);
      else wrong.push(`${view.id} is still ${view.reason} with all faults over: ${view.message}`);
    }
  }
  for (const view of open) wrong.push(`${view.id} has not ended: ${told(view)}`);
  if (open.length === 0) wrong.push("no controller answers");
  return wrong;
}

/**
 * A rollout that failed outright leaves hosts as they are, and one that an operator promoted past all checks may leave them
 * with a version that crashes for ever: the next good version must take them.
 */
async function mended(topology: Topology, commander: Commander): Promise<string[]> {
  const newest = (await topology.operators.rollouts())?.find((view) => view.service === SERVICE);
  const stable = (await topology.operators.service(SERVICE))?.stableVersion ?? "";
  const bad = (commander.deploymentOf(stable)?.behaviour ?? "") !== "";
  if (newest?.stage !== "Failed" && !bad) return [];
  await commander.deploy({ strategy: "rolling surge", behaviour: "" });
  return await ended(topology, commander);
}

/** All agents live and in step, every host with one instance of the stable version, and no process beside them. */
async function whole(topology: Topology): Promise<readonly string[]> {
  let wrong: readonly string[] = ["nothing was seen"];
  const deadline = Date.now() + WHOLE_MS;
  for (; Date.now() < deadline; await wait(LOOK_MS, true)) {
    wrong = await amiss(topology);
    if (wrong.length === 0) return [];
  }
  return wrong.map((sentence) => `not whole again: ${sentence}`);
}

async function amiss({ operators, agents, run }: Topology): Promise<readonly string[]> {
  const [hosts, service] = await Promise.all([operators.hosts(), operators.service(SERVICE)]);
  if (hosts === null || service === null) return ["no controller answers"];
  const found: string[] = [];
  for (const agent of agents) {
    const view = hosts.find((host) => host.name === agent.name);
    if (view?.live !== true) found.push(`${agent.name} is not live`);
    else if (view.sync !== "SYNCED") found.push(`${agent.name} is ${view.sync}: ${view.syncReason}`);
    if (view === undefined || agent.spec.kind !== "host") continue;
    const here = view.instances.filter((one) => one.service === SERVICE && one.state !== "stopped");
    const shown = here.map((one) => `${one.version} ${one.state}`).join(", ");
    if (shown !== `${service.stableVersion} serving`) {
      found.push(`${agent.name} has "${shown}" in place of ${service.stableVersion}`);
    }
  }
  const versions = processesOf(run)
    .filter((one) => one.service === SERVICE)
    .map((one) => `${one.version} (pid ${String(one.pid)})`);
  const wanted = agents.filter((agent) => agent.spec.kind === "host").length;
  if (versions.length !== wanted) found.push(`apps run: ${versions.join(", ")}; ${String(wanted)} should`);
  return found;
}

export function told(view: RolloutView): string {
  const hosts = view.hosts.map((host) => `${host.host}=${host.stage}`).join(" ");
  return `${view.fromVersion}→${view.toVersion} ${view.phase}/${view.stage} ${view.reason}: ${view.message} [${hosts}]`;
}
