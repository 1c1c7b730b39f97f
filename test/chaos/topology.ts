/**
 * A cluster as the harness sees it: parts that can be struck, the ways between them, and how operators reach it. What it
 * consists of is the topology's (embedded.ts, nats.ts); the rest of the harness knows no difference.
 */
import type { RelayMode } from "../support/relay.ts";
import type { StallingDisk } from "../support/stalling-disk.ts";
import type { SteppedClock } from "../support/stepped-clock.ts";
import type { Operators } from "./operators.ts";
import type { Part } from "./part.ts";
import type { Roster } from "./schedule.ts";

/** One part's way to the others, whatever it consists of. */
export interface Link {
  set(mode: RelayMode): void;
}

export interface NatsPart {
  readonly name: string;
  readonly running: boolean;
  /** JetStream is on and current. */
  healthy(): Promise<boolean>;
  kill(): Promise<void>;
  restart(): Promise<void>;
  stop(): void;
  cont(): void;
}

export interface Topology extends AsyncDisposable {
  readonly roster: Roster;
  readonly controllers: readonly Part[];
  /** Gateways first. */
  readonly agents: readonly Part[];
  readonly nats: readonly NatsPart[];
  /** By part; what this machine can't give is not there. */
  readonly links: ReadonlyMap<string, Link>;
  readonly disks: ReadonlyMap<string, StallingDisk>;
  readonly clocks: ReadonlyMap<string, SteppedClock>;
  readonly operators: Operators;
  /** Of the service under test. */
  readonly port: number;
  readonly asidePort: number;
  /** In every app's environment: CHAOS_RUN. */
  readonly run: string;
  readonly folder: string;
  /** What faults can't be had here, a sentence each. */
  readonly missing: readonly string[];
  /** The server that leads the store's stream. */
  natsLeader(): Promise<NatsPart | undefined>;
  /** Ends every part, gently; the folder stays. */
  stop(): Promise<void>;
}
