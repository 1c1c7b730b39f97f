/**
 * The words between the keeper and its children, over Node's IPC channel, JSON. The keeper understands only these; what
 * core and workers say to each other it passes on unread (`relay`).
 *
 *   core   → keeper   bind, unbind, generation, table, launch, kill, forget, taken, relay, shutdown
 *   keeper → core     state (once, at the core's start), bound, process, worker, worker-exited, relayed, stopping
 *   keeper → worker   start (once), table, drain, relayed
 *   worker → keeper   serving, relay (always to the core)
 *
 * What the keeper holds outlives the core: listeners, workers, app processes, and the last table, which it hands to a
 * worker that it starts again by itself, so that traffic goes on while there is no core.
 */

/** A process that the keeper started for the core. */
export interface ProcessSpec {
  readonly id: string;
  readonly command: readonly string[];
  readonly cwd: string;
  /** The whole environment; nothing is inherited that is not named here. */
  readonly env: Readonly<Record<string, string>>;
  /** stdout and stderr are appended to this file by the process itself, so that no death of ours breaks its pipes. */
  readonly outputFile: string;
}

export interface ExitInfo {
  readonly code: number | null;
  readonly signal: string | null;
  readonly atMs: number;
}

export interface ProcessState {
  readonly spec: ProcessSpec;
  readonly pid: number;
  readonly startedAtMs: number;
  /** Set once it has ended; kept until the core says `forget`. */
  readonly exit: ExitInfo | null;
  /** Set when it could not be executed at all: "ENOENT: no such file: ./server". */
  readonly error: string | null;
}

export interface WorkerState {
  readonly id: number;
  readonly pid: number;
  readonly generation: number;
  /** starting → serving (listens and has a table) → draining (accepts nothing) → gone. */
  readonly phase: "starting" | "serving" | "draining";
  readonly statsFile: string;
}

export interface BoundListener {
  /** `address:port` as really bound. */
  readonly key: string;
  readonly address: string;
  readonly port: number;
  /** The core's own name for it, stable over restarts: "shop/0". */
  readonly name: string;
}

export type CoreToKeeper =
  /** Binds what is not yet bound; answers `bound` for each name. Does not touch the others. */
  | {
      readonly type: "bind";
      readonly listeners: readonly { readonly name: string; readonly address: string; readonly port: number }[];
    }
  /** Closes the keeper's descriptor; to be said only when no worker listens on it any more. */
  | { readonly type: "unbind"; readonly names: readonly string[] }
  /** Starts a new generation of workers on all bound listeners with the newest table; once they serve, the older ones drain. */
  | { readonly type: "generation"; readonly workers: number }
  /** The newest table, kept for workers to come and sent to those that live. */
  | { readonly type: "table"; readonly table: unknown }
  | { readonly type: "launch"; readonly process: ProcessSpec }
  | { readonly type: "kill"; readonly id: string; readonly signal: "SIGTERM" | "SIGKILL" }
  | { readonly type: "forget"; readonly id: string }
  /** The dead worker's counts are taken in: its statistics file may go. */
  | { readonly type: "taken"; readonly worker: number }
  | { readonly type: "relay"; readonly worker: number; readonly body: unknown }
  /** The core has stopped all that it wants stopped; the keeper drains the workers, ends what is left, and exits. */
  | { readonly type: "shutdown" };

export type KeeperToCore =
  | {
      readonly type: "state";
      readonly boot: string;
      readonly listeners: readonly BoundListener[];
      readonly workers: readonly WorkerState[];
      /** Statistics files of workers that ended, not yet taken in by a core. */
      readonly deadWorkers: readonly DeadWorker[];
      readonly processes: readonly ProcessState[];
      /** The last table as the core before had sent it, or null. */
      readonly table: unknown;
    }
  | {
      readonly type: "bound";
      readonly name: string;
      readonly listener: BoundListener | null;
      readonly error: string | null;
    }
  | { readonly type: "process"; readonly process: ProcessState }
  | { readonly type: "worker"; readonly worker: WorkerState }
  | { readonly type: "worker-exited"; readonly worker: DeadWorker }
  | { readonly type: "relayed"; readonly worker: number; readonly body: unknown }
  /** SIGTERM or SIGINT reached the agent: finish and say `shutdown`. A second one is not waited for. */
  | { readonly type: "stopping"; readonly signal: string };

export interface DeadWorker {
  readonly id: number;
  readonly generation: number;
  readonly statsFile: string;
  readonly exit: ExitInfo;
  /** false: it drained and left by itself; true: it was killed or crashed, and what it had in flight is cut. */
  readonly died: boolean;
}

export type KeeperToWorker =
  | {
      readonly type: "start";
      readonly id: number;
      readonly generation: number;
      readonly statsFile: string;
      /** Descriptors inherited at these numbers, by listener key. */
      readonly listeners: readonly { readonly key: string; readonly fd: number }[];
      readonly table: unknown;
    }
  | { readonly type: "table"; readonly table: unknown }
  /** Accept nothing more; finish; leave. */
  | { readonly type: "drain" }
  | { readonly type: "relayed"; readonly body: unknown };

export type WorkerToKeeper =
  /** It accepts on every listener it was given and has a table: the older generation may drain. */
  { readonly type: "serving" } | { readonly type: "relay"; readonly body: unknown };

/** What core and worker say to each other through the keeper. */
export type WorkerToCore =
  | { readonly kind: "applied"; readonly sequence: number }
  | { readonly kind: "rejected"; readonly sequence: number; readonly why: string }
  | { readonly kind: "connections"; readonly request: number; readonly list: readonly unknown[] }
  /** R6: seen by traffic before any probe. */
  | { readonly kind: "endpoint-failed"; readonly endpoint: string; readonly error: string };
export type CoreToWorker = { readonly kind: "list-connections"; readonly request: number; readonly limit: number };
