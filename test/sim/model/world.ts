/**
 * A small world for the engine: hosts, gateways, a network that is late and forgetful, traffic, an operator. Time goes in
 * ticks; chance comes from one seed, so every run can be repeated.
 */
import type { AssignedService } from "../../../proto/contract/assignment.ts";
import type { RollingStrategy } from "../../../proto/contract/spec/types.ts";
import { resolveCount } from "../../../proto/contract/units.ts";
import { integer, seededRandom, type Random } from "../../../proto/kernel/random.ts";
import type { Host, Revision } from "../../../control/model/service.ts";
import { describe } from "../../../control/rollout/describe.ts";
import { SimAgent, type Behaviour, type SimInstance, type SimReport } from "./agent.ts";
import { SimController } from "./controller.ts";
import { onApply, onPlan, type Truth } from "./oracle.ts";

export const TICK_MS = 50;
const REPORT_MS = 250;
export const DRAIN_MS = 3_000;

export interface WorldOptions {
  readonly seed: number;
  readonly hosts: number;
  readonly gateways: number;
  readonly strategy: RollingStrategy;
  readonly onTimeout: "cut" | "pause";
  /** By revision; revision 1 is what serves at first. */
  readonly behaviours: Readonly<Record<number, Behaviour>>;
  /** Largest delay of a message, milliseconds. */
  readonly latencyMs: number;
  /** Chance that a report or assignment is lost; assignments are sent again. */
  readonly lossy: number;
  /** Requests that take longer than a drain may. */
  readonly longRequests: boolean;
}

interface Request {
  readonly gateway: SimAgent | null;
  readonly host: SimAgent;
  readonly instance: SimInstance;
  readonly endsAt: number;
}

export const GOOD: Behaviour = { readyAfterMs: 300, exitsAfterMs: null, errors: 0 };
export const STRATEGY: RollingStrategy = {
  kind: "rolling",
  maxSurge: { kind: "count", value: 1 },
  maxUnavailable: { kind: "count", value: 0 },
  minHealthyMs: 1_000,
  healthyDeadlineMs: 8_000,
  progressDeadlineMs: 25_000,
  autoRevert: true,
  maxErrorRate: 0.05,
  minRequests: 30,
  onPartition: "pause",
  onSupersede: "retarget",
  rollbackWindow: 0,
  analysis: null,
  staggerMs: 0,
  orderBy: "",
  firstHostMs: 0,
};

export class World {
  now = 1_000_000;
  readonly options: WorldOptions;
  readonly agents: SimAgent[];
  readonly controller: SimController;
  /** What the oracle found, and requests that found nobody. */
  readonly violations: string[] = [];
  lost = 0;
  served = 0;
  #requests: Request[] = [];
  #reports: { at: number; host: string; report: SimReport }[] = [];
  #lossy: number;
  #operatorCut = false;
  #goesOnWithout: boolean;
  readonly #random: Random;

  constructor(options: WorldOptions) {
    this.options = options;
    this.#lossy = options.lossy;
    this.#random = seededRandom(options.seed);
    this.#goesOnWithout = options.strategy.onPartition === "continue";
    const behaviour = (revision: number): Behaviour => options.behaviours[revision] ?? GOOD;
    const agent = (role: "host" | "gateway") => (_: unknown, i: number) =>
      new SimAgent(`${role}-${String(i + 1)}`, role, behaviour, this.#random);
    this.agents = [
      ...Array.from({ length: options.hosts }, agent("host")),
      ...Array.from({ length: options.gateways }, agent("gateway")),
    ];
    const hosts = this.agents.map((a) => hostOf(a.name, a.role));
    const revisions = [1, 2, 3].map((n) => revision(n, options));
    this.controller = new SimController(hosts, revisions, (plan) => {
      const value = resolveCount(options.strategy.maxUnavailable, options.hosts, "down");
      this.violations.push(...onPlan(plan, value).map((text) => `${String(this.now)} ${text}`));
    });
  }

  /** Revision 1 serves everywhere, and every agent has said so. */
  settle(): this {
    this.controller.service = { name: "shop", stable: 1, previous: 0, newest: 3 };
    this.#lossy = 0;
    this.run(10_000);
    this.lost = 0;
    this.run(2_000);
    this.#lossy = this.options.lossy;
    if (this.lost > 0) throw new Error("the world did not settle");
    return this;
  }

  run(ms: number, until: () => boolean = () => false): boolean {
    for (const end = this.now + ms; this.now < end;) {
      if (until()) return true;
      this.tick();
    }
    return until();
  }

  agent(name: string): SimAgent {
    const found = this.agents.find((agent) => agent.name === name);
    if (found === undefined) throw new Error(`no agent ${name}`);
    return found;
  }

  /** The operator accepts that what drains is ended (promote), or goes on without lost hosts (resume). */
  accept(what: "cut" | "without"): void {
    if (what === "cut") this.#operatorCut = true;
    else this.#goesOnWithout = true;
  }

  /** The machine stops, with all that runs on it. */
  kill(name: string): void {
    const agent = this.agent(name);
    for (const instance of agent.instances) this.cut(instance);
    agent.down = true;
    agent.inbox = [];
  }

  /** It is back: it starts from its last good assignment, and everything starts anew. */
  boot(name: string): void {
    const agent = this.agent(name);
    if (!agent.down) return;
    agent.down = false;
    for (const instance of agent.instances) {
      instance.startedAt = this.now;
      instance.healthySince = 0;
      instance.state = "running";
    }
  }

  cut(instance: SimInstance): void {
    this.#end((request) => request.instance === instance);
  }

  describe(): string {
    const { rollout, past } = this.controller;
    const last = rollout ?? past.at(-1);
    if (last === undefined) return "no rollout";
    const context = this.controller.context(last, this.now);
    return `${describe(last, context)} ${JSON.stringify(last.stage)} ${last.hosts.map((t) => `${t.host}:${t.stage}:${t.waitingFor}`).join(" ")}`;
  }

  tick(): void {
    this.now += TICK_MS;
    const { onTimeout } = this.options;
    for (const agent of this.agents) {
      agent.receive(this.now, (next) => this.#judge(agent, next));
      agent.live(this.now, DRAIN_MS, onTimeout === "cut", (instance) => this.cut(instance));
    }
    this.#traffic();
    this.#report();
    this.controller.round(this.now);
    this.#send();
  }

  #judge(agent: SimAgent, next: AssignedService | null): void {
    const truth: Truth = {
      now: this.now,
      agents: this.agents,
      drainMs: DRAIN_MS,
      cutsAtDeadline: this.options.onTimeout === "cut",
      operatorCut: this.#operatorCut,
      goesOnWithout: this.#goesOnWithout,
    };
    this.violations.push(...onApply(agent, next, truth).map((text) => `${String(this.now)} ${text}`));
  }

  #traffic(): void {
    this.#end((request) => request.endsAt <= this.now);
    const gateways = this.agents.filter((agent) => agent.role === "gateway" && !agent.down);
    for (let n = 0; n < 3; n++) {
      const gateway = gateways[integer(this.#random, gateways.length)] ?? null;
      const target = gateway === null ? this.#direct() : this.#through(gateway);
      if (target === undefined) {
        if (gateway?.partitioned !== true && this.controller.service.stable !== 0) this.lost += 1;
        continue;
      }
      const { host, instance } = target;
      const long = this.options.longRequests && this.#random.next() < 0.01;
      const endsAt = this.now + (long ? 6_000 : integer(this.#random, 600));
      instance.inFlight += 1;
      gateway?.inFlightTo.set(host.name, (gateway.inFlightTo.get(host.name) ?? 0) + 1);
      this.#requests.push({ gateway, host, instance, endsAt });
      this.#count(instance.revision);
    }
  }

  #count(number: number): void {
    this.served += 1;
    const version = `v${number}`;
    const old = this.controller.traffic[version] ?? { requests: 0, errors: 0, lost: 0, latency: [] };
    const error = this.#random.next() < (this.options.behaviours[number] ?? GOOD).errors ? 1 : 0;
    this.controller.traffic = {
      ...this.controller.traffic,
      [version]: { requests: old.requests + 1, errors: old.errors + error, lost: 0, latency: [] },
    };
  }

  /** A gateway tries its endpoints in turn: a host that has nothing ready says so, and nothing is lost by asking it. */
  #through(gateway: SimAgent): { host: SimAgent; instance: SimInstance } | undefined {
    const endpoints = (gateway.applied?.endpoints ?? []).filter((endpoint) => endpoint.mode === "serving");
    const first = integer(this.#random, Math.max(1, endpoints.length));
    for (let i = 0; i < endpoints.length; i++) {
      const host = this.agents.find((a) => a.name === endpoints[(first + i) % endpoints.length]?.host);
      const instance = host?.pick();
      if (host !== undefined && instance !== undefined) return { host, instance };
    }
    return undefined;
  }

  #direct(): { host: SimAgent; instance: SimInstance } | undefined {
    const able = this.agents.filter((agent) => agent.role === "host" && agent.pick() !== undefined);
    const host = able[integer(this.#random, able.length)];
    const instance = host?.pick();
    return host === undefined || instance === undefined ? undefined : { host, instance };
  }

  #end(over: (request: Request) => boolean): void {
    this.#requests = this.#requests.filter((request) => {
      if (!over(request)) return true;
      request.instance.inFlight -= 1;
      const { gateway, host } = request;
      gateway?.inFlightTo.set(host.name, (gateway.inFlightTo.get(host.name) ?? 0) - 1);
      return false;
    });
  }

  #report(): void {
    for (const agent of this.agents) {
      if (!agent.reachable || (this.now / TICK_MS) % (REPORT_MS / TICK_MS) !== agent.name.length % 5) continue;
      if (this.#random.next() < this.#lossy) continue;
      const at = this.now + integer(this.#random, this.options.latencyMs);
      this.#reports.push({ at, host: agent.name, report: agent.report(this.now) });
    }
    for (const due of this.#reports.filter((entry) => entry.at <= this.now)) {
      if (this.agent(due.host).reachable) this.controller.hear(due.host, due.report, this.now);
    }
    this.#reports = this.#reports.filter((entry) => entry.at > this.now);
  }

  /** Late, lost and out of order. */
  #send(): void {
    for (const agent of this.agents) {
      const due = this.controller.due(agent.name, this.now);
      if (due === null || !agent.reachable || this.#random.next() < this.#lossy) continue;
      agent.inbox.push({ at: this.now + integer(this.#random, this.options.latencyMs), ...due });
    }
  }
}

function hostOf(name: string, role: "host" | "gateway"): Host {
  return {
    name,
    role,
    labels: {},
    address: "127.0.0.1",
    software: "sim",
    adminState: "ready",
    inboundPorts: "assigned",
    ports: role === "host" ? { "shop/0": 40_000 } : {},
  };
}

export function revision(number: number, options: Pick<WorldOptions, "strategy" | "onTimeout">): Revision {
  const probe = {
    kind: "http",
    path: "/",
    intervalMs: 200,
    timeoutMs: 200,
    healthyThreshold: 1,
    unhealthyThreshold: 2,
  } as const;
  return {
    service: "shop",
    revision: number,
    version: `v${number}`,
    specHash: `hash-${number}`,
    createdAtMs: 0,
    spec: {
      name: "shop",
      version: `v${number}`,
      labels: {},
      listen: [{ address: "127.0.0.1", port: 8080, protocol: "http" }],
      hostnames: [],
      rules: [],
      placement: { hosts: [], labels: {} },
      run: { kind: "process", command: ["server"], cwd: ".", env: {}, count: 1 },
      health: { readiness: probe, liveness: null },
      drain: { timeoutMs: DRAIN_MS, sseMs: 500, websocketMs: 500, killMs: 500, onTimeout: options.onTimeout },
      strategy: options.strategy,
    },
  };
}
