/** Whether this agent takes traffic now: one clause for each reason against it, [] when it is ready. */
import type { Core } from "../core.ts";

export function readiness(core: Core): string[] {
  const reasons: string[] = [];
  if (core.stopping) reasons.push("the agent is stopping");
  else if (!core.accepting) reasons.push("the agent was drained by hand; POST /undrain takes it back");
  // Beside what a killed agent left, it serves before it can confirm anything.
  const served = core.link.leftovers && core.tables.serves();
  if (core.assignments.applied === null && !served) {
    reasons.push(["no assignment has been applied", ...core.source.troubles()].join(": "));
  } else if (core.tables.table.listeners.length > 0 && !core.tables.serves()) {
    reasons.push("no worker serves");
  }
  return reasons;
}
