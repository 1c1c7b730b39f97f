/** What stands under everything in one worker's data path and knows nothing of requests. Made by proxy.ts. */
import type { Clock } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";
import type { Random } from "../../proto/kernel/random.ts";
import type { Limits } from "./limits.ts";
import type { ReadBuffers } from "./sockets.ts";
import type { Stats } from "./stats-writer.ts";
import type { Wheel } from "./wheel.ts";

export interface Ground {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly limits: Limits;
  readonly wheel: Wheel;
  readonly stats: Stats;
  readonly buffers: ReadBuffers;
  readonly onEndpointFailed: (endpoint: string, error: string) => void;
}
