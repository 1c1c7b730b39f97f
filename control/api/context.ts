/** What every call of the operators' API may use. */
import type { Log } from "../../proto/kernel/log.ts";
import type { Ground, Role } from "../desk.ts";
import type { Loop } from "../loop.ts";
import type { Operations } from "../operations.ts";
import type { Shown } from "./wire-views.ts";

export interface OperatorContext extends Shown {
  readonly operations: Operations;
  readonly loop: Loop;
  readonly log: Log;
  readonly ground: Ground;
  readonly role: Role;
  /** Aborts when the controller stops, or leads or follows no more: streams are ended then. */
  readonly stopping: AbortSignal;
}
