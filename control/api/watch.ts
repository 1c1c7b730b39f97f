/**
 * A rollout as it changes: its view now, then again whenever it differs, at most every `EVERY_MS`; ends when the
 * rollout has ended. A client that reads slowly misses views in between, never the last one.
 */
import type { ServerWritableStream } from "@grpc/grpc-js";
import type { GetRolloutRequest } from "../../proto/gen/baton/v1/operator.ts";
import { RolloutView } from "../../proto/gen/baton/v1/operator.ts";
import { sleep } from "../../proto/kernel/clock.ts";
import type { OperatorContext } from "./context.ts";
import { endOf, write } from "./outbox.ts";
import { rolloutView } from "./rollout-view.ts";

const EVERY_MS = 200;

export async function watchRollout(
  call: ServerWritableStream<GetRolloutRequest, RolloutView>,
  options: OperatorContext,
): Promise<void> {
  const { operations, loop, clock, registry, stopping } = options;
  const { id } = operations.rollout(call.request.service, call.request.rollout);
  const over = endOf(call, stopping);
  const rounds = new Rounds();
  const unfollow = loop.onRound(() => rounds.passed());
  try {
    let last = Buffer.alloc(0);
    while (!over.aborted) {
      const rollout = registry.rollout(id);
      if (rollout === undefined) return;
      const view = await rolloutView(options, rollout);
      const bytes = Buffer.from(RolloutView.encode(view).finish());
      if (!bytes.equals(last)) await write(call, view);
      last = bytes;
      if (view.ended) return;
      await sleep(clock, EVERY_MS, over);
      await rounds.next(over);
    }
  } finally {
    unfollow();
  }
}

/** Whether a round of the loop has passed since it was last asked. */
class Rounds {
  #passed = false;
  #wake: (() => void) | null = null;

  passed(): void {
    this.#passed = true;
    this.#wake?.();
  }

  async next(over: AbortSignal): Promise<void> {
    if (!this.#passed && !over.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        over.addEventListener("abort", () => resolve(), { once: true });
      });
    }
    this.#passed = false;
    this.#wake = null;
  }
}
