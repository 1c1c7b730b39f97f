/**
 * One assignment's way from offered to live: fence (I4) → validate → bind its listeners → commit. From the commit on the
 * core works towards it; it is *applied* when every worker routes by it, and only then is it the one to go back to.
 *
 * Errors  whatever makes it impossible is one `rejected` with a sentence; the one before stays whole, its listeners too.
 * Order   one at a time. What is offered meanwhile waits, and only the newest of it is looked at.
 */
import type { Applied, Assignment, Rejected } from "../../../proto/contract/assignment.ts";
import { serviceHash } from "../../../proto/contract/canonical.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import type { BoundListener } from "../../keeper/protocol.ts";
import type { Incidents } from "../incidents.ts";
import type { BindAnswer, BindRequest, KeeperLink } from "../keeper-link.ts";
import type { LastGood } from "../state/last-good.ts";
import { isBelow } from "../state/last-good.ts";
import { listenerConflicts, wantedListeners } from "./listeners.ts";
import type { WantedListener } from "./listeners.ts";
import { problemsOf } from "./validate.ts";

export interface AssignmentEvents {
  /** `current` is another: work towards it. */
  committed(): void;
  applied(applied: Applied): void;
  rejected(rejected: Rejected): void;
}

export class Assignments {
  readonly #link: KeeperLink;
  readonly #lastGood: LastGood;
  readonly #incidents: Incidents;
  readonly #log: Log;
  readonly #events: AssignmentEvents;
  #current: Assignment | null = null;
  /** The newest that was live in every worker. */
  #live: Assignment | null = null;
  #applied: Applied | null = null;
  #decided = false;
  #busy = false;
  #waiting: { readonly assignment: Assignment; readonly fenced: boolean } | null = null;

  constructor(link: KeeperLink, lastGood: LastGood, incidents: Incidents, log: Log, events: AssignmentEvents) {
    this.#link = link;
    this.#lastGood = lastGood;
    this.#incidents = incidents;
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
    // On disk before it is said: what was said to be applied is what a restart begins with.
    this.#lastGood.saveAssignment(this.#current);
    this.#lastGood.savePorts(new Map(this.listeners().map(({ wanted, bound }) => [wanted.name, bound.port])));
    const hashes = Object.fromEntries(services.map((service) => [service.name, serviceHash(service)]));
    this.#applied = { epoch, generation, hash, services: hashes };
    this.#log.info({ epoch, generation, services: services.map(({ name }) => name) }, "assignment applied");
    this.#events.applied(this.#applied);
  }

  /** The workers can't take it: back to the one before. */
  refuse(why: string): void {
    const refused = this.#current;
    if (refused === null || refused === this.#live) {
      this.#log.error({ why }, "workers refuse the table of an assignment that was live");
      return;
    }
    this.#current = this.#live;
    this.#reject(refused, why);
    this.#events.committed();
  }

  async #take(assignment: Assignment, fenced: boolean): Promise<void> {
    if (this.#busy) {
      this.#waiting = { assignment, fenced };
      return;
    }
    this.#busy = true;
    try {
      await this.#consider(assignment, fenced);
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
    if (current !== null && current.epoch === epoch && current.generation === generation) {
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
    const why = await this.#bind(wanted);
    if (why !== "") {
      this.#reject(assignment, why);
      return;
    }
    this.#current = assignment;
    this.#decided = true;
    this.#events.committed();
  }

  #reject(assignment: Assignment, why: string): void {
    const { epoch, generation, hash } = assignment;
    this.#log.error({ epoch, generation, why }, "assignment rejected; the one before stays");
    this.#events.rejected({ epoch, generation, hash, why });
  }

  /** Binds what is not yet bound; "" or why it can't be. All or nothing. */
  async #bind(wanted: readonly WantedListener[]): Promise<string> {
    const missing = wanted.filter(({ name }) => !this.#link.listeners.has(name));
    if (missing.length === 0) return "";
    const asked = missing.map(({ name, address, port }) => ({
      ...{ name, address },
      port: port === 0 ? this.#lastGood.port(name) : port,
    }));
    const answers = await this.#link.bind(asked);
    await this.#rebind(missing, asked, answers);
    const errors = [...answers.values()].flatMap((answer) => (answer.kind === "error" ? [answer.error] : []));
    if (errors.length === 0) return "";
    this.#link.unbind([...answers].flatMap(([name, answer]) => (answer.kind === "ok" ? [name] : [])));
    for (const error of errors) this.#incidents.add("bind_failed", "", error);
    return errors.join("; ");
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
