/**
 * The books: every exchange that claimed an endpoint, or found none, is closed here exactly once, with one outcome.
 * Counters are those of stats-layout.ts.
 *
 * Losses are counted by the first Baton hop that the client met. One that came by way of another Baton agent (its Via
 * says so) is handed back to that one in `baton-error`, and that one sends it elsewhere or counts it.
 */
import { CUT_CAUSES, LOSS_CAUSES } from "../../proto/contract/report.ts";
import type { CutCause, LossCause } from "../../proto/contract/report.ts";
import { COUNTER } from "./stats-layout.ts";
import type { Stats } from "./stats-writer.ts";

export type Outcome =
  | { readonly kind: "completed" }
  | { readonly kind: "client_gone" }
  /** Baton's own answer to what the client did wrong: neither carried nor lost. */
  | { readonly kind: "refused" }
  | { readonly kind: "lost"; readonly cause: LossCause }
  | { readonly kind: "handed_back"; readonly cause: LossCause }
  | { readonly kind: "cut"; readonly cause: CutCause };

export const COMPLETED: Outcome = { kind: "completed" };
export const CLIENT_GONE: Outcome = { kind: "client_gone" };
export const REFUSED_OUTCOME: Outcome = { kind: "refused" };

export const lost = (cause: LossCause, fromBaton: boolean): Outcome => ({
  kind: fromBaton ? "handed_back" : "lost",
  cause,
});

export function claimed(stats: Stats, slot: number): void {
  stats.add(slot, COUNTER.started, 1);
  stats.add(slot, COUNTER.inFlight, 1);
}

export function released(stats: Stats, slot: number): void {
  stats.add(slot, COUNTER.inFlight, -1);
}

/** An answer's head, by its class. */
export function answered(stats: Stats, slot: number, status: number): void {
  stats.add(slot, COUNTER.status1xx - 1 + Math.floor(status / 100), 1);
}

export function carried(stats: Stats, slot: number, bytesIn: number, bytesOut: number): void {
  stats.add(slot, COUNTER.bytesIn, bytesIn);
  stats.add(slot, COUNTER.bytesOut, bytesOut);
}

/** `retried`: it needed more than one attempt. `draining`: its endpoint, or the worker, was leaving at the end. */
export function closed(stats: Stats, slot: number, outcome: Outcome, retried: boolean, draining: boolean): void {
  switch (outcome.kind) {
    case "completed":
      stats.add(slot, COUNTER.completed, 1);
      if (retried) stats.add(slot, COUNTER.retried, 1);
      if (draining) stats.add(slot, COUNTER.drained, 1);
      return;
    case "client_gone":
      stats.add(slot, COUNTER.clientGone, 1);
      return;
    case "lost":
      stats.add(slot, COUNTER.lost + LOSS_CAUSES.indexOf(outcome.cause), 1);
      return;
    case "cut":
      stats.add(slot, COUNTER.cut + CUT_CAUSES.indexOf(outcome.cause), 1);
      return;
    case "handed_back":
    case "refused":
      return;
  }
}
