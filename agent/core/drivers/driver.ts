/**
 * What starts and ends the instances' runs, as a narrow port: processes by the keeper (process.ts), containers by a Docker
 * engine (docker/). Whether and when is life.ts's to decide; a driver carries it out and tells what is so.
 *
 * Again   a run goes by its id, `INSTANCE.NUMBER`: everything may be said twice, also by another core.
 * Errors  none thrown: what goes wrong is the run's `error`, in the words of whoever refused it.
 * Silence is no news: a driver that can't see its runs says so (`note`) and tells of no end.
 */
import type { RunSpec } from "../../../proto/contract/spec/types.ts";
import type { Millis } from "../../../proto/kernel/clock.ts";
import type { CheckResult } from "../probes/check.ts";

export interface RunRequest {
  readonly id: string;
  readonly instance: string;
  readonly service: string;
  readonly revision: number;
  readonly version: string;
  readonly run: RunSpec;
  /** As `port` chose it; 0: the driver tells it once it is up. */
  readonly port: number;
}

export interface RunState {
  readonly id: string;
  /** As this machine counts them; 0 when it is not known. */
  readonly pid: number;
  readonly startedAtMs: Millis;
  /** Where it can be reached. */
  readonly address: string;
  readonly port: number;
  /** Set once it has ended; kept until `forget`. */
  readonly exit: RunExit | null;
  /** Set when it could not be started, or is not there any more. */
  readonly error: string | null;
  /** false: with that error nothing of it was begun (its image can't be had); trying again is no restart of anything. */
  readonly begun?: false;
}

export interface RunExit {
  readonly code: number | null;
  readonly signal: string | null;
  readonly atMs: Millis;
  /** What else there is to say of it: "out of memory: its limit is 64m". */
  readonly note?: string;
}

export type Adopted = RunState | "coming" | undefined;

export interface Driver {
  /** The port for a run to be started; `last` is the one before it, 0 for none. Rejects when there is none to be had. */
  port(run: RunSpec, last: number): Promise<number>;
  launch(asked: RunRequest): void;
  /**
   * A run of a core before this one. `wasUp` tells where it was when it was last up. "coming": news will follow;
   * undefined: nobody knows of it.
   */
  adopt(asked: RunRequest, wasUp: { readonly address: string; readonly port: number } | null): Adopted;
  /** SIGTERM is the gentle way, whatever signal that is; `graceMs` later SIGKILL will be said. */
  kill(id: string, signal: "SIGTERM" | "SIGKILL", graceMs: Millis): void;
  /** It has ended, and that is known: nothing of it need be kept. */
  forget(id: string): void;
  /** The verdict of its own health check, where it has one. */
  health(id: string): CheckResult;
}

/** What a driver tells. */
export interface DriverEvents {
  /** It is up, or has ended. */
  news(state: RunState): void;
  /** What it is at, or what hinders it; "" for nothing worth saying. */
  note(id: string, words: string): void;
}

/** Apps on loopback: their traffic comes through the sidecar. */
export const APP_ADDRESS = "127.0.0.1";

/** What every app is told, however it is run. */
export const ownVariables = (
  { service, version, instance }: Pick<RunRequest, "service" | "version" | "instance">,
  host: string,
  listen: { readonly address: string; readonly port: number },
): Readonly<Record<string, string>> => ({
  PORT: String(listen.port),
  HOST: listen.address,
  BATON_SERVICE: service,
  BATON_VERSION: version,
  BATON_INSTANCE: instance,
  BATON_HOST: host,
});
