/**
 * What is stored, in memory: services, revisions, hosts, rollouts, journals. Changed by `commit` alone: first the store,
 * then the memory, then whoever listens for events. So nobody ever acts on what a crash could take back.
 *
 * Errors  `StoreFailed` when storage fails or someone else has taken over; nothing was changed then.
 */
import type { JournalEntry, Rollout } from "./model/rollout.ts";
import type { Host, Revision, Service } from "./model/service.ts";
import { KEEP, StoreUnsure } from "./store/store.ts";
import type {
  Batch,
  Change,
  EventQuery,
  NewEvent,
  Retirement,
  Store,
  StoredEvent,
  StoredState,
} from "./store/store.ts";

export class StoreFailed extends Error {
  override readonly name = "StoreFailed";
  /** Another controller has taken over: this one must not go on. */
  readonly fenced: boolean;

  constructor(message: string, fenced: boolean, cause?: unknown) {
    super(message, { cause });
    this.fenced = fenced;
  }
}

export class Registry {
  readonly #store: Store;
  #epoch: number;
  readonly #services = new Map<string, Service>();
  readonly #revisions = new Map<string, Map<number, Revision>>();
  readonly #retirements = new Map<string, Retirement>();
  readonly #hosts = new Map<string, Host>();
  /** Oldest first. */
  readonly #rollouts = new Map<string, Rollout>();
  readonly #journals = new Map<string, readonly JournalEntry[]>();
  readonly #listeners = new Set<(event: StoredEvent) => void>();
  /** Lists that are asked for many times a round: the same object until something in them changes. */
  #sortedServices: readonly Service[] | null = null;
  #sortedHosts: readonly Host[] | null = null;
  #active: readonly Rollout[] | null = null;
  readonly #sortedRevisions = new Map<string, readonly Revision[]>();
  /** Grows with every change of services, revisions and retirements. */
  structure = 0;
  /** Storage refused the last batch; "" when all is well. */
  trouble = "";
  /** Called once: what is here may no longer be what is stored, and nothing is committed any more. */
  onLost: (why: string) => void = () => undefined;
  #lost = "";

  constructor(store: Store, state: StoredState) {
    this.#store = store;
    this.#epoch = state.epoch;
    for (const service of state.services) this.#services.set(service.name, service);
    for (const revision of state.revisions) this.#revisionsOf(revision.service).set(revision.revision, revision);
    for (const retirement of state.retirements) this.#retirements.set(retirement.service, retirement);
    for (const host of state.hosts) this.#hosts.set(host.name, host);
    for (const rollout of state.rollouts) this.#rollouts.set(rollout.id, rollout);
  }

  get epoch(): number {
    return this.#epoch;
  }

  get description(): string {
    return this.#store.description;
  }

  get position(): number {
    return this.#store.position;
  }

  /** Above what is stored and above `highest`; stored before it is used. */
  async raiseEpoch(highest: number): Promise<number> {
    return (this.#epoch = await raiseEpoch(this.#store, Math.max(this.#epoch, highest)));
  }

  services(): readonly Service[] {
    return (this.#sortedServices ??= [...this.#services.values()].sort((a, b) => (a.name < b.name ? -1 : 1)));
  }

  service(name: string): Service | undefined {
    return this.#services.get(name);
  }

  /** Oldest first. */
  revisions(service: string): readonly Revision[] {
    let sorted = this.#sortedRevisions.get(service);
    if (sorted === undefined) {
      sorted = [...(this.#revisions.get(service)?.values() ?? [])].sort((a, b) => a.revision - b.revision);
      this.#sortedRevisions.set(service, sorted);
    }
    return sorted;
  }

  revision(service: string, revision: number): Revision | undefined {
    return this.#revisions.get(service)?.get(revision);
  }

  retirement(service: string): Retirement | undefined {
    return this.#retirements.get(service);
  }

  retirements(): readonly Retirement[] {
    return [...this.#retirements.values()];
  }

  hosts(): readonly Host[] {
    return (this.#sortedHosts ??= [...this.#hosts.values()].sort((a, b) => (a.name < b.name ? -1 : 1)));
  }

  host(name: string): Host | undefined {
    return this.#hosts.get(name);
  }

  /** Oldest first; "" = of all services. */
  rollouts(service = ""): readonly Rollout[] {
    return [...this.#rollouts.values()].filter((rollout) => service === "" || rollout.service === service);
  }

  rollout(id: string): Rollout | undefined {
    return this.#rollouts.get(id);
  }

  /** Under way, at most one a service. One that still waits for another to go back is not (`blocked`). */
  active(): readonly Rollout[] {
    return (this.#active ??= this.rollouts().filter(
      ({ endedAtMs, stage }) => endedAtMs === 0 && stage.kind !== "blocked",
    ));
  }

  activeOf(service: string): Rollout | undefined {
    return this.active().find((rollout) => rollout.service === service);
  }

  blocked(): readonly Rollout[] {
    return this.rollouts().filter(({ stage }) => stage.kind === "blocked");
  }

  blockedOf(service: string): Rollout | undefined {
    return this.blocked().find((rollout) => rollout.service === service);
  }

  newest(service: string): Rollout | undefined {
    return this.rollouts(service).at(-1);
  }

  async journal(rollout: string): Promise<readonly JournalEntry[]> {
    for (;;) {
      const known = this.#journals.get(rollout);
      if (known !== undefined) return known;
      const of = this.#rollouts.get(rollout);
      const read = await this.#read(this.#store.journal(rollout));
      // It moved on while it was read.
      if (this.#rollouts.get(rollout) !== of) continue;
      // Kept for those that move; an ended one is read again when it is asked for.
      if (of?.endedAtMs === 0) this.#journals.set(rollout, read);
      return read;
    }
  }

  events(query: EventQuery): Promise<readonly StoredEvent[]> {
    return this.#read(this.#store.events(query));
  }

  /** What can't be read is no defect: the store's servers are away, and the operator is told so. */
  #read<T>(answer: Promise<T>): Promise<T> {
    return answer.catch((error: unknown) => {
      throw new StoreFailed(error instanceof Error ? error.message : String(error), false, error);
    });
  }

  /** Calls `listener` with each event from now on, until the answer is called. */
  follow(listener: (event: StoredEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async commit(changes: readonly Change[]): Promise<void> {
    const events = await this.#write(changes);
    for (const change of changes) this.#remember(change);
    this.#forgetLists(changes);
    for (const event of events) for (const listener of this.#listeners) listener(event);
  }

  /** What another controller has committed: this registry follows it. */
  take({ epoch, changes, events }: Batch): void {
    this.#epoch = epoch;
    for (const change of changes) this.#remember(change);
    this.#forgetLists(changes);
    for (const event of events) for (const listener of this.#listeners) listener(event);
  }

  async #write(changes: readonly Change[]): Promise<readonly StoredEvent[]> {
    if (this.#lost !== "") throw new StoreFailed(this.#lost, true);
    let answer;
    try {
      answer = await this.#store.commit(this.#epoch, changes);
    } catch (error) {
      this.trouble = (error as Error).message;
      if (error instanceof StoreUnsure) throw this.#fenced(this.trouble);
      throw new StoreFailed(`the store refused a change: ${this.trouble}`, false, error);
    }
    switch (answer.kind) {
      case "ok":
        this.trouble = "";
        return answer.events;
      case "fenced":
        throw this.#fenced(`a controller of epoch ${answer.epoch} has taken over from this one (${this.#epoch})`);
      case "conflict":
        // Memory and store disagree about what was: only another writer does that.
        throw this.#fenced(`the store was changed by another: ${answer.message}`);
    }
  }

  #fenced(why: string): StoreFailed {
    this.trouble = why;
    if (this.#lost === "") {
      this.#lost = why;
      this.onLost(why);
    }
    return new StoreFailed(why, true);
  }

  #forgetLists(changes: readonly Change[]): void {
    for (const { kind } of changes) {
      if (kind === "host") this.#sortedHosts = null;
      else if (kind === "rollout") this.#active = null;
      else if (["service", "revision", "forget-service", "retirement", "end-retirement"].includes(kind)) {
        this.structure += 1;
        this.#sortedServices = this.#active = null;
        this.#sortedRevisions.clear();
      }
    }
  }

  #remember(change: Change): void {
    switch (change.kind) {
      case "service":
        this.#services.set(change.service.name, change.service);
        break;
      case "revision":
        this.#revisionsOf(change.revision.service).set(change.revision.revision, change.revision);
        break;
      case "forget-service":
        this.#services.delete(change.service);
        this.#revisions.delete(change.service);
        for (const rollout of this.rollouts(change.service)) {
          this.#rollouts.delete(rollout.id);
          this.#journals.delete(rollout.id);
        }
        break;
      case "retirement":
        this.#retirements.set(change.retirement.service, change.retirement);
        break;
      case "end-retirement":
        this.#retirements.delete(change.service);
        break;
      case "host":
        this.#hosts.set(change.host.name, change.host);
        break;
      case "rollout": {
        const { rollout, entries, expect } = change;
        this.#rollouts.set(rollout.id, rollout);
        const known = expect === -1 ? [] : this.#journals.get(rollout.id);
        if (known !== undefined) this.#journals.set(rollout.id, [...known, ...entries]);
        if (rollout.endedAtMs > 0) this.#journals.delete(rollout.id);
        if (expect === -1) this.#forgetOldRollouts(rollout.service);
        break;
      }
      case "ledger":
      case "counts":
      case "event":
        break;
    }
  }

  /** As the store does. */
  #forgetOldRollouts(service: string): void {
    const old = this.rollouts(service).slice(0, -KEEP.rolloutsPerService);
    for (const rollout of old) if (rollout.endedAtMs > 0) this.#rollouts.delete(rollout.id);
  }

  #revisionsOf(service: string): Map<number, Revision> {
    let revisions = this.#revisions.get(service);
    if (revisions === undefined) {
      revisions = new Map();
      this.#revisions.set(service, revisions);
    }
    return revisions;
  }
}

/** Above what is stored and above `highest`. Whoever did so loads after it: no other controller commits any more. */
export async function raiseEpoch(store: Store, highest: number): Promise<number> {
  for (let to = highest + 1; ;) {
    const answer = await store.raiseEpoch(to);
    if (answer.kind === "ok") return to;
    to = answer.epoch + 1;
  }
}

/** A change that only tells. */
export function eventChange(
  event: Partial<NewEvent> & Pick<NewEvent, "atMs" | "kind" | "message">,
): Extract<Change, { readonly kind: "event" }> {
  return { kind: "event", event: { service: "", rollout: "", host: "", actor: "", ...event } };
}
