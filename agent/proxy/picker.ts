/**
 * Which endpoint a request goes to: first the version, then of two random endpoints of it the one with less in flight
 * (P2C). Picking claims: the count is up before anything else can pick.
 *
 * Version  the one of the route that took the request; else where the caller's sticky point lies in the weights as they
 *          were asked for; else by chance. One that has nobody to take it leaves its requests to the others: the points
 *          of its callers, and theirs alone, are laid out anew over the versions that can. A request keeps its version
 *          from attempt to attempt, as long as one of its endpoints has not failed it, and then goes to another.
 * Weight 0 is for routes and mirrors alone: ordinary requests never get there, not even when nobody else is there.
 * Answers  picked; "none": nothing serves; "refused": all that serve are at their bound; "tried": all that serve have
 *          failed this very request already. Three different troubles, three different remedies.
 * Source   Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
 * Cost     two or three random numbers; no allocation. Only where something is ejected, tried or full are all looked at.
 */
import { pickShare } from "../../proto/contract/split.ts";
import { WHOLE } from "../../proto/contract/units.ts";
import type { Random } from "../../proto/kernel/random.ts";
import type { Millis } from "../../proto/kernel/clock.ts";
import type { Endpoint } from "./endpoint.ts";
import { NO_POINT, NO_REVISION } from "./split.ts";
import type { Wanted } from "./split.ts";

export type NotPicked = "none" | "refused" | "tried";

/** A version's endpoints that take new requests. */
export interface Share {
  readonly revision: number;
  /** Of WHOLE. */
  readonly weight: number;
  readonly endpoints: readonly Endpoint[];
}

export class Picker {
  /** Oldest first, newest last, as split.ts wants them: those that have a weight; as numbers; and what they are of. */
  readonly #asked: readonly Share[];
  readonly #askedWeights: readonly number[];
  /** Of these the ones that have something serving. */
  readonly #shares: readonly Share[];
  readonly #weights: readonly number[];
  readonly #whole: number;
  /** Whatever their weight. */
  readonly #byRevision: ReadonlyMap<number, Share>;
  readonly #ejectPercent: number;

  constructor(shares: readonly Share[], ejectPercent: number) {
    const serving = shares.filter(({ endpoints }) => endpoints.length > 0);
    this.#asked = shares.filter(({ weight }) => weight > 0);
    this.#askedWeights = this.#asked.map(({ weight }) => weight);
    this.#shares = serving.filter(({ weight }) => weight > 0);
    this.#weights = this.#shares.map(({ weight }) => weight);
    this.#whole = this.#weights.reduce((sum, weight) => sum + weight, 0);
    this.#byRevision = new Map(serving.map((share) => [share.revision, share]));
    this.#ejectPercent = ejectPercent;
  }

  /** `tried` are endpoints that failed this request. What is returned has been claimed: its `inFlight` counts it. */
  pick(random: Random, now: Millis, tried: readonly Endpoint[], wanted: Wanted): Endpoint | NotPicked {
    const { length } = this.#shares;
    const routed = wanted.revision === NO_REVISION ? null : (this.#byRevision.get(wanted.revision) ?? null);
    if (length === 0 && routed === null) return "none";
    // Where there is only one version, it is this one, well or not; else first one that is well is looked for.
    const found =
      length === 1 && routed === null
        ? this.#among((this.#shares[0] as Share).endpoints, random, now, tried)
        : this.#search(random, now, tried, wanted, routed);
    if (typeof found !== "string") found.inFlight += 1;
    return found;
  }

  /** Where a copy for `revision` may go; nothing is claimed. Null: to nobody that is well. */
  ofRevision(revision: number, random: Random, now: Millis): Endpoint | null {
    const share = this.#byRevision.get(revision);
    if (share === undefined) return null;
    const found = this.#among(share.endpoints, random, now, []);
    return typeof found === "string" || found.ejected(now) || found.believed ? null : found;
  }

  #search(
    random: Random,
    now: Millis,
    tried: readonly Endpoint[],
    wanted: Wanted,
    routed: Share | null,
  ): Endpoint | NotPicked {
    const { length } = this.#shares;
    const first = length > 1 ? this.#first(random, wanted) : 0;
    let answer: NotPicked = "tried";
    // Twice around: the second time an ejected endpoint will do.
    for (const anyone of [false, true]) {
      for (let i = routed === null ? 0 : -1; i < length; i++) {
        const { endpoints } = i === -1 ? (routed as Share) : (this.#shares[(first + i) % length] as Share);
        if (!anyone && !anyWell(endpoints, now, tried)) continue;
        const found = this.#among(endpoints, random, now, tried);
        if (typeof found !== "string") return found;
        if (found === "refused") answer = found;
      }
    }
    return answer;
  }

  /** An index into `#shares`. */
  #first(random: Random, wanted: Wanted): number {
    if (wanted.point === NO_POINT) {
      if (wanted.chance < 0) wanted.chance = random.next();
      return pickShare(this.#weights, Math.floor(wanted.chance * this.#whole));
    }
    const own = this.#asked[pickShare(this.#askedWeights, wanted.point)] as Share;
    const at = this.#shares.indexOf(own);
    return at === -1 ? pickShare(this.#weights, Math.floor((wanted.point * this.#whole) / WHOLE)) : at;
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

function anyWell(endpoints: readonly Endpoint[], now: Millis, tried: readonly Endpoint[]): boolean {
  for (const endpoint of endpoints) if (!endpoint.ejected(now) && !tried.includes(endpoint)) return true;
  return false;
}

function better(one: Endpoint, two: Endpoint, random: Random, now: Millis): Endpoint {
  const preferred = two.inFlight < one.inFlight ? two : one;
  const other = preferred === one ? two : one;
  const warmth = preferred.warmth(now);
  return warmth < 1 && random.next() > warmth && other.warmth(now) >= warmth ? other : preferred;
}
