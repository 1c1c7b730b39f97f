/**
 * Which endpoint a request goes to: first the version by its share, then of two random endpoints the one with less in
 * flight (P2C). Picking claims: the count is up before anything else can pick.
 *
 * Answers  picked; "none": nothing serves; "refused": all that serve are at their bound; "tried": all that serve have
 *          failed this very request already. Three different troubles, three different remedies.
 * Source   Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
 * Cost     two random numbers; no allocation. Only where something is ejected, tried or full are all looked at.
 */
import { pickShare } from "../../proto/contract/split.ts";
import type { Random } from "../../proto/kernel/random.ts";
import type { Millis } from "../../proto/kernel/clock.ts";
import type { Endpoint } from "./endpoint.ts";

export type NotPicked = "none" | "refused" | "tried";

/** A version's endpoints that take new requests. */
export interface Share {
  readonly weight: number;
  readonly endpoints: readonly Endpoint[];
}

export class Picker {
  /** Only versions that have a weight and something serving; oldest first, newest last, as split.ts wants them. */
  readonly #shares: readonly Share[];
  readonly #weights: readonly number[];
  readonly #whole: number;
  readonly #ejectPercent: number;

  constructor(shares: readonly Share[], ejectPercent: number) {
    this.#shares = shares.filter((share) => share.weight > 0 && share.endpoints.length > 0);
    this.#weights = this.#shares.map((share) => share.weight);
    this.#whole = this.#weights.reduce((sum, weight) => sum + weight, 0);
    this.#ejectPercent = ejectPercent;
  }

  /** `tried` are endpoints that failed this request. What is returned has been claimed: its `inFlight` counts it. */
  pick(random: Random, now: Millis, tried: readonly Endpoint[]): Endpoint | NotPicked {
    const { length } = this.#shares;
    if (length === 0) return "none";
    const first = length === 1 ? 0 : pickShare(this.#weights, Math.floor(random.next() * this.#whole));
    let answer: NotPicked = "tried";
    for (let i = 0; i < length; i++) {
      const share = this.#shares[(first + i) % length] as Share;
      const found = this.#among(share.endpoints, random, now, tried);
      if (typeof found !== "string") {
        found.inFlight += 1;
        return found;
      }
      if (found === "refused") answer = found;
    }
    return answer;
  }

  #among(
    endpoints: readonly Endpoint[],
    random: Random,
    now: Millis,
    tried: readonly Endpoint[],
  ): Endpoint | NotPicked {
    const { length } = endpoints;
    const a = length === 1 ? 0 : Math.floor(random.next() * length);
    const one = endpoints[a] as Endpoint;
    if (length === 1) return able(one, now, tried) ? one : this.#survey(endpoints, random, now, tried);
    const b = (a + 1 + Math.floor(random.next() * (length - 1))) % length;
    const two = endpoints[b] as Endpoint;
    if (!able(one, now, tried) || !able(two, now, tried)) return this.#survey(endpoints, random, now, tried);
    return better(one, two, random, now);
  }

  /** The slow way: something is amiss with one of the two, so everyone is asked. */
  #survey(
    endpoints: readonly Endpoint[],
    random: Random,
    now: Millis,
    tried: readonly Endpoint[],
  ): Endpoint | NotPicked {
    const fresh = endpoints.filter((endpoint) => !tried.includes(endpoint));
    if (fresh.length === 0) return "tried";
    const open = fresh.filter((endpoint) => !endpoint.full);
    if (open.length === 0) return "refused";
    // Panic: with more than its cap ejected, a version is not sick in parts; everyone gets a try (Envoy's threshold).
    const ejected = endpoints.reduce((count, endpoint) => count + (endpoint.ejected(now) ? 1 : 0), 0);
    const panic = ejected * 100 > endpoints.length * this.#ejectPercent;
    const well = panic ? open : open.filter((endpoint) => !endpoint.ejected(now));
    const from = well.length > 0 ? well : open;
    const a = Math.floor(random.next() * from.length);
    const b = (a + 1) % from.length;
    return better(from[a] as Endpoint, from[b] as Endpoint, random, now);
  }
}

const able = (endpoint: Endpoint, now: Millis, tried: readonly Endpoint[]): boolean =>
  !endpoint.ejected(now) && !endpoint.full && (tried.length === 0 || !tried.includes(endpoint));

function better(one: Endpoint, two: Endpoint, random: Random, now: Millis): Endpoint {
  const preferred = two.inFlight < one.inFlight ? two : one;
  const other = preferred === one ? two : one;
  const warmth = preferred.warmth(now);
  return warmth < 1 && random.next() > warmth && other.warmth(now) >= warmth ? other : preferred;
}
