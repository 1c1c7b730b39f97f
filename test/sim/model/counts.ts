/** What the books would say of the traffic since a rollout began: per version, over the fleet. */
import type { VersionTraffic } from "../../../control/model/view.ts";

export type Traffic = Readonly<Record<string, VersionTraffic>>;
interface Count {
  requests: number;
  errors: number;
  readonly latency: Map<number, number>;
}

export class Counts {
  unexplainedLosses = 0;
  readonly #counted = new Map<string, Count>();
  #told: Traffic | null = null;

  /** A rollout begins. */
  clear(): void {
    this.unexplainedLosses = 0;
    this.#counted.clear();
    this.#told = null;
  }

  add(version: string, requests: number, errors: number, bucket: number): void {
    this.#told = null;
    let one = this.#counted.get(version);
    if (one === undefined) this.#counted.set(version, (one = { requests: 0, errors: 0, latency: new Map() }));
    one.requests += requests;
    one.errors += errors;
    one.latency.set(bucket, (one.latency.get(bucket) ?? 0) + requests);
  }

  traffic(): Traffic {
    this.#told ??= Object.fromEntries(
      [...this.#counted].map(([version, { requests, errors, latency }]) => [
        version,
        { requests, errors, lost: 0, latency: [...latency].sort(([a], [b]) => a - b) },
      ]),
    );
    return this.#told;
  }

  unexplained(): number {
    return this.unexplainedLosses;
  }
}
