/**
 * Events: past ones, then live ones for as long as the client stays. Live ones are collected from before the past is
 * read, and told apart by their numbers, so that none is missed or told twice.
 */
import { status } from "@grpc/grpc-js";
import type { ServerWritableStream } from "@grpc/grpc-js";
import type { Event, EventsRequest } from "../../proto/gen/baton/v1/operator.ts";
import { KEEP } from "../store/store.ts";
import type { StoredEvent } from "../store/store.ts";
import type { OperatorContext } from "./context.ts";
import { endOf, write } from "./outbox.ts";
import { eventView } from "./wire-views.ts";

const DEFAULT_LIMIT = 200;
/** A client this far behind is not reading. */
const BACKLOG = 10_000;

export async function streamEvents(
  call: ServerWritableStream<EventsRequest, Event>,
  { registry, stopping }: OperatorContext,
): Promise<void> {
  const { follow, service, limit } = call.request;
  const over = endOf(call, stopping);
  const waiting: StoredEvent[] = [];
  let wake: (() => void) | null = null;
  const unfollow = registry.follow((event) => {
    if (!follow || (service !== "" && event.service !== service)) return;
    if (waiting.length >= BACKLOG) {
      call.emit("error", { code: status.RESOURCE_EXHAUSTED, details: `more than ${BACKLOG} events were not read` });
      return;
    }
    waiting.push(event);
    wake?.();
  });
  over.addEventListener("abort", () => wake?.(), { once: true });
  try {
    let seq = Number(call.request.afterSeq);
    const wanted = Math.min(limit === 0 ? DEFAULT_LIMIT : limit, KEEP.events);
    for (const event of await registry.events({ afterSeq: seq, service, limit: wanted })) {
      if (over.aborted) return;
      await write(call, eventView(event));
      seq = event.seq;
    }
    while (follow && !over.aborted) {
      const event = waiting.shift();
      if (event !== undefined) {
        if (event.seq > seq) await write(call, eventView(event));
        continue;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      wake = null;
    }
  } finally {
    unfollow();
  }
}
