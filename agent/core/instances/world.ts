/** What an instance is given of the world: one narrow record, which tests fill in. */
import type { Clock } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import type { Random } from "../../../proto/kernel/random.ts";
import type { OutputFiles } from "../drivers/output.ts";
import type { PickPort } from "../drivers/process.ts";
import type { KeeperLink } from "../keeper-link.ts";
import type { Check } from "../probes/check.ts";

export interface InstanceWorld {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly check: Check;
  readonly pickPort: PickPort;
  readonly output: OutputFiles;
  readonly link: Pick<KeeperLink, "launch" | "kill" | "forget">;
  /** This agent's name, and what apps inherit of its environment. */
  readonly host: string;
  readonly environment: Readonly<Record<string, string>>;
  /** The agent is stopping: what ends now is not started again. */
  stopping(): boolean;
  /** Something that plan, table or report are made from is another now. */
  changed(): void;
  /** A process is about to be launched: records must be on disk when this returns. */
  launching(): void;
  /** An exit that nobody asked for. */
  exited(service: string, message: string): void;
}
