/** What every call of the operators' API may use. */
import type { Log } from "../../proto/kernel/log.ts";
import type { Loop } from "../loop.ts";
import type { Operations } from "../operations.ts";
import type { Token } from "./auth.ts";
import type { Shown } from "./wire-views.ts";

export interface OperatorContext extends Shown {
  readonly operations: Operations;
  readonly loop: Loop;
  readonly log: Log;
  readonly token: Token;
  readonly software: string;
  readonly startedAtMs: number;
  /** Aborts when the controller stops: streams are ended then. */
  readonly stopping: AbortSignal;
}
