/**
 * The words between the keeper and its children, over Node's IPC channel, JSON. The keeper understands only these; what
 * core and workers say to each other it passes on unread (`relay`).
 *
 *   core   → keeper   bind, unbind, generation, table, launch, kill, forget, taken, relay, stopping, shutdown
 *   keeper → core     state (once, first), bound, generation, process, worker, worker-exited, relayed, leftovers-gone,
 *                     hup, stopping
 *   keeper → worker   start (once, first), table, drain, relayed
 *   worker → keeper   serving, tabled, relay (always to the core)
 *
 * What the keeper holds outlives the core: listeners, workers, app processes, and the last table, which it hands to a
 * worker that it starts again by itself, so that traffic goes on while there is no core.
 *
 * Order    the keeper carries out a core's commands one after another, in the order they came.
 * Again    every command may be said twice: listeners go by name, processes by id, so a new core that does not know how
 *          far the one before it came may say all of it again. Unknown ids are dropped; so is what is for a dead worker.
 * Signals  are the keeper's: core and workers ignore TERM, INT and HUP, and leave when their channel closes.
 */

import type { NatsOptions } from "../../proto/contract/nats.ts";

/** What `baton agent` was told on its command line, complete and checked; the core gets it in `state`. No secrets. */
export interface AgentOptions {
  readonly name: string;
  /** Absolute; exists, and belongs to this agent alone. The keeper's own files in it are `keeper/*`. */
  readonly stateDir: string;
  /** Where the desired state comes from. Files are absolute paths. */
  readonly source:
    | { readonly kind: "static"; readonly files: readonly string[] }
    /** Any of them will do; at least one. */
    | { readonly kind: "controller"; readonly controllers: readonly ControllerAddress[] }
    | { readonly kind: "nats"; readonly nats: NatsOptions };
  readonly role: "host" | "gateway";
  readonly labels: Readonly<Record<string, string>>;
  /** Where others reach this agent's inbound listeners; also what these bind to. An IP address. */
  readonly address: string;
  /** declared: inbound listeners take the port of the service's spec. assigned: the kernel's choice, kept and reported. */
  readonly inboundPorts: "declared" | "assigned";
  readonly admin: { readonly host: string; readonly port: number };
  readonly workers: number;
  readonly logLevel: "debug" | "info" | "warn" | "error" | "silent";
  /** One JSON line a request, written by the workers; null for none. */
  readonly accessLog: string | null;
  /** Holds the token for the controller; read by the core. */
  readonly tokenFile: string | null;
  /** The way to controllers and NATS servers is safe for plain text: a VPN, an encrypted overlay. Loopback always is. */
  readonly trustNetwork: boolean;
  /** From SIGTERM to the end, at most. */
  readonly stopTimeoutMs: number;
  /** The socket of this network namespace's pod. With one, the agent's end is not its host's: containers stay. */
  readonly pod?: string;
}

export interface ControllerAddress {
  readonly host: string;
  readonly port: number;
}

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
  /**
   * Generations to come don't get these. Workers that have them go on accepting until they drain; when the last of them
   * has said `released`, or has gone, the keeper closes its own descriptor: what connects then is refused. A `bind` of the
   * same address before that takes it up again.
   */
  | { readonly type: "unbind"; readonly names: readonly string[] }
  /**
   * Starts a new generation of workers on all bound listeners with the newest table; once all of them serve, the older
   * ones drain. Answered by `generation`. One that is asked for while another is still coming replaces it.
   */
  | { readonly type: "generation"; readonly workers: number }
  /** The newest table, kept for workers to come and sent to those that live. */
  | { readonly type: "table"; readonly table: unknown }
  | { readonly type: "launch"; readonly process: ProcessSpec }
  | { readonly type: "kill"; readonly id: string; readonly signal: "SIGTERM" | "SIGKILL" }
  | { readonly type: "forget"; readonly id: string }
  /** The dead worker's counts are taken in: its statistics file may go. */
  | { readonly type: "taken"; readonly worker: number }
  | { readonly type: "relay"; readonly worker: number; readonly body: unknown }
  /** Answer to the keeper's `stopping`: it is on it, and `shutdown` will follow. */
  | { readonly type: "stopping" }
  /**
   * The core has stopped all that it wants stopped; the keeper drains the workers, ends what is left, and exits with
   * `code`. Also unasked: a core that can never begin (bad static file at the first start) ends the agent so.
   */
  | { readonly type: "shutdown"; readonly code: number };

export type KeeperToCore =
  | {
      readonly type: "state";
      readonly options: AgentOptions;
      /** New at every start of the keeper. */
      readonly boot: string;
      readonly listeners: readonly BoundListener[];
      readonly workers: readonly WorkerState[];
      /** Workers of a keeper that was killed still carry what they had, until `leftovers-gone`. */
      readonly leftovers: boolean;
      /** The core of a keeper that was killed may still have the admin server's port. */
      readonly coreLeft: boolean;
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
  /** All its workers serve and the older ones drain; or it is given up, and the one before goes on. */
  | { readonly type: "generation"; readonly generation: number; readonly error: string | null }
  | { readonly type: "process"; readonly process: ProcessState }
  | { readonly type: "worker"; readonly worker: WorkerState }
  | { readonly type: "worker-exited"; readonly worker: DeadWorker }
  | { readonly type: "relayed"; readonly worker: number; readonly body: unknown }
  | { readonly type: "leftovers-gone" }
  /** SIGHUP reached the agent: read again what is on disk. */
  | { readonly type: "hup" }
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
      readonly agent: string;
      readonly logLevel: AgentOptions["logLevel"];
      readonly accessLog: string | null;
      /** Descriptors inherited at these numbers, by listener key. */
      readonly listeners: readonly { readonly key: string; readonly fd: number }[];
      /** The newest that no worker has refused; null before the first. */
      readonly table: unknown;
      /** The keeper's own count of tables, for `tabled`. */
      readonly number: number;
    }
  | { readonly type: "table"; readonly table: unknown; readonly number: number }
  /**
   * Accept nothing more; finish; leave. `hurry`: the agent is ending, and idle clients are parted from soon. Without it
   * others listen in its place, and idle clients are waited for as ever. May be said again with more hurry.
   */
  | { readonly type: "drain"; readonly hurry: boolean }
  | { readonly type: "relayed"; readonly body: unknown };

export type WorkerToKeeper =
  /** It accepts on every listener it was given and has a table: the older generation may drain. */
  | { readonly type: "serving" }
  /** Whether it took the table of that number. One that was refused is not handed to a worker started later. */
  | { readonly type: "tabled"; readonly number: number; readonly ok: boolean }
  /** Said behind `drain`: it accepts nothing more, and its listening descriptors are closed. */
  | { readonly type: "released" }
  | { readonly type: "relay"; readonly body: unknown };

/** What core and worker say to each other through the keeper. */
export type WorkerToCore =
  | { readonly kind: "applied"; readonly sequence: number }
  | { readonly kind: "rejected"; readonly sequence: number; readonly why: string }
  | { readonly kind: "connections"; readonly request: number; readonly list: readonly unknown[] }
  /** R6: seen by traffic before any probe. */
  | { readonly kind: "endpoint-failed"; readonly endpoint: string; readonly error: string };
export type CoreToWorker = { readonly kind: "list-connections"; readonly request: number; readonly limit: number };
