/**
 * I3, I5, I6 of control/DESIGN.md, judged from two looks at the running cluster, one after the other. The harness knows
 * what the controller can't: whom it has struck, and when. So what is judged is only what no news could excuse.
 *
 *   I3  a host that serves is taken out of a gateway's table only while `maxUnavailable` allows it, those that are down for
 *       whatever reason counted in
 *   I5  while a host has been cut off for longer than its lease, no other host begins and no weight rises, unless an
 *       operator said so
 *   I6  while a rollout is paused no host begins and no weight rises
 *   and of one service one rollout moves at a time
 */
import type { RolloutView } from "../../proto/gen/baton/v1/operator.ts";
import { SESSION } from "../../proto/contract/limits.ts";
import { SERVICE } from "./documents.ts";
import type { Strike } from "./strikes.ts";
import type { Look } from "./watch.ts";

export interface Circumstances {
  readonly strikes: readonly Strike[];
  /** The most that a policy in play allows out. */
  readonly maxOut: number;
  /** Operators' words in this episode, and when they began to be said. */
  readonly said: readonly { readonly atMs: number; readonly verb: string; readonly about: string }[];
}

/** How often there was something to judge: a promise that nothing tries is not kept. */
export interface Judgements {
  takenOut: number;
  advances: number;
  whilePaused: number;
  whileSilent: number;
}

/** News of a host takes so long to reach the controller, at the worst, on a machine that is busy. */
const NEWS_MS = 3_000;
/** Kinds of faults in which nothing is heard of an agent. */
const SILENT = new Set(["cut", "hole", "stop-core", "stop-machine"]);
/** Said by an operator, these let a rollout go on whatever it waits for; */
const PUSHES = new Set(["resume", "promote", "promote-full"]);
/** and are carried out, at the latest, so long after they began to be said. */
const CARRIED_OUT_MS = 15_000;

export class Invariants {
  readonly judgements: Judgements = { takenOut: 0, advances: 0, whilePaused: 0, whileSilent: 0 };
  readonly #agents: ReadonlySet<string>;
  #last: Look | undefined;
  /** Since when a host is known not to serve. */
  readonly #out = new Map<string, number>();

  constructor(agents: readonly string[]) {
    this.#agents = new Set(agents);
  }

  /** A sentence for each promise that is broken. */
  judge(now: Look, around: Circumstances): readonly string[] {
    const last = this.#last;
    this.#last = now;
    for (const [host, serves] of now.serves) {
      if (serves === true) this.#out.delete(host);
      else if (serves === false && !this.#out.has(host)) this.#out.set(host, now.atMs);
    }
    if (last === undefined) return [];
    return [
      ...this.#takenOut(last, now, around),
      ...(now.rollouts === null ? [] : [...alone(now.rollouts), ...stoppedItself(now.rollouts)]),
      ...(now.rollouts === null || last.rollouts === null ? [] : this.#moved(last, now, around)),
    ];
  }

  #takenOut(last: Look, now: Look, { maxOut, said }: Circumstances): readonly string[] {
    const found: string[] = [];
    for (const [gateway, routed] of now.routed) {
      const before = last.routed.get(gateway) ?? null;
      if (routed === null || before === null) continue;
      for (const host of before.filter((one) => !routed.includes(one))) {
        const drained = (one: string): boolean => said.some(({ verb, about }) => verb === "drain" && about === one);
        // One that is down already may be taken out too; and what it was is only known of a host that answers.
        if (drained(host) || last.serves.get(host) !== true || this.#out.has(host)) continue;
        this.judgements.takenOut += 1;
        const others = [...this.#out].filter(([one, since]) => one !== host && now.atMs - since >= NEWS_MS);
        // Whom an operator drained since the last look may have gone after this one.
        const drainedToo = [...now.serves.keys()].filter(
          (one) =>
            one !== host &&
            !routed.includes(one) &&
            !others.some(([name]) => name === one) &&
            !(drained(one) && before.includes(one)),
        );
        const out = others.length + drainedToo.length + 1;
        if (out <= maxOut) continue;
        const beside = [...others.map(([name]) => name), ...drainedToo].join(", ") || "none";
        found.push(`I3: ${gateway} goes out of sending to ${host}, ${beside} being out too; ${String(maxOut)} may be`);
      }
    }
    return found;
  }

  #moved(last: Look, now: Look, { strikes, said }: Circumstances): readonly string[] {
    const found: string[] = [];
    const pushedSince = (atMs: number): boolean => said.some((word) => PUSHES.has(word.verb) && word.atMs >= atMs);
    const silent = strikes.filter(
      ({ fault, victim, atMs, endedAtMs }) =>
        SILENT.has(fault.kind) &&
        this.#agents.has(victim) &&
        endedAtMs === null &&
        last.atMs - atMs > SESSION.leaseMs + NEWS_MS,
    );
    for (const view of now.rollouts ?? []) {
      const before = last.rollouts?.find((one) => one.id === view.id);
      const steps = before?.stage === "Step" && view.stage === "Step" && view.service === SERVICE;
      if (before === undefined || !steps) continue;
      // Both looks see one and the same pause: it was not lifted for a moment in between.
      const paused = before.phase === "Paused" && view.phase === "Paused" && before.reason === view.reason;
      if (paused) this.judgements.whilePaused += 1;
      if (silent.length > 0) this.judgements.whileSilent += 1;
      const advance = advanceOf(before, view);
      if (advance === "") continue;
      this.judgements.advances += 1;
      if (paused && !pushedSince(now.atMs - CARRIED_OUT_MS)) {
        found.push(`I6: ${view.id} is paused (${view.reason}), and ${advance}`);
      }
      for (const { fault, victim, atMs } of silent) {
        if (advance.startsWith(`${victim} `) || pushedSince(atMs)) continue;
        found.push(`I5: ${victim} is cut off (${fault.kind}), and ${advance} in ${view.id}`);
      }
    }
    return found;
  }
}

const moving = (view: RolloutView): boolean => !view.ended && view.behind === "";

/** The engine has found a breach in its own plan: nothing was done, but it must never come to that. */
const stoppedItself = (rollouts: readonly RolloutView[]): readonly string[] =>
  rollouts
    .filter((view) => !view.ended && view.reason === "InvariantViolation")
    .map((view) => `the engine stopped itself in ${view.id}: ${view.message}`);

function alone(rollouts: readonly RolloutView[]): readonly string[] {
  const services = new Map<string, string[]>();
  for (const view of rollouts.filter(moving)) {
    services.set(view.service, [...(services.get(view.service) ?? []), view.id]);
  }
  return [...services]
    .filter(([, ids]) => ids.length > 1)
    .map(([service, ids]) => `two rollouts of ${service} move at once: ${ids.join(", ")}`);
}

/** "" when the version was given to nobody else between the two. */
function advanceOf(before: RolloutView, view: RolloutView): string {
  for (const host of view.hosts) {
    const was = before.hosts.find((one) => one.host === host.host);
    if (was?.stage === "waiting" && !["waiting", "done"].includes(host.stage)) return `${host.host} begins`;
  }
  const [weight, weighed] = [view.split?.weight ?? 0, before.split?.weight ?? 0];
  return weight > weighed ? `the weight rises from ${String(weighed)} to ${String(weight)}` : "";
}
