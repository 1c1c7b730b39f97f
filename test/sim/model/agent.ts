/**
 * An agent of the model world: takes whole assignments, some time after they arrive and one at a time; runs instances that
 * start slowly, fail, crash or answer badly; drains what it is told to, and what is not named any more. What is true of it
 * and what it has reported are two things: reports are made here, the network loses them.
 *
 *   machine dies   everything on it is gone; it begins with its last good assignment when it is back
 *   core dies      processes and routes go on; it greets anew, and has to probe before it calls anything ready
 */
import type { AssignedRevision, AssignedService, Assignment, Applied } from "../../../proto/contract/assignment.ts";
import { serviceHash } from "../../../proto/contract/canonical.ts";
import type { DrainSpec } from "../../../proto/contract/spec/types.ts";
import type { InstanceReport, InstanceState, Report, TrafficReport } from "../../../proto/contract/report.ts";
import type { AgentMessage, Hello } from "../../../proto/contract/session.ts";
import { integer, type Random } from "../../../proto/kernel/random.ts";
import type { Timeline } from "./timeline.ts";

/** How a version's instances behave. */
export interface Behaviour {
  /** Start to readiness, or null: never ready. */
  readonly readyAfterMs: number | null;
  /** It exits so long after each start, or null. */
  readonly exitsAfterMs: number | null;
  /** Share of its answers that are 5xx. */
  readonly errors: number;
  /** Its answers take so many times longer. */
  readonly slow?: number;
  /** It is like this on that host alone, and good elsewhere. */
  readonly only?: string;
}

export const GOOD: Behaviour = { readyAfterMs: 300, exitsAfterMs: null, errors: 0 };

export interface SimInstance {
  readonly id: string;
  readonly revision: number;
  readonly version: string;
  /** Grows with each start: what was planned for an earlier run does not happen. */
  run: number;
  state: "running" | "failed" | "stopped";
  /** Takes requests: what is true. */
  up: boolean;
  everUp: boolean;
  /** What the agent has found by probing, and reports. */
  healthySince: number;
  /** Since its last start, as far as this core knows. */
  wasReady: boolean;
  mode: AssignedRevision["mode"];
  weight: number;
  /** Not named any more: drains, then stops. */
  leaving: boolean;
  /** When it was told to drain; 0: it was not. */
  drainSince: number;
  restarts: number;
  exit: InstanceReport["exit"];
  inFlight: number;
  readonly requests: Set<Request>;
}

export interface Request {
  readonly gateway: SimAgent | null;
  readonly host: SimAgent;
  readonly instance: SimInstance;
  /** It went to an instance that drains, since nothing that is to serve could. */
  readonly standIn: boolean;
  over: boolean;
}

/** What an agent needs of the world around it. */
export interface Surroundings {
  readonly time: Timeline;
  readonly random: Random;
  behaviour(revision: number, host: string): Behaviour;
  /** About to go live in place of what is: judged with the state before it. */
  applying(agent: SimAgent, next: Assignment): void;
  /** A report would say something new. */
  changed(agent: SimAgent): void;
  started(agent: SimAgent, revision: number): void;
  /** Ends what is in flight on an instance. */
  cut(instance: SimInstance): void;
  /** Up the wire; lost without a session. */
  say(agent: SimAgent, message: Exclude<AgentMessage, { readonly kind: "hello" }>): void;
}

const RESTART_AFTER_MS = 400;
/** An agent notices that a drain is over its deadline, and ends it, so much later than the controller may count it. */
const CUT_AFTER_MS = 500;
const SHOP = "shop";

export class SimAgent {
  readonly name: string;
  readonly role: "host" | "gateway";
  readonly labels: Readonly<Record<string, string>>;
  live: Assignment | null = null;
  /** The highest that it has taken or been welcomed with (I4). */
  fence = { epoch: 0, generation: 0 };
  partitioned = false;
  /** The machine is down: nothing runs, nothing is heard. */
  down = false;
  /** When it was last out of touch, if it has taken nothing since: it goes by what it knew before. */
  outOfTouchAt = Number.NEGATIVE_INFINITY;
  /** It can't have what it is asked for: a port is taken. */
  rejecting = false;
  instances: SimInstance[] = [];
  /** Revisions that were ready here since they were last started from nothing. */
  readonly everReady = new Set<number>();
  readonly inFlightTo = new Map<string, number>();
  /** Grows with all that a report would say differently, but for the counts of what serves. */
  version = 0;
  /** Since when it has served nobody, or has served; kept for the oracle. */
  servesSince = 0;
  serves = false;
  bootNumber = 1;
  /** When its machine was last started again. */
  backAt = Number.NEGATIVE_INFINITY;
  /** Of the core's processes. */
  life = 1;
  #seq = 0;
  #ids = 0;
  #waiting: Assignment | null = null;
  /** The number of what is being applied; 0: nothing is. */
  #busy = 0;
  #busyCount = 0;
  #refused: Assignment | null = null;
  #drain: DrainSpec | null = null;
  readonly #world: Surroundings;

  constructor(name: string, role: "host" | "gateway", labels: Readonly<Record<string, string>>, world: Surroundings) {
    this.name = name;
    this.role = role;
    this.labels = labels;
    this.#world = world;
  }

  get reachable(): boolean {
    return !this.partitioned && !this.down;
  }

  /** It has taken nothing since its machine came back, or since it was in touch again. */
  get justBack(): boolean {
    return this.outOfTouchAt > Number.NEGATIVE_INFINITY;
  }

  get service(): AssignedService | null {
    return this.live?.services.find(({ name }) => name === SHOP) ?? null;
  }

  get boot(): string {
    return `${this.name}-b${this.bootNumber}`;
  }

  hello(): Hello {
    return {
      ...{ protocolVersion: 1, host: this.name, role: this.role, labels: this.labels, boot: this.boot },
      ...{ software: "sim", address: "127.0.0.1", highestEpoch: this.fence.epoch, inboundPorts: "assigned" },
      applied: this.#appliedNow(),
    };
  }

  welcomed(epoch: number): void {
    if (epoch > this.fence.epoch) this.fence = { epoch, generation: 0 };
  }

  receive(assignment: Assignment): void {
    if (this.#busy !== 0) this.#waiting = assignment;
    else this.#take(assignment);
  }

  #take(assignment: Assignment): void {
    const { epoch, generation, hash } = assignment;
    const refuse = (why: string): void => {
      this.changed();
      this.#world.say(this, { kind: "report", report: this.report() });
      this.#world.say(this, { kind: "rejected", rejected: { epoch, generation, hash, why } });
    };
    if (below(assignment, this.fence)) {
      refuse("out of date");
      return;
    }
    this.fence = { epoch, generation };
    if (this.live?.epoch === epoch && this.live.generation === generation) {
      this.#answer();
      return;
    }
    this.#refused = null;
    if (this.rejecting) {
      this.#refused = assignment;
      refuse("127.0.0.1:8080: the port is in use");
      return;
    }
    this.#apply(assignment);
  }

  /** The port is free again: what was refused is taken after all, if nothing else was asked for (core/apply). */
  mended(): void {
    this.rejecting = false;
    const refused = this.#refused;
    this.#refused = null;
    if (refused !== null && !this.down && this.#busy === 0 && !below(refused, this.fence)) this.#apply(refused);
  }

  #apply(assignment: Assignment): void {
    const { time, random } = this.#world;
    const busy = ++this.#busyCount;
    this.#busy = busy;
    time.after(1 + integer(random, 30), () => {
      if (this.#busy === busy) this.#goLive(assignment);
    });
  }

  #goLive(assignment: Assignment): void {
    this.#busy = 0;
    this.#world.applying(this, assignment);
    this.live = assignment;
    this.#drain = this.service?.drain ?? this.#drain;
    this.outOfTouchAt = Number.NEGATIVE_INFINITY;
    this.#converge();
    this.changed();
    this.#answer();
    const next = this.#waiting;
    this.#waiting = null;
    if (next !== null) this.#take(next);
  }

  #answer(): void {
    const applied = this.#appliedNow();
    if (applied !== null) this.#world.say(this, { kind: "applied", applied });
  }

  #appliedNow(): Applied | null {
    if (this.live === null) return null;
    const { epoch, generation, hash, services } = this.live;
    return { epoch, generation, hash, services: hashesOf(services) };
  }

  #converge(): void {
    const named = new Map((this.service?.revisions ?? []).map((revision) => [revision.revision, revision]));
    for (const instance of this.instances) {
      const asked = named.get(instance.revision);
      instance.leaving = asked === undefined;
      const mode = asked?.mode ?? "draining";
      if (mode === "draining" && instance.mode !== "draining") this.#drains(instance);
      if (mode !== "draining") instance.drainSince = 0;
      instance.mode = mode;
      instance.weight = asked?.weight ?? 0;
      if (instance.leaving) this.#leave(instance);
    }
    for (const asked of named.values()) {
      const own = this.instances.find((one) => one.revision === asked.revision && one.state !== "stopped");
      if (own === undefined) this.#add(asked);
    }
    this.#sweep();
  }

  #add({ revision, version, mode, weight }: AssignedRevision): void {
    const instance: SimInstance = {
      ...{ id: `${this.name}-r${revision}-${this.#ids++}`, revision, version, run: 0, state: "running", up: false },
      ...{
        everUp: false,
        healthySince: 0,
        wasReady: false,
        mode,
        weight,
        leaving: false,
        drainSince: 0,
        restarts: 0,
        exit: null,
      },
      ...{ inFlight: 0, requests: new Set() },
    };
    this.instances.push(instance);
    this.#world.started(this, revision);
    this.#start(instance);
  }

  #start(instance: SimInstance): void {
    const { time, random } = this.#world;
    const { readyAfterMs, exitsAfterMs } = this.#world.behaviour(instance.revision, this.name);
    const run = ++instance.run;
    instance.state = "running";
    const still = (fn: () => void) => () => {
      if (instance.run === run && instance.state === "running" && !this.down) fn();
    };
    if (readyAfterMs !== null) {
      const ready = readyAfterMs * (0.8 + 0.4 * random.next());
      time.after(
        ready,
        still(() => {
          instance.up = true;
          instance.everUp = true;
          this.everReady.add(instance.revision);
          this.#probed(instance);
        }),
      );
    }
    if (exitsAfterMs === null) return;
    time.after(
      exitsAfterMs,
      still(() => {
        // Its version may have been mended meanwhile.
        if (this.#world.behaviour(instance.revision, this.name).exitsAfterMs !== null) this.crash(instance);
      }),
    );
  }

  #probed(instance: SimInstance): void {
    instance.healthySince = this.#world.time.now();
    instance.wasReady = true;
    this.changed();
  }

  crash(instance: SimInstance): void {
    if (instance.state !== "running" || this.down) return;
    this.#world.cut(instance);
    instance.run += 1;
    instance.state = "failed";
    instance.exit = { code: 3, signal: null };
    instance.up = false;
    instance.healthySince = 0;
    instance.wasReady = false;
    this.changed();
    const run = instance.run;
    this.#world.time.after(RESTART_AFTER_MS, () => {
      if (instance.run !== run || this.down) return;
      if (instance.leaving) {
        this.#stop(instance);
        return;
      }
      instance.restarts += 1;
      this.#start(instance);
      this.changed();
    });
    if (instance.leaving) this.#stop(instance);
  }

  /** Instances of a version that has been mended start anew, if they are not up. */
  tryAgain(revision: number): void {
    for (const instance of this.instances) {
      if (this.down || instance.revision !== revision || instance.up || instance.state !== "running") continue;
      this.#start(instance);
    }
  }

  #drains(instance: SimInstance): void {
    const since = this.#world.time.now();
    instance.drainSince = since;
    const { timeoutMs, onTimeout } = this.#drain ?? { timeoutMs: 0, onTimeout: "cut" };
    this.#world.time.after(timeoutMs + CUT_AFTER_MS, () => {
      if (instance.drainSince !== since || instance.mode !== "draining") return;
      if (onTimeout === "cut" || instance.leaving) this.#world.cut(instance);
    });
  }

  #leave(instance: SimInstance): void {
    if (instance.inFlight === 0 || instance.state !== "running") {
      this.#stop(instance);
      return;
    }
    const { timeoutMs } = this.#drain ?? { timeoutMs: 0 };
    const left = instance.drainSince + timeoutMs + CUT_AFTER_MS - this.#world.time.now();
    this.#world.time.after(left, () => {
      if (instance.leaving && instance.state === "running") this.#world.cut(instance);
    });
  }

  /** A request of it is over. */
  ended(instance: SimInstance): void {
    if (instance.mode === "draining") this.changed();
    if (instance.leaving && instance.inFlight === 0) this.#stop(instance);
  }

  #stop(instance: SimInstance): void {
    if (instance.state === "stopped") return;
    instance.run += 1;
    instance.state = "stopped";
    instance.up = false;
    this.#sweep();
    this.changed();
  }

  #sweep(): void {
    if (!this.instances.some((one) => one.state === "stopped")) return;
    this.instances = this.instances.filter((one) => one.state !== "stopped");
    for (const revision of this.everReady) {
      if (!this.instances.some((one) => one.revision === revision)) this.everReady.delete(revision);
    }
  }

  /** Something is another that a report would say. */
  changed(): void {
    this.version += 1;
    this.look();
    this.#world.changed(this);
  }

  /** Kept for the oracle: does it serve, in truth? */
  look(): void {
    const serves = !this.down && this.service?.accepting === true && this.able().length > 0;
    if (serves === this.serves) return;
    this.serves = serves;
    this.servesSince = this.#world.time.now();
  }

  /**
   * What takes new requests here. When nothing that is to serve can, the newest of what drains and is well does until it
   * can (agent/core/apply/table.ts).
   */
  able(): SimInstance[] {
    const able = this.instances.filter((one) => one.up && one.mode === "serving" && one.weight > 0);
    if (able.length > 0 || !this.instances.some((one) => one.mode === "serving" && one.weight > 0)) return able;
    const draining = this.instances.filter((one) => one.up && one.mode === "draining" && !one.leaving);
    const newest = Math.max(...draining.map((one) => one.revision));
    return draining.filter((one) => one.revision === newest);
  }

  /** An instance that takes a new request, by weight, if there is one. */
  pick(): SimInstance | undefined {
    if (this.down) return undefined;
    const able = this.able();
    if (able.length <= 1) return able[0];
    let at = this.#world.random.next() * able.reduce((sum, one) => sum + Math.max(1, one.weight), 0);
    for (const one of able) {
      at -= Math.max(1, one.weight);
      if (at < 0) return one;
    }
    return able.at(-1);
  }

  /** The machine stops, with all that runs on it. */
  kill(): void {
    for (const instance of this.instances) {
      this.#world.cut(instance);
      instance.run += 1;
      instance.up = false;
      instance.healthySince = 0;
    }
    this.down = true;
    this.#busy = 0;
    this.#waiting = this.#refused = null;
    this.inFlightTo.clear();
    this.look();
  }

  /** It is back: it starts from its last good assignment, and everything starts anew. */
  powerUp(): void {
    this.down = false;
    this.backAt = this.#world.time.now();
    this.bootNumber += 1;
    this.life += 1;
    this.#seq = 0;
    this.instances = [];
    this.everReady.clear();
    this.#converge();
    this.changed();
  }

  /** The core alone is gone and back: what it was about to apply is forgotten, what is up has to be probed again. */
  restartCore(): void {
    this.life += 1;
    this.#busy = 0;
    this.#waiting = this.#refused = null;
    for (const instance of this.instances) {
      if (instance.healthySince === 0) continue;
      instance.healthySince = 0;
      instance.wasReady = false;
      const { run } = instance;
      this.#world.time.after(100 + integer(this.#world.random, 300), () => {
        if (instance.run === run && instance.up) this.#probed(instance);
      });
    }
    this.changed();
  }

  report(): Report {
    const { boot } = this;
    const traffic: TrafficReport[] = [];
    for (const { host } of this.service?.endpoints ?? []) this.inFlightTo.set(host, this.inFlightTo.get(host) ?? 0);
    for (const [host, inFlight] of this.inFlightTo) traffic.push({ ...NO_TRAFFIC, endpoint: host, inFlight });
    return {
      ...{ boot, seq: ++this.#seq, applied: this.#appliedNow(), endpoints: [], traffic, incidents: [] },
      instances: this.instances.map(told),
    };
  }
}

const below = (a: Pick<Assignment, "epoch" | "generation">, b: SimAgent["fence"]): boolean =>
  a.epoch < b.epoch || (a.epoch === b.epoch && a.generation < b.generation);

const NO_TRAFFIC: TrafficReport = {
  ...{ service: SHOP, version: "", endpoint: "", started: 0, inFlight: 0, completed: 0, statusClasses: [], retried: 0 },
  ...{
    drained: 0,
    clientGone: 0,
    tunnels: 0,
    eventStreams: 0,
    bytesIn: 0,
    bytesOut: 0,
    lost: [],
    cut: [],
    latency: [],
  },
};

function told(instance: SimInstance): InstanceReport {
  const { id, revision, version, healthySince, wasReady, restarts, exit, inFlight, state } = instance;
  return {
    ...{ service: SHOP, revision, version, id, state: stateOf(instance), sinceMs: 0, healthySinceMs: healthySince },
    ...{ wasReady, pid: 1, address: "127.0.0.1", port: 1, restarts, exit, output: [], inFlight, started: 0 },
    reason: state === "failed" ? "exited with 3" : healthySince === 0 ? "readiness: 503" : "",
  };
}

function stateOf({ state, mode, healthySince }: SimInstance): InstanceState {
  if (state !== "running") return state;
  if (mode === "draining") return "draining";
  if (healthySince === 0) return "starting";
  return mode === "serving" ? "serving" : "ready";
}

const memory = new WeakMap<readonly AssignedService[], Readonly<Record<string, string>>>();
/** One assignment has one set of hashes, however often it is told of. */
export function hashesOf(services: readonly AssignedService[]): Readonly<Record<string, string>> {
  let known = memory.get(services);
  if (known === undefined) {
    known = Object.fromEntries(services.map((service) => [service.name, serviceHash(service)]));
    memory.set(services, known);
  }
  return known;
}
