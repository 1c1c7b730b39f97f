/** The plan as it is written down: one entry a step, each with its worst moment and how it ends. */
import { percentOf } from "./capacity.ts";
import type { Moment } from "./capacity.ts";
import type { PlanStep } from "./types.ts";

export class PlanRecord {
  readonly #before: Moment;
  readonly #from: number;
  readonly #to: number;
  readonly #steps: PlanStep[] = [];
  #now: Moment;
  minCapacityPercent = 100;
  maxInstances = 0;
  maxHostsOut = 0;

  constructor(before: Moment, from: number, to: number) {
    this.#before = before;
    this.#now = before;
    this.#from = from;
    this.#to = to;
    this.maxInstances = before.instances;
  }

  get steps(): readonly PlanStep[] {
    return this.#steps;
  }

  open(atMs: number, text: string, waitsFor = ""): void {
    const now = { minCapacityPercent: 100, instances: 0, hostsOut: [], ...this.#figures() };
    this.#steps.push({ atMs, text, hosts: [], waitsFor, ...now });
  }

  /** Hosts that the present step moves. */
  moves(hosts: readonly string[]): void {
    this.#last((step) => ({ ...step, hosts: [...new Set([...step.hosts, ...hosts])] }));
  }

  waits(waitsFor: string): void {
    this.#last((step) => ({ ...step, waitsFor }));
  }

  /** What is asked and done at this moment. */
  see(moment: Moment): void {
    this.#now = moment;
    const percent = percentOf(moment, this.#before);
    const out = [...this.#before.hosts].filter((host) => !moment.hosts.has(host));
    this.minCapacityPercent = Math.min(this.minCapacityPercent, percent);
    this.maxInstances = Math.max(this.maxInstances, moment.instances);
    this.maxHostsOut = Math.max(this.maxHostsOut, out.length);
    this.#last((step) => ({
      ...step,
      ...this.#figures(),
      minCapacityPercent: Math.min(step.minCapacityPercent, percent),
      instances: Math.max(step.instances, moment.instances),
      hostsOut: [...new Set([...step.hostsOut, ...out])].sort(),
    }));
  }

  #figures(): Pick<PlanStep, "weight" | "oldServing" | "newServing"> {
    const { weights, serving } = this.#now;
    return {
      weight: weights.get(this.#to) ?? 0,
      oldServing: serving.get(this.#from) ?? 0,
      newServing: serving.get(this.#to) ?? 0,
    };
  }

  #last(change: (step: PlanStep) => PlanStep): void {
    const last = this.#steps.pop();
    if (last !== undefined) this.#steps.push(change(last));
  }
}
