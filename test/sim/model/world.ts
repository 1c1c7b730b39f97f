/**
 * A world for the engine: hosts, gateways, a network that is late and forgetful, traffic, measurements, an operator. Time
 * is virtual and chance comes from one seed, so every run can be repeated.
 */
import type { Assignment } from "../../../proto/contract/assignment.ts";
import type { StrategySpec } from "../../../proto/contract/spec/types.ts";
import { integer, seededRandom, type Random } from "../../../proto/kernel/random.ts";
import type { Rollout } from "../../../control/model/rollout.ts";
import type { Revision } from "../../../control/model/service.ts";
import { describe } from "../../../control/rollout/describe.ts";
import { GOOD, SimAgent, type Behaviour, type SimInstance } from "./agent.ts";
import { SimController, type Plan } from "./controller.ts";
import { Laboratory } from "./laboratory.ts";
import { Network } from "./network.ts";
import { onApply, onPlan, type Truth } from "./oracle.ts";
import { revisionOf } from "./revisions.ts";
import { Timeline } from "./timeline.ts";
import { Traffic } from "./traffic.ts";

export { GOOD } from "./agent.ts";
export { DRAIN_MS, STRATEGY } from "./revisions.ts";

export interface WorldOptions {
  readonly seed: number;
  readonly hosts: number;
  readonly gateways: number;
  /** Of revisions 1, 2 and 3, which are there from the beginning. */
  readonly strategy: StrategySpec;
  readonly onTimeout: "cut" | "pause";
  /** By revision; revision 1 is what serves at first. Good, if not named. */
  readonly behaviours: Readonly<Record<number, Behaviour>>;
  /** Largest delay of a message, milliseconds. */
  readonly latencyMs: number;
  /** Chance that a message is lost. */
  readonly lossy: number;
  /** Chance that a message comes twice. */
  readonly repeats?: number;
  /** Requests that take longer than a drain may. */
  readonly longRequests: boolean;
  readonly leaseMs?: number;
  readonly reportEveryMs?: number;
  readonly ratePerHost?: number;
}

const ZONES = ["a", "b", "c"];
const POOLS = ["main", "main", "edge"];

export class World {
  readonly options: WorldOptions;
  readonly time = new Timeline(1_000_000);
  readonly agents: SimAgent[] = [];
  readonly controller: SimController;
  readonly network: Network;
  readonly traffic: Traffic;
  readonly laboratory: Laboratory;
  /** What the oracle found. */
  readonly violations: string[] = [];
  /** Called with each of them; one that throws stops the world where it is. */
  onViolation: () => void = () => undefined;
  /** Requests that found nobody. */
  lost = 0;
  readonly behaviours = new Map<number, Behaviour>();
  readonly random: Random;
  readonly #named = new Map<string, SimAgent>();
  #operatorCut = false;
  #goesOnWithout = false;
  readonly #newsMs: number;

  constructor(options: WorldOptions) {
    this.options = options;
    this.random = seededRandom(options.seed);
    const { leaseMs = 3_000, reportEveryMs = 250, repeats = 0, latencyMs, lossy } = options;
    this.#newsMs = leaseMs + 4 * latencyMs + 3_000;
    for (const [revision, behaviour] of Object.entries(options.behaviours)) {
      this.behaviours.set(Number(revision), behaviour);
    }
    this.laboratory = new Laboratory(this.time, this.random, (number) => this.#behaviourOf(number));
    this.network = new Network(this.time, this.random, { latencyMs, lossy, repeats, reportEveryMs });
    this.controller = new SimController(this.time, leaseMs, {
      planned: (plan) => this.#planned(plan),
      measurements: (rollout) => this.laboratory.measurements(rollout),
    });
    this.network.plug(this.controller);
    const { strategy, onTimeout } = options;
    this.controller.revisions = [1, 2, 3].map((number) => revisionOf(number, { strategy, onTimeout }));
    for (let n = 1; n <= options.hosts; n++) this.addAgent(`host-${n}`, "host");
    for (let n = 1; n <= options.gateways; n++) this.addAgent(`gateway-${n}`, "gateway");
    this.traffic = new Traffic(this, { ratePerHost: options.ratePerHost ?? 4, longRequests: options.longRequests });
  }

  get now(): number {
    return this.time.now();
  }

  addAgent(name: string, role: "host" | "gateway"): SimAgent {
    const at = this.agents.length;
    const labels = { zone: ZONES[at % ZONES.length]!, pool: POOLS[at % POOLS.length]! };
    const agent = new SimAgent(name, role, labels, {
      time: this.time,
      random: this.random,
      behaviour: (revision, host) => this.behaviour(revision, host),
      applying: (one, next) => this.#applying(one, next),
      changed: (one) => this.network.changed(one),
      started: (one, revision) => this.#started(one, revision),
      cut: (instance) => this.traffic.cut(instance),
      say: (one, message) => this.network.say(one, message),
    });
    this.agents.push(agent);
    this.#named.set(name, agent);
    this.network.join(agent);
    return agent;
  }

  /** Revision 1 (0: none) serves everywhere, and every agent has said so; nothing is lost meanwhile. */
  settle(stable = 1): this {
    this.controller.service = { name: "shop", stable, previous: 0, newest: 3 };
    const { options } = this.network;
    this.network.options = { ...options, lossy: 0 };
    this.run(8_000);
    this.lost = 0;
    this.run(1_000);
    if (this.lost > 0) throw new Error("the world did not settle");
    this.network.options = options;
    return this;
  }

  run(ms: number, until?: () => boolean): boolean {
    return this.time.run(ms, until);
  }

  agentNamed(name: string): SimAgent | undefined {
    return this.#named.get(name);
  }

  agent(name: string): SimAgent {
    const found = this.#named.get(name);
    if (found === undefined) throw new Error(`no agent ${name}`);
    return found;
  }

  behaviour(revision: number, host: string): Behaviour {
    const behaviour = this.#behaviourOf(revision);
    return behaviour.only === undefined || behaviour.only === host ? behaviour : GOOD;
  }

  #behaviourOf(revision: number): Behaviour {
    return this.behaviours.get(revision) ?? GOOD;
  }

  /** The operator accepts that what drains is ended (promote), or goes on without lost hosts (resume). */
  accept(what: "cut" | "without"): void {
    if (what === "cut") this.#operatorCut = true;
    else this.#goesOnWithout = true;
  }

  /** What was accepted was so for one rollout. */
  acceptNothing(): void {
    this.#operatorCut = false;
    this.#goesOnWithout = false;
  }

  partition(name: string): void {
    const agent = this.agent(name);
    agent.partitioned = true;
    agent.outOfTouchAt = Number.POSITIVE_INFINITY;
  }

  heal(name: string): void {
    const agent = this.agent(name);
    if (!agent.partitioned) return;
    agent.partitioned = false;
    agent.outOfTouchAt = this.now;
    this.network.broken(agent);
  }

  kill(name: string): void {
    const agent = this.agent(name);
    if (agent.down) return;
    agent.kill();
    agent.outOfTouchAt = Number.POSITIVE_INFINITY;
  }

  boot(name: string): void {
    const agent = this.agent(name);
    if (!agent.down) return;
    agent.powerUp();
    agent.outOfTouchAt = this.now;
    this.network.broken(agent);
  }

  restartCore(name: string): void {
    const agent = this.agent(name);
    if (agent.down) return;
    agent.restartCore();
    this.network.broken(agent);
  }

  restartController(forMs = 0): void {
    this.controller.restart(forMs);
    for (const agent of this.agents) this.network.broken(agent);
    if (this.controller.pastLeaderSteps()) this.violate("I4: the leader before this one still decides");
  }

  describe(): string {
    const { rollout, past, waiting } = this.controller;
    const last = rollout ?? past.at(-1);
    if (last === undefined) return "no rollout";
    const tracks = last.hosts.map((t) => `${t.host}:${t.stage}:${t.waitingFor}`).join(" ");
    const behind = waiting === null ? "" : `; behind it: ${this.words(waiting)}`;
    return `${this.words(last)}${behind} ${JSON.stringify(last.stage)} ${tracks}`;
  }

  /** What an operator reads. */
  words(rollout: Rollout): string {
    return describe(rollout, this.controller.context(rollout));
  }

  violate(text: string): void {
    this.violations.push(`${this.now} ${text}`);
    this.onViolation();
  }

  lose(gateway: SimAgent | null): void {
    // One that nobody has told of the newest routes goes by the old ones, as policy or the operator allowed.
    if (gateway?.reachable !== false && this.controller.service.stable !== 0) this.lost += 1;
  }

  count(version: string, requests: number, errors: number, bucket: number): void {
    this.controller.counts.add(version, requests, errors, bucket);
  }

  addRevision(revision: Revision, behaviour: Behaviour): void {
    const { controller } = this;
    this.behaviours.set(revision.revision, behaviour);
    controller.revisions = [...controller.revisions, revision];
    controller.service = { ...controller.service, newest: revision.revision };
  }

  #planned(plan: Plan): void {
    for (const text of onPlan(plan, this.#truth(plan.after))) this.violate(text);
  }

  #applying(agent: SimAgent, next: Assignment): void {
    const service = next.services.find(({ name }) => name === "shop") ?? null;
    const rollout = this.controller.rollout ?? this.controller.past.at(-1);
    const truth = this.#truth(rollout);
    for (const text of onApply(agent, service, truth)) this.violate(text);
  }

  /** What a rollout asked of hosts under its own policy may still be carried out under the one that superseded it. */
  #wentOnWithout(): boolean {
    const last = this.controller.past.at(-1);
    return (
      last?.stage.kind === "superseded" &&
      last.strategy.onPartition === "continue" &&
      this.now - last.endedAtMs < this.#newsMs
    );
  }

  #truth(rollout: Rollout | undefined): Truth {
    const { revisions } = this.controller;
    const cuts = (number: number): boolean =>
      revisions.find(({ revision }) => revision === number)?.spec.drain.onTimeout === "cut";
    return {
      leftToAgents: this.controller.rollout === null && rollout?.stage.kind === "failed",
      policyCuts: rollout === undefined || cuts(rollout.to) || cuts(rollout.from),
      ...{ now: this.now, agents: this.agents, newsMs: this.#newsMs, operatorCut: this.#operatorCut },
      goesOnWithout: this.#goesOnWithout || rollout?.strategy.onPartition === "continue" || this.#wentOnWithout(),
      agentNamed: (name) => this.#named.get(name),
      measuredBad: rollout !== undefined && this.laboratory.isBad(rollout),
    };
  }

  /** Promotion re-deploys nothing. */
  #started(agent: SimAgent, revision: number): void {
    const { rollout } = this.controller;
    const stage = rollout?.stage.kind;
    if (rollout?.to !== revision || agent.down) return;
    if (stage !== "promoting" && stage !== "draining" && stage !== "finalizing") return;
    const track = rollout.hosts.find(({ host }) => host === agent.name);
    if (track?.stage === "done" && !agent.justBack)
      this.violate(`${agent.name} starts revision ${revision} anew at promotion`);
  }

  /** Whole numbers below `below`, from the world's own chance. */
  integer(below: number): number {
    return integer(this.random, below);
  }

  cut(instance: SimInstance): void {
    this.traffic.cut(instance);
  }
}
