/** What every exchange of one worker shares, above its ground. One object, made by proxy.ts. */
import type { AccessLog } from "./access-log.ts";
import type { Ground } from "./ground.ts";
import type { Out } from "./http1/out.ts";
import type { RequestHead } from "./http1/request.ts";
import type { ResponseHead } from "./http1/response.ts";
import type { Mirrors } from "./mirror/mirrors.ts";
import type { Subject } from "./subject.ts";
import type { Table } from "./table.ts";

export interface Context extends Ground {
  readonly accessLog: AccessLog;
  /** Heads are read and written on within one callback, so one of each serves all connections. */
  readonly request: RequestHead;
  readonly response: ResponseHead;
  /** The head that is being routed, as matches see it. */
  readonly subject: Subject;
  readonly mirrors: Mirrors;
  /** What goes out at once. */
  readonly scratch: Out;
  /** Images of requests that are over, for the next ones (http1/out.ts). */
  readonly images: Out[];
  table: Table;
  /** When the worker began to take leave (wheel time): every answer says `Connection: close`. -1: it does not. */
  drainingSince: number;
  /** Nobody listens in its place: idle clients are parted from soon, not when they would be anyhow. */
  hurry: boolean;
  /** Exchanges that run, and of these the ones that are being sent again: the retry budget (R16). */
  active: number;
  retrying: number;
  /** Bytes of bodies that are kept for sending again, over all exchanges. */
  kept: number;
}
