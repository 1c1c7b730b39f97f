/** What an instance is given of the world: one narrow record, which tests fill in. */
import type { RunSpec } from "../../../proto/contract/spec/types.ts";
import type { Clock } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import type { Random } from "../../../proto/kernel/random.ts";
import type { Driver, DriverEvents } from "../drivers/driver.ts";
import type { OutputFiles } from "../drivers/output.ts";
import type { ProcessWorld } from "../drivers/process.ts";
import type { Check } from "../probes/check.ts";

export interface InstanceWorld {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly check: Check;
  readonly output: OutputFiles;
  driver(run: RunSpec): Driver;
  /** The agent is stopping: what ends now is not started again. */
  stopping(): boolean;
  /** Something that plan, table or report are made from is another now. */
  changed(): void;
  /** A run is about to be launched, or can be reached elsewhere: records must be on disk when this returns. */
  remember(): void;
  /** An exit that nobody asked for. */
  exited(service: string, message: string): void;
}

/** What drivers are made of beside it. */
export interface DriverGround extends ProcessWorld {
  /** Containers can be run here. */
  readonly docker?: (events: DriverEvents, boot: string) => Driver;
  /** The keeper's. */
  readonly boot: string;
}
