/**
 * What the probes say of one running instance: ready or not, since when, and whether it must be started again.
 *
 * Without `health` in the spec: an external instance counts as ready; a process is ready when its port takes connections.
 * Liveness is asked only once it has been ready, so that a slow start is not taken for a hang.
 */
import type { HealthSpec, ProbeSpec } from "../../../proto/contract/spec/types.ts";
import type { Clock, Millis } from "../../../proto/kernel/clock.ts";
import type { Random } from "../../../proto/kernel/random.ts";
import type { Check } from "./check.ts";
import { ProbeLoop } from "./probe-loop.ts";

/** For a process without `health`. */
const ACCEPTS: ProbeSpec = {
  kind: "tcp",
  path: "",
  intervalMs: 2_000,
  timeoutMs: 1_000,
  healthyThreshold: 1,
  unhealthyThreshold: 3,
};

export interface HealthOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly check: Check;
  readonly address: string;
  readonly port: number;
  readonly health: HealthSpec | null;
  readonly external: boolean;
  /** Another core had it in service: believed until a probe says otherwise, so that our restart empties no table. */
  readonly assumeReady: boolean;
  readonly changed: () => void;
  readonly dead: (why: string) => void;
}

export class Health {
  ready: boolean;
  wasReady: boolean;
  /** Wall clock; 0 while it is not ready. */
  sinceMs: Millis;
  /** Of the newest failure; "" when the newest answer was good. */
  why = "";
  readonly #options: HealthOptions;
  readonly #readiness: ProbeLoop | undefined;
  #liveness: ProbeLoop | undefined;
  #stopped = false;

  constructor(options: HealthOptions) {
    this.#options = options;
    const spec = options.health?.readiness ?? (options.external ? null : ACCEPTS);
    this.ready = spec === null || options.assumeReady;
    this.wasReady = this.ready;
    this.sinceMs = this.ready ? options.clock.now() : 0;
    if (spec !== null) {
      this.why = this.ready ? "" : "readiness: not asked yet";
      this.#readiness = new ProbeLoop({
        ...options,
        spec,
        healthy: this.ready,
        changed: (healthy, why) => this.#changed(healthy, why),
        answered: (why) => (this.why = why === "" ? "" : `readiness: ${why}`),
      });
    }
    if (this.ready) this.#watchLiveness();
  }

  suspect(): void {
    this.#readiness?.suspect();
    this.#liveness?.suspect();
  }

  stop(): void {
    this.#stopped = true;
    this.#readiness?.stop();
    this.#liveness?.stop();
  }

  #changed(healthy: boolean, why: string): void {
    this.ready = healthy;
    this.sinceMs = healthy ? this.#options.clock.now() : 0;
    this.why = healthy ? "" : `readiness: ${why}`;
    if (healthy && !this.wasReady) {
      this.wasReady = true;
      this.#watchLiveness();
    }
    this.#options.changed();
  }

  #watchLiveness(): void {
    const spec = this.#options.health?.liveness ?? null;
    if (spec === null || this.#stopped) return;
    this.#liveness = new ProbeLoop({
      ...this.#options,
      spec,
      healthy: true,
      changed: (healthy, why) => {
        if (!healthy) this.#options.dead(`liveness: ${why}`);
      },
      answered: () => undefined,
    });
  }
}
