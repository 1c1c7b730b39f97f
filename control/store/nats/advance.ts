/**
 * Setting the head: the one write that commits. An answer that does not come leaves open whether it was stored; the same
 * write, said again, settles that: it expects the same revision, so it can be stored once only, and when the key has moved
 * on, the head itself tells by whom. Reading alone would not do: a write may still be on its way from a leader of the
 * stream that was cut off.
 *
 * Errors  Error, BucketGone among them: nothing was stored. StoreUnsure: it may be.
 */
import { streamIsGone } from "../../../proto/contract/nats-errors.ts";
import type { NatsLink } from "../../../proto/contract/nats-link.ts";
import type { Clock, Millis } from "../../../proto/kernel/clock.ts";
import { sleep } from "../../../proto/kernel/clock.ts";
import { StoreUnsure } from "../store.ts";
import { BucketGone } from "./bucket.ts";
import type { Bucket } from "./bucket.ts";
import { encodeHead } from "./head.ts";
import type { Head, Meta } from "./head.ts";
import { HEAD } from "./keys.ts";
import { NoHead, readNewest } from "./loading.ts";

/** An answer is had by then, or it is not known. */
const SETTLED_MS: Millis = 5_000;
const PAUSE_MS: Millis = 100;

export type Advanced =
  | { readonly kind: "ok"; readonly head: Head }
  /** The head is another's. */
  | { readonly kind: "other"; readonly head: Head };

export interface Way {
  readonly head: Bucket;
  readonly link: NatsLink;
  readonly clock: Clock;
}

export async function advance(
  { head: bucket, link, clock }: Way,
  meta: Meta,
  payload: Uint8Array,
  expected: number,
): Promise<Advanced> {
  const value = encodeHead(meta, payload);
  const until = clock.monotonic() + SETTLED_MS;
  let unsure = false;
  let why = "";
  const failed = (): Error => {
    const words = why === "" ? link.trouble : why;
    return unsure
      ? new StoreUnsure(`a commit was sent, and whether it is stored can't be told: ${words}`)
      : new Error(words);
  };
  for (;;) {
    if (link.connected) {
      const put = await bucket.put(HEAD, value, expected);
      if (put.kind === "ok") return { kind: "ok", head: { meta, revision: put.revision, payload } };
      why = bucket.explain("a commit", put.error);
      if (put.kind === "refused" && !unsure) throw new Error(why);
      if (put.kind === "unknown") unsure = true;
      // Nobody takes it: no leader, or no bucket any more.
      if (put.kind === "untaken") await stillThere(bucket, unsure);
      if (put.kind === "mismatch") {
        const head = await readNewest(bucket).catch((error: unknown) => {
          if (error instanceof NoHead) throw unsure ? new StoreUnsure(error.message) : error;
          why = bucket.explain("a commit", error);
          return undefined;
        });
        if (head?.meta.id === meta.id) return { kind: "ok", head };
        if (head !== undefined && head.revision !== expected) return { kind: "other", head };
      }
    } else if (!unsure) throw new Error(link.trouble);
    else why = link.trouble;
    if (clock.monotonic() >= until) throw failed();
    await sleep(clock, PAUSE_MS);
  }
}

async function stillThere(bucket: Bucket, unsure: boolean): Promise<void> {
  const gone = await bucket.exists().then(
    (exists) => !exists,
    (error: unknown) => streamIsGone(error),
  );
  if (!gone) return;
  const why = bucket.gone();
  throw unsure ? new StoreUnsure(why) : new BucketGone(why);
}
