/**
 * What a rollout would do, worked out without doing it. Times count from its beginning, milliseconds; capacity is in
 * percent of the instances that take traffic before it begins.
 */
import type { Host, Revision, Service } from "../model/service.ts";
import type { Beginning } from "../rollout/types.ts";

export interface PlanInput {
  readonly beginning: Beginning;
  /** As stored: what it rests on. */
  readonly service: Service;
  /** Of this service; the target among them, stored or not. */
  readonly revisions: readonly Revision[];
  readonly hosts: readonly Host[];
  /** Names of those that are not heard from now. */
  readonly lost: readonly string[];
}

export interface Plan {
  readonly steps: readonly PlanStep[];
  /** The stage that it comes to, and why when that is not its good end. */
  readonly outcome: string;
  readonly lastsMs: number;
  readonly minCapacityPercent: number;
  readonly maxInstances: number;
  readonly maxHostsOut: number;
  readonly warnings: readonly string[];
}

export interface PlanStep {
  readonly atMs: number;
  readonly text: string;
  /** That it moves. */
  readonly hosts: readonly string[];
  /** "" when it only waits for confirmation. */
  readonly waitsFor: string;
  /** At its end. */
  readonly weight: number;
  readonly oldServing: number;
  readonly newServing: number;
  /** At its worst moment. */
  readonly minCapacityPercent: number;
  readonly instances: number;
  readonly hostsOut: readonly string[];
}
