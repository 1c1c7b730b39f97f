/**
 * The client's losses, each of them laid at the door of a strike that may cut it (faults.ts), or of a version that dies by
 * itself; what is left is unexplained. And Baton's own books must name at least as many as the client has lost, save those
 * that nobody was left to count:
 *
 *   unread   what was sent while its reader was dying, or in the 100 ms before: no one but the kernel knew of it
 *   uncounted  what a gateway had in its hands when its whole machine died, or was refused while nobody listened: the books
 *            of that agent died with it, with all that no controller had heard of yet; and what its workers lost after
 *            their keeper was killed, or just before: they finish what they carry, but the agent that would report it is
 *            gone
 *
 * Times  this process's wall clock.
 */
import type { LossRecord } from "../loss/ledger.ts";
import { FAULTS } from "./faults.ts";
import type { FaultKind } from "./faults.ts";
import type { Strike } from "./strikes.ts";
import type { Look } from "./watch.ts";

/** What was true of the hosts at a moment, and how many of them a policy in play allowed out. */
export interface Seen extends Pick<Look, "atMs" | "serves" | "routed"> {
  readonly maxOut: number;
}

export interface Blame {
  readonly loss: LossRecord;
  /** "kill-worker of host-2"; "" is unexplained. */
  readonly by: string;
  /** Nobody was left to count it. */
  readonly uncounted: boolean;
  /** Nobody had read it. */
  readonly unread: boolean;
}

/** A strike is felt so long: until the kernel has torn down what a process held, and the client has read of it. */
const FELT_MS = 3_000;
/** Between our reading of the clock and the signal's arrival, or the client's last byte. */
const SLACK_MS = 100;
/** Orphaned workers finish for so long (agent/keeper/times.ts); what was lost just before was not reported yet. */
const ORPHANS_MS = 10_000;
const UNREPORTED_MS = 500;
/** What a controller has heard is stored within so long (CHECKPOINT_MS of control/loop.ts, and a report's way). */
const STORED_MS = 2_500;
/** After a silence an agent is in touch again within so long: the longest pause between its tries, on a busy machine. */
const IN_TOUCH_MS = 8_000;
const AWAY = new Set<FaultKind>([
  ...(["kill-controller", "stop-controller", "kill-nats", "kill-nats-majority", "stop-nats"] as const),
  ...(["cut", "hole", "delay", "trickle", "kill-core", "stop-core"] as const),
]);
/** With such a disk a NATS server, or a controller with its own store, keeps nothing. */
const DISKS = new Set<FaultKind>(["disk-full", "disk-stall"]);
/** Who was killed serves again within so long of its start, on a busy machine; sooner when it was seen to. */
const BACK_MS = 10_000;
/** A look takes so long: what it saw may be from before the strike. */
const LOOKED_MS = 300;
const KILLS = new Set<FaultKind>(["kill-keeper", "kill-machine", "kill-app"]);
/** Node's default, which the demo app has and tells; and how long a proxy that was told so uses an idle connection. */
const APP_KEEPS_MS = 5_000;
const REUSED_MS = 4_000;
const RESET = /^502 baton-error: upstream_reset/;
/** Said by a gateway that had nobody to send to: nothing was begun anywhere. */
const NOBODY = /^50[23] baton-error: (connect_failed|no_instance)/;

export interface Around {
  readonly gateways: ReadonlySet<string>;
  readonly hosts: ReadonlySet<string>;
  /** Oldest first. */
  readonly seen: readonly Seen[];
  /** A version that dies by itself is, or was, to be rolled out. */
  readonly crashes: boolean;
}

export function blame(losses: readonly LossRecord[], strikes: readonly Strike[], around: Around): readonly Blame[] {
  // Of two that may have cut it, the later one: what the first one cut is told at once.
  const latest = strikes.toSorted((a, b) => b.atMs - a.atMs);
  const stops = strikes.filter(({ fault }) => fault.kind === "stop-worker" || fault.kind === "stop-machine");
  return losses.map((loss) => {
    for (const strike of latest) {
      const { fault, victim } = strike;
      const { mayCut } = FAULTS[fault.kind];
      const atGateway = around.gateways.has(victim);
      const by = `${fault.kind} of ${victim}`;
      // A connection that was never made had nothing in flight behind the gateway.
      const reached = atGateway || !loss.cause.startsWith("connect");
      if (mayCut.includes("in-flight") && reached && inFlight(loss, strike, stops)) {
        const unread = loss.bytesReceived === 0 && loss.atMs - loss.afterMs >= readUntil(strike, stops) - SLACK_MS;
        const own = atGateway && fault.kind === "kill-machine";
        return { loss, by, uncounted: own || untold(loss, strikes, around), unread };
      }
      if (mayCut.includes("refused") && atGateway && refused(loss, strike)) {
        return { loss, by, uncounted: true, unread: false };
      }
    }
    if (NOBODY.test(loss.detail) && nobodyThere(loss, strikes, around)) {
      const by = "every host killed, or out for its update, at once";
      return { loss, by, uncounted: untold(loss, strikes, around), unread: false };
    }
    const stalled = strikes.find((strike) => partedWith(loss, strike));
    if (stalled !== undefined) {
      const by = `${stalled.fault.kind} of ${stalled.victim}, for as long as its app keeps idle connections`;
      return { loss, by, uncounted: untold(loss, strikes, around), unread: false };
    }
    const orphan = strikes.find((strike) => stoppedOrphan(loss, strike, stops));
    if (orphan !== undefined) {
      const by = `kill-keeper of ${orphan.victim}, whose worker was stopped`;
      return { loss, by, uncounted: untold(loss, strikes, around), unread: false };
    }
    const crash = around.crashes && !loss.cause.startsWith("connect");
    const by = crash ? "the new version's own crash" : "";
    return { loss, by, uncounted: crash && untold(loss, strikes, around), unread: false };
  });
}

function orphaned({ atMs: ended }: LossRecord, strikes: readonly Strike[], gateways: ReadonlySet<string>): boolean {
  return strikes.some(({ fault, victim, atMs, struckAtMs }) => {
    if (fault.kind !== "kill-keeper" || !gateways.has(victim)) return false;
    return ended >= atMs - UNREPORTED_MS && ended <= struckAtMs + ORPHANS_MS;
  });
}

/**
 * A worker that was stopped when its keeper was killed finishes nothing: when it wakes, the next keeper has ended the apps
 * that it would have sent to.
 */
function stoppedOrphan({ detail, atMs: ended }: LossRecord, kill: Strike, stops: readonly Strike[]): boolean {
  if (kill.fault.kind !== "kill-keeper" || !RESET.test(detail)) return false;
  return stops.some(({ victim, atMs, endedAtMs }) => {
    if (victim !== kill.victim || endedAtMs === null || atMs > kill.atMs || endedAtMs < kill.atMs) return false;
    return ended >= endedAtMs - SLACK_MS && ended <= endedAtMs + FELT_MS;
  });
}

const untold = (loss: LossRecord, strikes: readonly Strike[], around: Around): boolean =>
  orphaned(loss, strikes, around.gateways) || diedUnheard(loss, strikes, around);

/** Its gateway was killed before anyone who could store it had heard of it: agents keep what they count in memory. */
function diedUnheard({ atMs: ended }: LossRecord, strikes: readonly Strike[], { gateways, hosts }: Around): boolean {
  const deaths = strikes.filter(
    ({ fault, victim, atMs }) =>
      (fault.kind === "kill-keeper" || fault.kind === "kill-machine") && gateways.has(victim) && atMs >= ended,
  );
  return deaths.some((death) =>
    strikes.some(({ fault, victim, atMs, endedAtMs }) => {
      const agent = gateways.has(victim) || hosts.has(victim);
      const away = AWAY.has(fault.kind) || (!agent && DISKS.has(fault.kind));
      if (!away || (agent && victim !== death.victim)) return false;
      const heardAt = (endedAtMs ?? Infinity) + IN_TOUCH_MS;
      return ended >= atMs - STORED_MS && ended <= heardAt && death.atMs <= heardAt;
    }),
  );
}

/**
 * An app that wakes closes what was idle for longer than it keeps idle connections, the time before it was stopped
 * included, before it reads the request that has come on it meanwhile. Whether it was acted on no one can tell, so what
 * may not be said twice is lost (R1, R15).
 */
function partedWith({ detail, atMs: ended, afterMs }: LossRecord, { fault, atMs, endedAtMs }: Strike): boolean {
  if (fault.kind !== "stop-app" && fault.kind !== "stop-machine") return false;
  if (endedAtMs === null || endedAtMs - atMs < APP_KEEPS_MS - REUSED_MS || !RESET.test(detail)) return false;
  const began = ended - afterMs;
  return (
    began >= atMs - SLACK_MS && began <= endedAtMs && ended >= endedAtMs - SLACK_MS && ended <= endedAtMs + FELT_MS
  );
}

/**
 * Was there a moment of it when every host had been killed and was not back, but for those that the rollout had out of
 * routing, no more of them than its policy allows? That it took nobody out who served is judged elsewhere (invariants.ts).
 */
function nobodyThere({ atMs: ended, afterMs }: LossRecord, strikes: readonly Strike[], around: Around): boolean {
  const kills = strikes.filter(({ fault }) => KILLS.has(fault.kind));
  const moments = kills.map(({ atMs }) => Math.max(atMs, ended - afterMs)).filter((moment) => moment <= ended);
  return moments.some((moment) => {
    const there = [...around.hosts].filter(
      (host) =>
        !kills.some((kill) => {
          return kill.victim === host && kill.atMs <= moment && moment <= backAt(kill, around.seen);
        }),
    );
    const { length } = there;
    return length === 0 || (length < around.hosts.size && outForUpdate(there, moment, around.seen));
  });
}

function backAt({ victim, atMs, endedAtMs }: Strike, seen: readonly Seen[]): number {
  const ended = endedAtMs ?? Infinity;
  const again = seen.find((look) => look.atMs > Math.max(atMs, ended) + LOOKED_MS && look.serves.get(victim) === true);
  return Math.min(ended + BACK_MS, again?.atMs ?? Infinity);
}

/** In the look before that moment, or in the one after it. */
function outForUpdate(hosts: readonly string[], moment: number, seen: readonly Seen[]): boolean {
  const around = [seen.findLast(({ atMs }) => atMs <= moment), seen.find(({ atMs }) => atMs > moment)];
  return around.some((look) => {
    if (look === undefined || hosts.length > look.maxOut) return false;
    const tables = [...look.routed.values()].filter((table) => table !== null);
    return tables.length > 0 && hosts.every((host) => tables.every((table) => !table.includes(host)));
  });
}

function inFlight({ atMs: ended, afterMs }: LossRecord, strike: Strike, stops: readonly Strike[]): boolean {
  const [began, { atMs, struckAtMs }] = [ended - afterMs, strike];
  return began <= struckAtMs + SLACK_MS && ended >= atMs - SLACK_MS && ended <= feltAt(strike, stops) + FELT_MS;
}

/** Who was stopped meanwhile tells its clients of what was cut when it wakes. */
function feltAt({ struckAtMs }: Strike, stops: readonly Strike[]): number {
  const overlapping = stops.filter(
    ({ atMs, endedAtMs }) => atMs <= struckAtMs + FELT_MS && (endedAtMs ?? 0) > struckAtMs,
  );
  return Math.max(struckAtMs, ...overlapping.map(({ endedAtMs }) => endedAtMs ?? 0));
}

/** Who is killed while it is stopped has read nothing since. */
function readUntil({ victim, atMs: killed }: Strike, stops: readonly Strike[]): number {
  const of = stops.filter(
    (stop) => stop.victim === victim && stop.atMs <= killed && (stop.endedAtMs ?? Infinity) >= killed,
  );
  return Math.min(killed, ...of.map(({ atMs }) => atMs));
}

function refused({ cause, atMs: ended }: LossRecord, { atMs, endedAtMs }: Strike): boolean {
  if (!cause.startsWith("connect") && cause !== "no_answer") return false;
  return ended >= atMs - SLACK_MS && ended <= (endedAtMs ?? Infinity) + SLACK_MS;
}
