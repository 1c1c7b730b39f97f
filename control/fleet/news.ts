/**
 * What a report adds to the one before it. Most add nothing but counts, and there are hundreds a second: what a decision
 * may wait for must be told from them without looking at the whole fleet.
 *
 *   news    an instance, an endpoint, what is applied: something that may let a rollout go on. Also a drain that is over.
 *   counts  only levels and totals moved: seen by whoever looks next
 *   none    it says what was said before
 *
 * Cost  one pass over instances and endpoints; a host's traffic is compared by no one here (the books do).
 */
import type { InstanceReport, Report } from "../../proto/contract/report.ts";
import { sameJson } from "../same.ts";

export type News = "news" | "counts" | "none";

export function newsOf(before: Report | null, after: Report): News {
  if (before?.boot !== after.boot) return "news";
  if (!sameJson(before.applied, after.applied) || !sameJson(before.endpoints, after.endpoints)) return "news";
  if (before.instances.length !== after.instances.length) return "news";
  let moved = false;
  for (const [i, instance] of after.instances.entries()) {
    const known = before.instances[i];
    if (known === undefined || !sameButCounts(known, instance) || drained(known, instance)) return "news";
    moved ||= known.inFlight !== instance.inFlight;
  }
  return moved || after.traffic.length > 0 ? "counts" : "none";
}

/** Nothing is left on an instance that gets nothing new. */
const drained = (before: InstanceReport, after: InstanceReport): boolean =>
  before.inFlight > 0 && after.inFlight === 0 && (after.state === "draining" || after.state === "stopping");

function sameButCounts(a: InstanceReport, b: InstanceReport): boolean {
  return (
    a.id === b.id &&
    a.state === b.state &&
    a.healthySinceMs === b.healthySinceMs &&
    a.restarts === b.restarts &&
    a.revision === b.revision &&
    a.service === b.service &&
    a.reason === b.reason &&
    a.port === b.port &&
    sameJson({ ...a, inFlight: 0, started: 0 }, { ...b, inFlight: 0, started: 0 })
  );
}
