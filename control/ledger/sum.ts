/** What people see of a ledger: spans of counts made into one sum, and its notes. Pure. */
import { CUT_CAUSES, LOSS_CAUSES } from "../../proto/contract/report.ts";
import { add, sum, ZERO } from "./totals.ts";
import type { Span } from "./totals.ts";
import type { LedgerSum, Note, Totals } from "./types.ts";

/** Notes kept a rollout; the counts of later ones are still in the sums. */
export const NOTES = 200;

export function byVersion(spans: readonly Span[], role: "host" | "gateway"): Record<string, Totals> {
  const totals: Record<string, Totals> = {};
  for (const span of spans) {
    if (span.role !== role) continue;
    for (const [version, t] of Object.entries(span.versions)) totals[version] = add(totals[version] ?? ZERO, t);
  }
  return totals;
}

export function sumOf(
  spans: readonly Span[],
  edge: "gateway" | "host",
  unexplained: number,
  notes: readonly Note[],
): LedgerSum {
  const total = Object.values(byVersion(spans, edge)).reduce(add, ZERO);
  const atHosts = Object.values(byVersion(spans, "host")).reduce(add, ZERO);
  const inFlight = sum(spans.filter((span) => span.role === edge).map((span) => span.inFlight));
  const lostTotal = sum(total.lost);
  const named = <K extends string>(names: readonly K[], counts: readonly number[]): Partial<Record<K, number>> => {
    const entries = names.map((name, i) => [name, counts[i] ?? 0] as const).filter(([, count]) => count > 0);
    return Object.fromEntries(entries) as Partial<Record<K, number>>;
  };
  return {
    edge,
    // Not what was started: that counts every attempt of one that moved, and what Baton refused as malformed.
    requests: total.completed + total.clientGone + sum(total.cut) + lostTotal + inFlight,
    carried: total.completed,
    retried: total.retried,
    drained: atHosts.drained,
    tunnels: total.tunnels,
    eventStreams: total.eventStreams,
    clientGone: total.clientGone,
    inFlight,
    cut: named(CUT_CAUSES, total.cut),
    lost: named(LOSS_CAUSES, total.lost),
    lostTotal,
    unexplained,
    notes,
  };
}

/** The same thing said again within a rollout is one note with a greater count. */
export function withNote(notes: readonly Note[], note: Note): readonly Note[] {
  const same = notes.findIndex((n) => {
    return n.host === note.host && n.cause === note.cause && n.explanation === note.explanation;
  });
  const before = notes[same];
  if (before === undefined) return notes.length < NOTES ? [...notes, note] : notes;
  return notes.with(same, { ...before, atMs: note.atMs, count: before.count + note.count });
}
