/**
 * What is kept of an instance, and what is told of it. A record is plain JSON: the next core finds its instances by it
 * (state/memory.ts), a view is what plan, table and report are made from.
 */
import type { RevisionMode } from "../../../proto/contract/assignment.ts";
import type { InstanceReport } from "../../../proto/contract/report.ts";
import type { DrainSpec, HealthSpec, RunSpec } from "../../../proto/contract/spec/types.ts";

/** `absent`: no longer named by the assignment; drained, then stopped (R14). */
export type InstanceMode = RevisionMode | "absent";

export interface InstanceRecord {
  /** Unique on this host for ever; kept over restarts of the process, so that its counts go on. */
  readonly id: string;
  /** What it is an instance of: service, revision, the hash of how it is run, its number. Equal key, same instance. */
  readonly key: string;
  readonly service: string;
  readonly revision: number;
  readonly version: string;
  readonly run: RunSpec;
  readonly health: HealthSpec | null;
  readonly drain: DrainSpec;
  readonly mode: InstanceMode;
  readonly address: string;
  /** 0 until a process was given one. */
  readonly port: number;
  /** Its driver's id of its newest run; "" before the first. */
  readonly process: string;
  /** That run was seen running at `address` and `port`. */
  readonly up: boolean;
  readonly starts: number;
  /** Starts beyond the first. */
  readonly restarts: number;
  readonly exit: InstanceReport["exit"];
}

export interface InstanceView extends InstanceRecord {
  /** It runs, or is not ours to run. */
  readonly alive: boolean;
  /** SIGTERM was said, or it is over: it can't be taken back. */
  readonly ending: boolean;
  /** Passes its readiness probe now. */
  readonly ready: boolean;
  /** Has passed it since this process of it started. */
  readonly wasReady: boolean;
}
