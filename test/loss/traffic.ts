/**
 * Mixed traffic against one address, open loop: arrivals come at their rate whether or not the last ones are answered,
 * so that a stall shows as work piled up and not as a client that politely waited.
 *
 * Units   rate in arrivals a second over the whole mix; a session of WebSockets or event streams is one arrival, its
 *         reconnects come on top. Weights of the mix are relative.
 * Bounds  `maxInFlight` things at once; arrivals beyond it, and those that the client was too late for, are not begun,
 *         counted as `skipped`, and lower the achieved rate.
 * Stops   `stop` begins nothing more, lets everything end, and answers the ledger; streams leave at their next boundary.
 *         It resolves within about `timeoutMs` beyond the longest exchange. Calling it again waits for the same end.
 * Cost    measured at 300 arrivals/s over the default mix: see the table that `main.ts` prints.
 */
import type { Clock, Millis, Timer } from "../../proto/kernel/clock.ts";
import type { Random } from "../../proto/kernel/random.ts";
import type { Target } from "./connection.ts";
import { events } from "./events.ts";
import { KINDS, Ledger } from "./ledger.ts";
import type { ClientLedger, Kind, LossRecord } from "./ledger.ts";
import { Pool } from "./pool.ts";
import { download, get, poll, post, short, upload } from "./requests.ts";
import type { Run } from "./run.ts";
import { websocket } from "./websocket.ts";

export type Mix = Readonly<Record<Kind, number>>;

export const DEFAULT_MIX: Mix = {
  get: 58,
  short: 10,
  post: 12,
  upload: 6,
  download: 6,
  poll: 6,
  websocket: 1,
  events: 1,
};

export interface TrafficOptions {
  readonly target: Target;
  /** `Host` field; the target by default. */
  readonly authority?: string;
  readonly rate: number;
  readonly mix?: Mix;
  readonly clock: Clock;
  readonly random: Random;
  /** The longest rest of a keep-alive connection; 7 s, beyond Node's 5 s (+ 1 s of grace). */
  readonly idlePauseMs?: Millis;
  /** The share of exchanges after which a connection rests; 0.25. */
  readonly idleShare?: number;
  /** Nothing moved on an exchange for so long: lost; 20 s. */
  readonly timeoutMs?: Millis;
  readonly maxInFlight?: number;
  readonly rfcRetry?: boolean;
  readonly resend?: boolean;
  readonly onLoss?: (loss: LossRecord) => void;
}

export interface Traffic {
  snapshot(): ClientLedger;
  stop(): Promise<ClientLedger>;
}

export const ACTIONS: Readonly<Record<Kind, (run: Run) => Promise<void>>> = {
  get,
  short,
  post,
  upload,
  download,
  poll,
  websocket,
  events,
};

/** A debt of arrivals older than this is not worked off in a burst that no one asked for. */
const DEBT_MS = 500;

/** Descriptors are not endless: 1,024 or 4,096 are common limits for what is between. */
const IDLE_MOST = 2_000;

/** All that one exchange needs; `ACTIONS` can be played on it one by one. */
export function newRun(options: Omit<TrafficOptions, "rate">, idleConnections: number, stopping: AbortSignal): Run {
  const { target, clock, random, timeoutMs = 20_000, idlePauseMs = 7_000, idleShare = 0.25 } = options;
  const name = `loss-${Math.floor(random.next() * 2 ** 32).toString(36)}`;
  const ledger = new Ledger(clock, name, options.onLoss);
  return {
    target,
    authority: options.authority ?? `${target.host}:${target.port}`,
    clock,
    random,
    ledger,
    pool: new Pool({ target, clock, random, ledger, timeoutMs, idlePauseMs, idleShare, size: idleConnections }),
    timeoutMs,
    rfcRetry: options.rfcRetry ?? false,
    resend: options.resend ?? false,
    stopping,
  };
}

export function startTraffic(options: TrafficOptions): Traffic {
  const { clock, random, rate, maxInFlight = Math.max(500, 4 * options.rate) } = options;
  const pick = picker(options.mix ?? DEFAULT_MIX, random);
  const stopping = new AbortController();
  // Room for every rest at its longest: a full pool would cut rests short, and no idle timeout would be met.
  const { idlePauseMs = 7_000, idleShare = 0.25 } = options;
  const idleConnections = Math.max(64, Math.ceil(rate * (0.2 + (idleShare * idlePauseMs) / 1_000)));
  const run = newRun(options, Math.min(idleConnections, IDLE_MOST), stopping.signal);
  const { ledger, pool } = run;

  let running = 0;
  let idle: () => void = () => undefined;
  const begin = (): void => {
    if (running >= maxInFlight) {
      ledger.count("skipped");
      return;
    }
    running += 1;
    // A rejection is a defect of this client: left unhandled, it ends the process loudly.
    void ACTIONS[pick()](run).finally(() => {
      running -= 1;
      if (running === 0) idle();
    });
  };

  let due = clock.monotonic();
  let timer: Timer | undefined;
  const tick = (): void => {
    const now = clock.monotonic();
    for (; due <= now; due += ((0.5 + random.next()) * 1_000) / rate) {
      if (now - due > DEBT_MS) ledger.count("skipped");
      else begin();
    }
    timer = clock.after(due - now, tick);
  };
  if (rate > 0) tick();

  let stopped: Promise<ClientLedger> | undefined;
  const end = async (): Promise<ClientLedger> => {
    timer?.cancel();
    ledger.freeze();
    stopping.abort();
    if (running > 0) await new Promise<void>((done) => (idle = done));
    pool.close();
    return ledger.read(rate);
  };
  return { snapshot: () => ledger.read(rate), stop: () => (stopped ??= end()) };
}

/** Kinds in proportion to their weights. */
function picker(mix: Mix, random: Random): () => Kind {
  const sum = KINDS.reduce((total, kind) => total + mix[kind], 0);
  if (!(sum > 0)) throw new RangeError("the mix has no weight above 0");
  return () => {
    let point = random.next() * sum;
    return KINDS.find((kind) => (point -= mix[kind]) < 0) ?? "get";
  };
}
