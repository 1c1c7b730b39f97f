/**
 * An agent of the model world: applies whole assignments late, out of order, twice, or not at all; runs instances that
 * start slowly, fail or crash; drains what it is told to. What is true of it and what it has reported are two things.
 */
import type { AssignedService } from "../../../proto/contract/assignment.ts";
import type { InstanceView } from "../../../control/model/view.ts";
import type { Random } from "../../../proto/kernel/random.ts";

/** How a version's instances behave, on every host. */
export interface Behaviour {
  /** Start to readiness, or null: never ready. */
  readonly readyAfterMs: number | null;
  /** It exits so long after each start, or null. */
  readonly exitsAfterMs: number | null;
  /** Share of its answers that are 5xx. */
  readonly errors: number;
}

export interface SimInstance {
  readonly id: string;
  readonly revision: number;
  startedAt: number;
  healthySince: number;
  restarts: number;
  exit: string;
  state: "running" | "failed" | "stopped";
  mode: "standby" | "serving" | "draining";
  /** Not named any more: drains, then stops. */
  leaving: boolean;
  drainSince: number;
  everReady: boolean;
  inFlight: number;
}

export interface Delivery {
  readonly at: number;
  readonly epoch: number;
  readonly generation: number;
  readonly service: AssignedService | null;
  readonly hash: string;
}

export interface SimReport {
  readonly at: number;
  readonly seq: number;
  /** The newest fence that it has answered, by taking or refusing it. */
  readonly epoch: number;
  readonly generation: number;
  readonly appliedHash: string;
  readonly rejected: string;
  readonly instances: readonly InstanceView[];
  readonly endpointInFlight: Readonly<Record<string, number>>;
}

const RESTART_AFTER_MS = 400;

export class SimAgent {
  readonly name: string;
  readonly role: "host" | "gateway";
  applied: AssignedService | null = null;
  appliedHash = "";
  epoch = 0;
  generation = 0;
  partitioned = false;
  /** The machine is down: nothing runs, nothing is heard. */
  down = false;
  /** When it was last out of touch, if it has taken nothing since: it goes by what it knew before. */
  outOfTouchAt = Number.NEGATIVE_INFINITY;
  rejecting = false;
  rejectedHash = "";
  inbox: Delivery[] = [];
  instances: SimInstance[] = [];
  readonly inFlightTo = new Map<string, number>();
  #seq = 0;
  #ids = 0;
  readonly #behaviourOf: (revision: number) => Behaviour;
  readonly #random: Random;

  constructor(name: string, role: "host" | "gateway", behaviourOf: (revision: number) => Behaviour, random: Random) {
    this.name = name;
    this.role = role;
    this.#behaviourOf = behaviourOf;
    this.#random = random;
  }

  get reachable(): boolean {
    return !this.partitioned && !this.down;
  }

  /** Deliveries that are due, newest fence wins; each one taken is told to `applying` first, with the state before it. */
  receive(now: number, applying: (next: AssignedService | null, hash: string) => void): void {
    if (!this.reachable) this.outOfTouchAt = now;
    const due = this.inbox.filter((delivery) => delivery.at <= now);
    this.inbox = this.inbox.filter((delivery) => delivery.at > now);
    for (const delivery of due) {
      if (!this.reachable) continue;
      const older =
        delivery.epoch < this.epoch || (delivery.epoch === this.epoch && delivery.generation < this.generation);
      if (older) continue; // I4
      this.epoch = delivery.epoch;
      this.generation = delivery.generation;
      if (this.rejecting) {
        this.rejectedHash = delivery.hash;
        continue;
      }
      this.rejectedHash = "";
      applying(delivery.service, delivery.hash);
      this.applied = delivery.service;
      this.outOfTouchAt = Number.NEGATIVE_INFINITY;
      this.appliedHash = delivery.hash;
      this.#converge(now);
    }
  }

  #converge(now: number): void {
    const wanted = new Map((this.applied?.revisions ?? []).map((revision) => [revision.revision, revision.mode]));
    for (const instance of this.instances) {
      const mode = wanted.get(instance.revision);
      instance.leaving = mode === undefined;
      const next = mode ?? "draining";
      if (next === "draining" && instance.mode !== "draining") instance.drainSince = now;
      instance.mode = next;
    }
    for (const [revision, mode] of wanted) {
      if (this.instances.some((instance) => instance.revision === revision && instance.state !== "stopped")) continue;
      this.instances.push(this.#start(revision, mode, now));
    }
    this.instances = this.instances.filter((instance) => instance.state !== "stopped");
  }

  #start(revision: number, mode: SimInstance["mode"], now: number): SimInstance {
    return {
      id: `${this.name}-r${revision}-${String(this.#ids++)}`,
      revision,
      startedAt: now,
      healthySince: 0,
      restarts: 0,
      exit: "",
      state: "running",
      mode,
      leaving: false,
      drainSince: now,
      everReady: false,
      inFlight: 0,
    };
  }

  /** Time passes for the processes here. `cut` ends what is in flight on an instance, for a crash or a deadline. */
  live(now: number, drainMs: number, cutsAtDeadline: boolean, cut: (instance: SimInstance) => void): void {
    if (this.down) return;
    for (const instance of this.instances) {
      const { readyAfterMs, exitsAfterMs } = this.#behaviourOf(instance.revision);
      if (instance.state === "failed" && !instance.leaving && now - instance.startedAt >= RESTART_AFTER_MS) {
        instance.state = "running";
        instance.startedAt = now;
        instance.restarts += 1;
      }
      if (instance.state === "running") {
        const age = now - instance.startedAt;
        if (exitsAfterMs !== null && age >= exitsAfterMs) this.crash(instance, now, cut);
        else if (readyAfterMs !== null && age >= readyAfterMs && instance.healthySince === 0) {
          instance.healthySince = now;
          instance.everReady = true;
        }
      }
      const overdue = instance.mode === "draining" && now - instance.drainSince >= drainMs;
      if (overdue && (cutsAtDeadline || instance.leaving) && now - instance.drainSince >= drainMs + 500) cut(instance);
      if (instance.leaving && (instance.inFlight === 0 || instance.state === "failed")) instance.state = "stopped";
    }
    this.instances = this.instances.filter((instance) => instance.state !== "stopped");
  }

  crash(instance: SimInstance, now: number, cut: (instance: SimInstance) => void): void {
    if (instance.state !== "running") return;
    cut(instance);
    instance.state = "failed";
    instance.exit = "exit code 3";
    instance.healthySince = 0;
    instance.startedAt = now;
  }

  /** An instance that takes a new request here, if there is one. */
  pick(): SimInstance | undefined {
    if (this.down) return undefined;
    const able = this.instances.filter((i) => i.mode === "serving" && i.state === "running" && i.healthySince > 0);
    return able[Math.floor(this.#random.next() * able.length)];
  }

  report(now: number): SimReport {
    return {
      at: now,
      seq: ++this.#seq,
      epoch: this.epoch,
      generation: this.generation,
      appliedHash: this.appliedHash,
      rejected: this.rejectedHash,
      instances: this.instances.map((instance) => ({
        id: instance.id,
        revision: instance.revision,
        state: stateOf(instance),
        healthySinceMs: instance.healthySince,
        restarts: instance.restarts,
        inFlight: instance.inFlight,
        exit: instance.exit,
        reason: instance.state === "failed" ? "exited with 3" : instance.healthySince === 0 ? "readiness: 503" : "",
      })),
      endpointInFlight: Object.fromEntries(this.inFlightTo),
    };
  }
}

function stateOf(instance: SimInstance): InstanceView["state"] {
  if (instance.state !== "running") return instance.state;
  if (instance.mode === "draining") return "draining";
  if (instance.healthySince === 0) return "starting";
  return instance.mode === "serving" ? "serving" : "ready";
}
