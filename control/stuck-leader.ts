/**
 * A server that leads a stream of JetStream's, says so, and takes no write any more: nats-server 2.9.10 after it, or another
 * one, had stood still (seen: for minutes, with all three servers there). When no write has been answered for so long,
 * another server is asked to lead.
 *
 * Errors  none: it may not be asked for, or there is no other; whoever writes tells of the trouble.
 */
import { Empty } from "nats";
import type { NatsConnection } from "nats";
import { timedOut } from "../proto/contract/nats-errors.ts";
import type { NatsLink } from "../proto/contract/nats-link.ts";
import type { Clock, Millis } from "../proto/kernel/clock.ts";
import type { Log } from "../proto/kernel/log.ts";

/** Longer than an election takes. */
const SILENT_MS: Millis = 10_000;
const ANSWER_MS: Millis = 2_000;

export interface StuckLeaderOptions {
  readonly link: NatsLink;
  readonly stream: string;
  readonly clock: Clock;
  readonly log: Log;
}

export class StuckLeader {
  readonly #o: StuckLeaderOptions;
  /** Monotonic: the first write that was not answered, none having been since. */
  #since: Millis | null = null;

  constructor(options: StuckLeaderOptions) {
    this.#o = options;
  }

  answered(): void {
    this.#since = null;
  }

  /** Whoever says no has answered. */
  failed(error: unknown): void {
    if (timedOut(error)) this.#unanswered();
    else this.answered();
  }

  #unanswered(): void {
    const { link, stream, clock, log } = this.#o;
    const now = clock.monotonic();
    this.#since ??= now;
    if (now - this.#since < SILENT_MS || !link.connected) return;
    this.#since = null;
    const why = `the server that leads ${stream} has answered no write for ${SILENT_MS / 1_000} s`;
    void stepDown(link.connection, stream).then((done) => {
      if (done) log.warn({}, `${why}; another one leads it now`);
      else log.warn({}, `${why}, and no other one could be asked to lead it`);
    });
  }
}

/** One a stream, for as long as this process is: stores are opened and closed while a server is stuck. */
export class StuckLeaders {
  readonly #o: Omit<StuckLeaderOptions, "stream">;
  readonly #known = new Map<string, StuckLeader>();

  constructor(options: Omit<StuckLeaderOptions, "stream">) {
    this.#o = options;
  }

  of(stream: string): StuckLeader {
    const known = this.#known.get(stream) ?? new StuckLeader({ ...this.#o, stream });
    this.#known.set(stream, known);
    return known;
  }
}

/** Asks for another server to lead it. False: there is no other, or it may not be asked for. */
export async function stepDown(connection: NatsConnection, stream: string): Promise<boolean> {
  const subject = `$JS.API.STREAM.LEADER.STEPDOWN.${stream}`;
  const answer = await connection
    .request(subject, Empty, { timeout: ANSWER_MS })
    .then((message) => message.json<{ readonly success?: boolean }>())
    .catch(() => ({ success: false }));
  return answer.success === true;
}
