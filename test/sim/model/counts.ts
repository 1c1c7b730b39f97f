/** What the books would say of the traffic since a rollout began: per version, over the fleet and by groups of hosts. */
import type { VersionTraffic } from "../../../control/model/view.ts";

export type Traffic = Readonly<Record<string, VersionTraffic>>;
interface Count {
  requests: number;
  errors: number;
  readonly latency: Map<number, number>;
}
type Counted = Map<string, Count>;

interface Told {
  readonly traffic: Traffic;
  readonly strata: Readonly<Record<string, Traffic>>;
}

export class Counts {
  unexplainedLosses = 0;
  readonly #all: Counted = new Map();
  readonly #strata = new Map<string, Counted>();
  #told: Told | null = null;
  readonly #stratumOf: (host: string) => string;

  constructor(stratumOf: (host: string) => string) {
    this.#stratumOf = stratumOf;
  }

  /** A rollout begins. */
  clear(): void {
    this.unexplainedLosses = 0;
    this.#all.clear();
    this.#strata.clear();
    this.#told = null;
  }

  add(version: string, host: string, requests: number, errors: number, bucket: number): void {
    this.#told = null;
    const stratum = this.#stratumOf(host);
    let part = this.#strata.get(stratum);
    if (part === undefined) this.#strata.set(stratum, (part = new Map<string, Count>()));
    for (const counted of [this.#all, part]) {
      let one = counted.get(version);
      if (one === undefined) counted.set(version, (one = { requests: 0, errors: 0, latency: new Map() }));
      one.requests += requests;
      one.errors += errors;
      one.latency.set(bucket, (one.latency.get(bucket) ?? 0) + requests);
    }
  }

  traffic(): Traffic {
    return this.#tell().traffic;
  }

  strata(): Readonly<Record<string, Traffic>> {
    return this.#tell().strata;
  }

  unexplained(): number {
    return this.unexplainedLosses;
  }

  #tell(): Told {
    this.#told ??= {
      traffic: told(this.#all),
      strata: Object.fromEntries([...this.#strata].map(([stratum, counted]) => [stratum, told(counted)])),
    };
    return this.#told;
  }
}

function told(counted: Counted): Traffic {
  return Object.fromEntries(
    [...counted].map(([version, { requests, errors, latency }]) => [
      version,
      { requests, errors, lost: 0, latency: [...latency].sort(([a], [b]) => a - b) },
    ]),
  );
}
