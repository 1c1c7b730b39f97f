/**
 * A little traffic: enough that something is in flight wherever a drain begins, and that counts say how a version does. A
 * gateway sends to the hosts that its live table names, one after the other until one has an instance that takes it;
 * without gateways clients do. What finds nobody is lost.
 */
import { bucketOf } from "../../../proto/contract/histogram.ts";
import { integer, type Random } from "../../../proto/kernel/random.ts";
import type { Behaviour, Request, SimAgent, SimInstance } from "./agent.ts";
import type { Timeline } from "./timeline.ts";

export interface TrafficOptions {
  /** Each agent host gets about so many a second. */
  readonly ratePerHost: number;
  /** Some take longer than a drain may. */
  readonly longRequests: boolean;
}

export interface TrafficWorld {
  readonly time: Timeline;
  readonly random: Random;
  readonly agents: readonly SimAgent[];
  agentNamed(name: string): SimAgent | undefined;
  behaviour(revision: number, host: string): Behaviour;
  count(version: string, requests: number, errors: number, bucket: number): void;
  lose(gateway: SimAgent | null): void;
}

const EVERY_MS = 100;
/** Each request stands for so many in the counts. */
const STANDS_FOR = 4;
const LONGEST_MS = 600;
const LONG_MS = 6_000;

export class Traffic {
  served = 0;
  readonly options: TrafficOptions;
  readonly #world: TrafficWorld;

  constructor(world: TrafficWorld, options: TrafficOptions) {
    this.#world = world;
    this.options = options;
    world.time.every(EVERY_MS, () => this.#some());
  }

  #some(): void {
    const { agents, random } = this.#world;
    const hosts = agents.filter((agent) => agent.role === "host");
    const gateways = agents.filter((agent) => agent.role === "gateway" && !agent.down);
    const noGateways = !agents.some((agent) => agent.role === "gateway");
    if (gateways.length === 0 && !noGateways) return;
    const due = (Math.min(hosts.length, 24) * this.options.ratePerHost * EVERY_MS) / 1_000;
    for (let n = Math.floor(due + random.next()); n > 0; n--) {
      const gateway = gateways[integer(random, gateways.length)] ?? null;
      const found = gateway === null ? this.#direct(hosts) : this.#through(gateway);
      if (found === undefined) this.#world.lose(gateway);
      else this.#begin(gateway, found.host, found.instance);
    }
  }

  #begin(gateway: SimAgent | null, host: SimAgent, instance: SimInstance): void {
    const { random, time } = this.#world;
    const { errors, slow = 1 } = this.#world.behaviour(instance.revision, host.name);
    const long = this.options.longRequests && random.next() < 0.01;
    const ms = long ? LONG_MS : (1 + integer(random, LONGEST_MS)) * slow;
    instance.inFlight += 1;
    if (gateway !== null) gateway.inFlightTo.set(host.name, (gateway.inFlightTo.get(host.name) ?? 0) + 1);
    const request: Request = { gateway, host, instance, standIn: instance.mode === "draining", over: false };
    instance.requests.add(request);
    time.after(ms, () => this.#end(request));
    this.served += 1;
    // An octave a bucket: what is slow is slow by more than that, and there is little to carry about.
    let bad = 0;
    for (let n = 0; n < STANDS_FOR && errors > 0; n++) if (random.next() < errors) bad += 1;
    this.#world.count(instance.version, STANDS_FOR, bad, bucketOf(ms * 1_000) & ~7);
  }

  cut(instance: SimInstance): void {
    for (const request of instance.requests) this.#end(request);
  }

  #end(request: Request): void {
    if (request.over) return;
    request.over = true;
    const { gateway, host, instance } = request;
    instance.requests.delete(request);
    instance.inFlight -= 1;
    if (gateway !== null && !gateway.down) this.#endAt(gateway, host.name);
    host.ended(instance);
  }

  #endAt(gateway: SimAgent, host: string): void {
    const left = (gateway.inFlightTo.get(host) ?? 1) - 1;
    gateway.inFlightTo.set(host, Math.max(0, left));
    // What drains is waited for: that it is done is news.
    const endpoint = gateway.service?.endpoints.find((one) => one.host === host);
    if (left <= 0 && endpoint?.mode !== "serving") gateway.changed();
  }

  #through(gateway: SimAgent): { readonly host: SimAgent; readonly instance: SimInstance } | undefined {
    const endpoints = gateway.service?.endpoints ?? [];
    const first = integer(this.#world.random, Math.max(1, endpoints.length));
    for (let i = 0; i < endpoints.length; i++) {
      const endpoint = endpoints[(first + i) % endpoints.length];
      if (endpoint?.mode !== "serving") continue;
      const host = this.#world.agentNamed(endpoint.host);
      const instance = host?.pick();
      if (host !== undefined && instance !== undefined) return { host, instance };
    }
    return undefined;
  }

  #direct(hosts: readonly SimAgent[]): { readonly host: SimAgent; readonly instance: SimInstance } | undefined {
    const first = integer(this.#world.random, Math.max(1, hosts.length));
    for (let i = 0; i < hosts.length; i++) {
      const host = hosts[(first + i) % hosts.length];
      const instance = host?.pick();
      if (host !== undefined && instance !== undefined) return { host, instance };
    }
    return undefined;
  }
}
