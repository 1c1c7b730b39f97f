/**
 * The attempts of one request to reach an endpoint: what it holds now, which ones have failed it, whether it may be
 * sent once more.
 *
 * Two kinds of "once more" are kept apart. A request of which no byte can have reached an app moves on freely, up to
 * `limits.attempts` (R6). One that was sent is sent again only within the route's `retry.attempts` and the worker's
 * retry budget (R15, R16); whether it is safe at all is for terms.ts.
 */
import type { LossCause } from "../../../proto/contract/report.ts";
import { claimed, released } from "../account.ts";
import type { Context } from "../context.ts";
import type { Endpoint } from "../endpoint.ts";
import type { NotPicked } from "../picker.ts";
import type { Wanted } from "../split.ts";
import type { Service } from "../service.ts";
import { Upstream } from "./upstream.ts";
import type { UpstreamUser } from "./upstream.ts";

/** R16: of the exchanges that run, so many percent may be running again; and so many always. */
const BUDGET_PERCENT = 20;
const BUDGET_LEAST = 3;

export class Tries {
  endpoint: Endpoint | null = null;
  upstream: Upstream | null = null;
  /** Where the exchange is counted: its last endpoint, or its service's own slot; -1 when it is for no service. */
  slot = -1;
  attempts = 0;
  /** The endpoint it was last at, for the log. */
  lastId = "";
  /** An endpoint that it was at was draining when it let go. */
  #draining = false;
  readonly #context: Context;
  readonly #tried: Endpoint[] = [];
  /** No pooled connection any more: one has just proved dead. */
  #fresh = false;
  #resends = 0;
  #resending = false;

  constructor(context: Context) {
    this.#context = context;
  }

  begin(): void {
    this.attempts = this.#resends = 0;
    this.#fresh = this.#draining = false;
    this.slot = -1;
    this.lastId = "";
  }

  /** Picks, claims, and takes a pooled connection or opens one. `upstream` is set unless a reason is answered. */
  next(service: Service, wanted: Wanted, user: UpstreamUser): NotPicked | null {
    const { random, wheel, stats } = this.#context;
    const picked = service.picker.pick(random, wheel.now, this.#tried, wanted);
    if (typeof picked === "string") return picked;
    this.endpoint = picked;
    this.slot = picked.slot;
    this.lastId = picked.id;
    this.attempts += 1;
    claimed(stats, picked.slot);
    const pooled = this.#fresh ? null : picked.takeIdle();
    if (pooled === null) this.upstream = new Upstream(this.#context, picked, user);
    else {
      pooled.user = user;
      this.upstream = pooled;
    }
    return null;
  }

  /** A pooled connection broke: that is its app's right, and says nothing of the app. The next one is a new one. */
  wasStale(): void {
    this.#fresh = true;
  }

  /** The endpoint itself failed this request. */
  blame(refusedConnect: boolean, error: string): void {
    const { endpoint } = this;
    if (endpoint === null) return;
    endpoint.failed(refusedConnect, error);
    this.avoid();
  }

  avoid(): void {
    if (this.endpoint !== null) this.#tried.push(this.endpoint);
  }

  /** The next hop would not take it. With nobody there, others need not ask it for a while either (R6). */
  turnedAway(cause: LossCause): void {
    if (cause === "no_instance") this.endpoint?.failed(true, "no instance serves there now");
    this.avoid();
  }

  /** Every endpoint has failed it: they get another chance after a pause. */
  forgive(): void {
    this.#tried.length = 0;
  }

  get draining(): boolean {
    return this.#draining || this.endpoint?.draining === true;
  }

  get exhausted(): boolean {
    return this.attempts >= this.#context.limits.attempts;
  }

  /** Takes one out of the route's allowance and the worker's budget, if both have it. */
  resend(allowance: number): boolean {
    const context = this.#context;
    if (this.#resends >= allowance || this.exhausted) return false;
    if (!this.#resending) {
      if (context.retrying >= Math.max(BUDGET_LEAST, (context.active * BUDGET_PERCENT) / 100)) return false;
      this.#resending = true;
      context.retrying += 1;
    }
    this.#resends += 1;
    return true;
  }

  /** A jittered pause, longer with every attempt. */
  backoffMs(): number {
    const { limits, random } = this.#context;
    const ceiling = Math.min(limits.backoffMaxMs, limits.backoffBaseMs * 2 ** this.attempts);
    return ceiling / 2 + (random.next() * ceiling) / 2;
  }

  /** Gives back what it holds; `again`: the connection can take another request. */
  letGo(again: boolean): void {
    const { upstream, endpoint } = this;
    this.upstream = null;
    if (upstream !== null) {
      if (again) upstream.release();
      else upstream.discard();
    }
    if (endpoint === null) return;
    this.endpoint = null;
    this.#draining = endpoint.draining;
    endpoint.inFlight -= 1;
    released(this.#context.stats, this.slot);
  }

  end(): void {
    this.letGo(false);
    if (this.#tried.length > 0) this.#tried.length = 0;
    if (!this.#resending) return;
    this.#resending = false;
    this.#context.retrying -= 1;
  }
}
