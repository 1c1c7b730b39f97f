/**
 * Copies of requests for a version that is to be tried without anyone seeing its answers. A copy is made when the
 * request itself has been sent in full, so it can neither delay nor change it; whatever becomes of the copy, nobody but
 * the counters hears of it.
 *
 * Marked   `baton-mirrored: true`, so that an app can keep its hands off what must not be done twice.
 * Bounds   so many copies at a time, so many bytes in all, so long each (limits.ts). What is beyond is dropped, and so is
 *          the copy of a body too long to be kept (`replayBytes`); the request itself goes on.
 * Books    copies are no requests: they are in neither `started` nor `inFlight`, so a drain does not wait for them, and
 *          no verdict on a version looks at them. They have counters of their own, by endpoint.
 * Cost     one copy of the request's bytes and one write, behind the request's own.
 */
import { filterHead, type Filter } from "../header-filter.ts";
import type { Endpoint } from "../endpoint.ts";
import type { Ground } from "../ground.ts";
import { Out } from "../http1/out.ts";
import { ResponseHead } from "../http1/response.ts";
import { COUNTER } from "../stats-layout.ts";
import { Copy } from "./copy.ts";

/** Its body follows at once, whatever the client had in mind. */
const MARK: Filter = { drop: new Set(["expect"]), append: Buffer.from("baton-mirrored: true\r\n") };

/** A request as it was sent. */
export interface Original {
  readonly bytes: Buffer;
  readonly headBytes: number;
  readonly toHead: boolean;
}

export class Mirrors {
  readonly #ground: Ground;
  readonly #response: ResponseHead;
  #running = 0;
  #kept = 0;

  constructor(ground: Ground) {
    this.#ground = ground;
    this.#response = new ResponseHead(ground.limits);
  }

  /** A request that was to be copied is not. */
  dropped(slot: number): void {
    this.#ground.stats.add(slot, COUNTER.mirrorsDropped, 1);
  }

  send({ bytes, headBytes, toHead }: Original, to: Endpoint): void {
    const { stats, limits } = this.#ground;
    if (this.#running >= limits.mirrors || this.#kept + bytes.length > limits.mirrorBytes) {
      this.dropped(to.slot);
      return;
    }
    const out = new Out(bytes.length + MARK.append.length);
    out.bytes(bytes, 0, headBytes);
    filterHead(out, 0, MARK);
    out.bytes(bytes, headBytes, bytes.length);
    const copy = out.view(0);
    this.#running += 1;
    this.#kept += copy.length;
    stats.add(to.slot, COUNTER.mirrored, 1);
    new Copy(this.#ground, this.#response, to.shadow, { bytes: copy, toHead }, (end) => {
      this.#running -= 1;
      this.#kept -= copy.length;
      if (end === "failed") stats.add(to.slot, COUNTER.mirrorErrors, 1);
      else if (end === "dropped") this.dropped(to.slot);
    });
  }
}
