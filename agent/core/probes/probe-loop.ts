/**
 * One probe of one instance, asked again and again: counts in a row against the thresholds, one question in flight.
 *
 * Pace    `intervalMs` ± 10 %, so that a fleet does not probe in step. Until it was healthy for the first time: every
 *         STARTUP_MS for the first STARTUP_PATIENCE_MS, so that a new version is ready when it says so.
 * R6      `suspect`: traffic to it failed. It is asked at once, and one failure is enough.
 * Errors  none; `changed` tells of each change of mind, with the reason in a few words.
 */
import type { ProbeSpec } from "../../../proto/contract/spec/types.ts";
import type { Clock, Millis, Timer } from "../../../proto/kernel/clock.ts";
import type { Random } from "../../../proto/kernel/random.ts";
import type { Check } from "./check.ts";

const STARTUP_MS = 200;
const STARTUP_PATIENCE_MS = 30_000;
const JITTER = 0.1;

export interface ProbeLoopOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly check: Check;
  readonly spec: ProbeSpec;
  readonly address: string;
  readonly port: number;
  /** What is believed before the first answer. */
  readonly healthy: boolean;
  readonly changed: (healthy: boolean, why: string) => void;
  /** Told of every answer, whether it changes anything or not; "" is a good one. For the instance's `reason`. */
  readonly answered: (why: string) => void;
}

export class ProbeLoop {
  readonly #options: ProbeLoopOptions;
  readonly #startedAt: Millis;
  #healthy: boolean;
  #everHealthy: boolean;
  /** Answers in a row that speak against `#healthy`. */
  #against = 0;
  #suspect = false;
  #asking = false;
  #stopped = false;
  #timer: Timer | undefined;

  constructor(options: ProbeLoopOptions) {
    this.#options = options;
    this.#healthy = options.healthy;
    this.#everHealthy = options.healthy;
    this.#startedAt = options.clock.monotonic();
    // One that is believed healthy keeps its pace: a core that starts again does not ask everybody at once.
    if (options.healthy) this.#wait();
    else this.#timer = options.clock.after(0, () => void this.#ask());
  }

  /** Ask now; while an answer is awaited, the one after it comes at once. */
  suspect(): void {
    this.#suspect = true;
    if (this.#asking || this.#stopped) return;
    this.#timer?.cancel();
    void this.#ask();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #ask(): Promise<void> {
    const { spec, address, port, check } = this.#options;
    const suspected = this.#suspect;
    this.#suspect = false;
    this.#asking = true;
    const { kind, path, timeoutMs } = spec;
    const result = await check({ kind, path, address, port, timeoutMs });
    this.#asking = false;
    if (this.#isStopped()) return;
    const why = result.ok ? "" : result.why;
    this.#options.answered(why);
    this.#count(result.ok, suspected, why);
    this.#wait();
  }

  #count(ok: boolean, suspected: boolean, why: string): void {
    if (ok === this.#healthy) {
      this.#against = 0;
      return;
    }
    const { healthyThreshold, unhealthyThreshold } = this.#options.spec;
    this.#against += 1;
    const enough = ok ? healthyThreshold : suspected ? 1 : unhealthyThreshold;
    if (this.#against < enough) return;
    this.#against = 0;
    this.#healthy = ok;
    this.#everHealthy ||= ok;
    this.#options.changed(ok, why);
  }

  #wait(): void {
    if (this.#isStopped()) return; // `changed` may have stopped it
    const { clock, random, spec } = this.#options;
    const starting = !this.#everHealthy && clock.monotonic() - this.#startedAt < STARTUP_PATIENCE_MS;
    const interval = spec.intervalMs * (1 - JITTER + 2 * JITTER * random.next());
    const delay = this.#suspect ? 0 : starting ? Math.min(STARTUP_MS, interval) : interval;
    this.#timer = clock.after(delay, () => void this.#ask());
  }

  /** A method, so that no reader (nor the compiler) takes the answer from before an `await` for the one after it. */
  #isStopped(): boolean {
    return this.#stopped;
  }
}
