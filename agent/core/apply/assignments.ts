/**
 * One assignment's way from offered to live: fence (I4) → validate → bind its listeners → commit. From the commit on the
 * core works towards it; it is *applied* when every worker routes by it, and only then is it the one to go back to.
 *
 * Errors  whatever makes it impossible is one `rejected` with a sentence; the one before stays whole, its listeners too.
 * Apart   a port that is taken is the trouble of the services that listen there, and no reason to cut the others off from
 *         news. What can be had of a controller's assignment goes live (rest.ts) and is told of by service; the whole is
 *         rejected all the same, and bound again every AGAIN_MS until it is had or something else is asked for. A
 *         static file is taken whole or not at all: its author is looking at the screen.
 * Order   one at a time. What is offered meanwhile waits, and only the newest of it is looked at.
 */
import type { Applied, Assignment, Rejected } from "../../../proto/contract/assignment.ts";
import { serviceHash } from "../../../proto/contract/canonical.ts";
import type { Clock, Millis } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import type { BoundListener } from "../../keeper/protocol.ts";
import type { Incidents } from "../incidents.ts";
import type { BindAnswer, BindRequest, KeeperLink } from "../keeper-link.ts";
import type { Ambient } from "../ports.ts";
import type { LastGood } from "../state/last-good.ts";
import { isBelow } from "../state/last-good.ts";
import { listenerConflicts, wantedListeners } from "./listeners.ts";
import type { WantedListener } from "./listeners.ts";
import { kept, without } from "./rest.ts";
import { problemsOf } from "./validate.ts";

/** A port that was taken is asked for again this often; a try costs the start of a small process. */
const AGAIN_MS = 5_000;

/** What was asked for and could not be bound, while something less is in its place. */
interface Stuck {
  readonly asked: Assignment;
  readonly why: string;
  /** Of those that listen where it is not possible. */
  readonly services: ReadonlySet<string>;
  /** In its place; the same as what was live before, if nothing else could be had. */
  readonly rest: Assignment;
  readonly fromDisk: boolean;
  readonly again: Millis;
}

interface Bound {
  /** "" when all of it is bound. */
  readonly why: string;
  readonly failed: ReadonlySet<string>;
}

export interface AssignmentEvents {
  /** `current` is another: work towards it. */
  committed(): void;
  applied(applied: Applied): void;
  rejected(rejected: Rejected): void;
  /** Something of that service runs on this host. */
  runs(service: string): boolean;
}

export class Assignments {
  readonly #link: KeeperLink;
  readonly #lastGood: LastGood;
  readonly #incidents: Incidents;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #events: AssignmentEvents;
  #current: Assignment | null = null;
  /** The newest that was live in every worker. */
  #live: Assignment | null = null;
  #applied: Applied | null = null;
  #decided = false;
  #busy = false;
  #stuck: Stuck | null = null;
  #waiting: { readonly assignment: Assignment; readonly fenced: boolean } | null = null;

  constructor(
    link: KeeperLink,
    lastGood: LastGood,
    incidents: Incidents,
    { clock, log }: Pick<Ambient, "clock" | "log">,
    events: AssignmentEvents,
  ) {
    this.#link = link;
    this.#lastGood = lastGood;
    this.#incidents = incidents;
    this.#clock = clock;
    this.#log = log;
    this.#events = events;
  }

  /** What the core works towards. */
  get current(): Assignment | null {
    return this.#current;
  }

  /** false: nobody has said yet what is wanted, which is no reason to stop anything. */
  get decided(): boolean {
    return this.#decided;
  }

  get applied(): Applied | null {
    return this.#applied;
  }

  get settled(): boolean {
    return !this.#busy && this.#current === this.#live;
  }

  /** The listeners of `current`, with what they are bound to. */
  listeners(): { readonly wanted: WantedListener; readonly bound: BoundListener }[] {
    return this.#wanted(this.#current).flatMap((wanted) => {
      const bound = this.#link.listeners.get(wanted.name);
      return bound === undefined ? [] : [{ wanted, bound }];
    });
  }

  /** Bound, and not of `current`: to be given up once no worker needs them. */
  unwanted(): string[] {
    const wanted = new Set(this.#wanted(this.#current).map(({ name }) => name));
    return this.#busy ? [] : [...this.#link.listeners.keys()].filter((name) => !wanted.has(name));
  }

  /** The agent's own last good one, at its start: it has passed the fence before. */
  restore(assignment: Assignment): void {
    void this.#take(assignment, false);
  }

  offer(assignment: Assignment): void {
    void this.#take(assignment, true);
  }

  /** Every worker routes by `current`. */
  isLive(): void {
    if (this.#current === null || this.#current === this.#live) return;
    const { epoch, generation, hash, services } = this.#current;
    this.#live = this.#current;
    const stuck = this.#stuck?.rest === this.#live ? this.#stuck : null;
    // On disk before it is said: what was said to be applied is what a restart begins with.
    if (stuck === null) this.#lastGood.saveAssignment(this.#current);
    else if (!stuck.fromDisk) this.#lastGood.saveAssignment(kept(stuck.asked, stuck.rest));
    this.#lastGood.savePorts(new Map(this.listeners().map(({ wanted, bound }) => [wanted.name, bound.port])));
    const hashes = Object.fromEntries(services.map((service) => [service.name, serviceHash(service)]));
    this.#applied = { epoch, generation, hash, services: hashes };
    this.#log.info({ epoch, generation, services: services.map(({ name }) => name) }, "assignment applied");
    if (stuck === null) this.#events.applied(this.#applied);
    else this.#reject(stuck.asked, stuck.why);
  }

  /** Looks whether what was taken has become free, and a full disk has room; to be called now and then. */
  tryAgain(now: Millis): void {
    this.#lastGood.writeAgain(now);
    const stuck = this.#stuck;
    if (stuck === null || this.#busy || !this.settled || now < stuck.again) return;
    void this.#alone(async () => {
      const bound = await this.#bind(this.#wanted(stuck.asked), true);
      if (bound.why !== "") {
        this.#stuck = { ...stuck, again: now + AGAIN_MS };
        return;
      }
      this.#log.info({ services: [...stuck.services] }, "their listeners can be had now");
      this.#stuck = null;
      this.#commit(stuck.asked);
    });
  }

  /** The workers can't take it: back to the one before. */
  refuse(why: string): void {
    const refused = this.#current;
    if (refused === null || refused === this.#live) {
      this.#log.error({ why }, "workers refuse the table of an assignment that was live");
      return;
    }
    this.#current = this.#live;
    this.#stuck = null;
    this.#reject(refused, why);
    this.#events.committed();
  }

  async #take(assignment: Assignment, fenced: boolean): Promise<void> {
    if (this.#busy) this.#waiting = { assignment, fenced };
    else await this.#alone(() => this.#consider(assignment, fenced));
  }

  async #alone(work: () => Promise<void>): Promise<void> {
    this.#busy = true;
    try {
      await work();
    } finally {
      this.#busy = false;
      const next = this.#waiting;
      this.#waiting = null;
      if (next !== null) void this.#take(next.assignment, next.fenced);
    }
  }

  async #consider(assignment: Assignment, fenced: boolean): Promise<void> {
    const { epoch, generation } = assignment;
    const { fence } = this.#lastGood;
    if (fenced && isBelow(assignment, fence)) {
      const seen = `epoch ${fence.epoch}, generation ${fence.generation} has been seen`;
      this.#reject(assignment, `epoch ${epoch}, generation ${generation} is out of date: ${seen}`);
      return; // I4
    }
    const current = this.#current;
    const stuck = this.#stuck?.asked.hash === assignment.hash;
    if (!stuck && current !== null && current.epoch === epoch && current.generation === generation) {
      if (current.hash !== assignment.hash) {
        this.#reject(assignment, `generation ${generation} was given before, with other content`);
        return;
      }
      if (current === this.#live && this.#applied !== null) this.#events.applied(this.#applied); // said again, answered again
      return;
    }
    const wanted = this.#wanted(assignment);
    const problems = [...problemsOf(assignment), ...listenerConflicts(assignment, wanted)];
    if (problems.length > 0) {
      this.#reject(assignment, problems.join("; "));
      return;
    }
    this.#lastGood.saveFence(assignment);
    const known = this.#stuck !== null;
    this.#stuck = null; // what was asked before is out of date now (I4)
    const bound = await this.#bind(wanted, known);
    if (bound.why === "") this.#commit(assignment);
    else await this.#doWithout(assignment, bound, wanted, !fenced);
  }

  #commit(assignment: Assignment): void {
    this.#current = assignment;
    this.#decided = true;
    this.#events.committed();
  }

  /** Some listeners can't be had: the services that want others have what they are asked for. */
  async #doWithout(
    asked: Assignment,
    { why, failed }: Bound,
    wanted: readonly WantedListener[],
    fromDisk: boolean,
  ): Promise<void> {
    const services = new Set(
      wanted.filter(({ name }) => failed.has(name)).flatMap(({ uses }) => uses.map(({ service }) => service)),
    );
    const rest = without(asked, services, this.#live);
    const listeners = this.#wanted(rest);
    const possible =
      this.#link.options.source.kind !== "static" &&
      !this.#wouldStop(asked, rest) &&
      [...problemsOf(rest), ...listenerConflicts(rest, listeners)].length === 0 &&
      (await this.#bind(listeners, true)).why === "";
    if (!possible) {
      this.#reject(asked, why);
      return;
    }
    const nothingNew = this.#live?.hash === rest.hash;
    this.#stuck = { asked, why, services, rest, fromDisk, again: this.#clock.monotonic() + AGAIN_MS };
    // Rejected once the rest is live, so that by then it is known which services it is not about.
    if (nothingNew) this.#reject(asked, why);
    else this.#commit(rest);
  }

  /** Before anything is live here, a service that is left out may be one that runs: found as a core before left it. */
  #wouldStop(asked: Assignment, rest: Assignment): boolean {
    if (this.#live !== null) return false;
    const out = asked.services.filter((service) => !rest.services.includes(service)).map(({ name }) => name);
    return out.some((service) => this.#events.runs(service));
  }

  #reject(assignment: Assignment, why: string): void {
    const { epoch, generation, hash } = assignment;
    this.#log.error({ epoch, generation, why }, "assignment rejected; the one before stays");
    this.#events.rejected({ epoch, generation, hash, why });
  }

  /** Binds what is not yet bound: all or nothing. `known`: that it can't be is no news. */
  async #bind(wanted: readonly WantedListener[], known: boolean): Promise<Bound> {
    const missing = wanted.filter(({ name }) => !this.#link.listeners.has(name));
    if (missing.length === 0) return { why: "", failed: new Set() };
    const asked = missing.map(({ name, address, port }) => ({
      ...{ name, address },
      port: port === 0 ? this.#lastGood.port(name) : port,
    }));
    const answers = await this.#link.bind(asked);
    await this.#rebind(missing, asked, answers);
    const failed = new Map([...answers].flatMap(([name, one]) => (one.kind === "error" ? [[name, one.error]] : [])));
    if (failed.size === 0) return { why: "", failed: new Set() };
    this.#link.unbind([...answers].flatMap(([name, answer]) => (answer.kind === "ok" ? [name] : [])));
    if (!known) for (const error of failed.values()) this.#incidents.add("bind_failed", "", error);
    return { why: [...failed.values()].join("; "), failed: new Set(failed.keys()) };
  }

  /** A kept port that somebody took meanwhile: any other will do, and is reported. */
  async #rebind(
    missing: readonly WantedListener[],
    asked: readonly BindRequest[],
    answers: Map<string, BindAnswer>,
  ): Promise<void> {
    const again = missing.flatMap((wanted, at) => {
      const kept = asked[at]?.port ?? 0;
      const answer = answers.get(wanted.name);
      return wanted.port === 0 && kept > 0 && answer?.kind === "error" ? [{ wanted, error: answer.error }] : [];
    });
    if (again.length === 0) return;
    const requests = again.map(({ wanted: { name, address } }) => ({ name, address, port: 0 }));
    for (const [name, answer] of await this.#link.bind(requests)) answers.set(name, answer);
    for (const { wanted, error } of again) {
      const answer = answers.get(wanted.name);
      if (answer?.kind !== "ok") continue;
      const service = wanted.uses[0]?.service ?? "";
      this.#incidents.add("bind_failed", service, `${error}; ${service} now listens on ${answer.listener.key}`);
    }
  }

  #wanted(assignment: Assignment | null): WantedListener[] {
    return wantedListeners(assignment, this.#link.options.inboundPorts);
  }
}
