/** The last word on every plan: the invariants are asked, and only a plan that keeps them is handed out. */
import { Draft } from "./draft.ts";
import { check } from "./invariants.ts";
import type { Decision } from "./types.ts";
import { wakeAt } from "./wake.ts";

/** The decision that a draft comes to, unless it breaks an invariant: then nothing of it is done, and it says so. */
export function settle(draft: Draft): Decision {
  const after = draft.seal();
  const violations = check(draft.before, after, draft.context);
  if (violations.length > 0) {
    const loud = new Draft(draft.before, draft.context);
    const message = violations.map((violation) => `${violation.invariant}: ${violation.message}`).join("; ");
    loud.set({ pause: { reason: "InvariantViolation", message, sinceMs: draft.context.now } });
    loud.note("InvariantViolation", message);
    return { rollout: loud.seal(), journal: loud.journal, wakeAtMs: null };
  }
  const onlyWords = draft.changed && !draft.moved;
  const wakeAtMs = draft.moved ? draft.context.now : wakeAt(draft);
  return { rollout: after, journal: draft.journal, wakeAtMs, onlyWords };
}
