/**
 * The engine on a bench: a rollout, and a fleet that says exactly what the test writes down. Every agent agrees to what
 * it is asked unless the test says otherwise.
 */
import type { Command, HostTrack, JournalEntry, Rollout } from "../../../control/model/rollout.ts";
import type { ExternalMeasurement } from "../../../control/model/analysis.ts";
import type { Revision } from "../../../control/model/service.ts";
import type { FleetView, HostView, InstanceView, VersionTraffic } from "../../../control/model/view.ts";
import { begin, command, step } from "../../../control/rollout/engine.ts";
import type { Beginning, Context, Decision, Refused } from "../../../control/rollout/types.ts";
import type { RollingStrategy, StrategySpec } from "../../../proto/contract/spec/types.ts";
import { revisionOf as revision, STRATEGY } from "../../sim/model/revisions.ts";

export const START = 1_000_000;

export function instance(revisionNumber: number, patch: Partial<InstanceView> = {}): InstanceView {
  const state = patch.state ?? "serving";
  return {
    id: `i-${revisionNumber}`,
    revision: revisionNumber,
    state,
    healthySinceMs: state === "starting" || state === "failed" ? 0 : 500,
    wasReady: state !== "starting" && state !== "failed",
    restarts: 0,
    inFlight: 0,
    exit: "",
    reason: "",
    ...patch,
  };
}

export interface BenchOptions {
  readonly hosts?: readonly string[];
  readonly fromHosts?: readonly string[];
  readonly gateways?: readonly string[];
  readonly strategy?: Partial<RollingStrategy> | StrategySpec;
  readonly onTimeout?: "cut" | "pause";
  readonly first?: boolean;
}

export class Bench {
  now = START;
  epoch = 1;
  rollout: Rollout;
  traffic: Record<string, VersionTraffic> = {};
  unexplainedLoss = 0;
  /** What a host says beyond agreeing. */
  readonly says = new Map<string, Partial<HostView>>();
  readonly journal: JournalEntry[] = [];
  readonly from: Revision | null;
  to: Revision;
  readonly #hosts: readonly string[];
  readonly #fromHosts: readonly string[];
  readonly #gateways: readonly string[];
  measurements: readonly ExternalMeasurement[] = [];
  groups: Readonly<Record<string, string>> = {};

  constructor(options: BenchOptions = {}) {
    const strategy = { ...STRATEGY, ...options.strategy } as RollingStrategy;
    const onTimeout = options.onTimeout ?? "cut";
    this.from = options.first === true ? null : revision(1, { strategy, onTimeout });
    this.to = revision(2, { strategy, onTimeout });
    this.#hosts = options.hosts ?? ["a", "b", "c"];
    this.#fromHosts = this.from === null ? [] : (options.fromHosts ?? this.#hosts);
    this.#gateways = options.gateways ?? ["gw"];
    const { rollout } = begin({
      id: "shop-1",
      service: "shop",
      from: this.from,
      to: this.to,
      hosts: this.#hosts,
      fromHosts: this.#fromHosts,
      now: this.now,
      actor: "ops",
      epoch: 1,
    });
    this.rollout = rollout;
    for (const host of this.#fromHosts) this.says.set(host, { instances: [instance(1)] });
  }

  view(patch: Partial<FleetView> = {}): FleetView {
    const names = [...new Set([...this.#hosts, ...this.#fromHosts])];
    const hosts = [
      ...names.map((name) => this.#host(name, "host")),
      ...this.#gateways.map((name) => this.#host(name, "gateway")),
    ];
    return {
      change: this.rollout.change,
      hosts: Object.fromEntries(hosts.map((host) => [host.name, host])),
      traffic: this.traffic,
      unexplainedLoss: this.unexplainedLoss,
      ...patch,
    };
  }

  #host(name: string, role: "host" | "gateway"): HostView {
    return {
      name,
      role,
      lease: "live",
      adminState: "ready",
      appliedHash: "agreed",
      askedHash: "agreed",
      rejected: "",
      instances: [],
      endpointInFlight: {},
      ...this.says.get(name),
    };
  }

  context(view = this.view()): Context {
    const cluster = { hosts: this.#hosts, fromHosts: this.#fromHosts, groups: this.groups };
    const { from, to, now, epoch, measurements } = this;
    return { from, to, view, now, epoch, cluster, measurements };
  }

  step(view?: FleetView): Decision {
    return this.#take(step(this.rollout, this.context(view)));
  }

  /** Steps until nothing moves by itself any more. */
  rest(): this {
    for (let i = 0; i < 100; i++) if (this.step().journal.length === 0 && i > 10) return this;
    return this;
  }

  after(ms: number): this {
    this.now += ms;
    return this.rest();
  }

  say(said: Command): Decision | Refused {
    const answer = command(this.rollout, said, this.context());
    return "kind" in answer ? answer : this.#take(answer);
  }

  track(host: string): HostTrack {
    const found = this.rollout.hosts.find((track) => track.host === host);
    if (found === undefined) throw new Error(`no track ${host}`);
    return found;
  }

  /** Another rollout takes the place of this one, which was superseded. */
  over(to: Revision, more: Partial<Beginning> = {}): void {
    const { from, now } = this;
    const [hosts, fromHosts, over] = [this.#hosts, this.#fromHosts, this.rollout];
    const { rollout } = begin({
      ...{ id: "shop-2", service: "shop", from, to, hosts, fromHosts, now, actor: "ops", epoch: 1, over, ...more },
    });
    [this.to, this.rollout] = [to, rollout];
  }

  /** The host reports these instances from now on. */
  runs(host: string, ...instances: readonly InstanceView[]): this {
    this.says.set(host, { ...this.says.get(host), instances });
    return this;
  }

  #take(decision: Decision): Decision {
    this.journal.push(...decision.journal);
    this.rollout = decision.rollout;
    return decision;
  }
}
