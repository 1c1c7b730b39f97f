/**
 * The rollout engine: where a rollout goes next, decided from evidence alone. Level-triggered: it may be asked as often
 * as one likes, after any restart, with the same answer for the same facts.
 *
 *   judge → halt → program → advance each host one rung → begin the next → bake → promote   (forward.ts)
 *   capacity → traffic → drain → rolled back                                         (back.ts)
 *
 * Errors  none: a plan that would break an invariant is not returned; the rollout pauses and names it instead.
 */
import type { HostDesire, Rollout } from "../model/rollout.ts";
import { rollBack, turnBack } from "./back.ts";
import { Draft } from "./draft.ts";
import { finish, rollOn } from "./forward.ts";
import { halt } from "./halt.ts";
import { observe } from "./observe.ts";
import { stickyOf } from "./program.ts";
import { settle } from "./settle.ts";
import { takeOver } from "./take-over.ts";
import { tracksFor } from "./tracks.ts";
import type { Beginning, Context, Decision } from "./types.ts";
import { ended, versionName } from "./words.ts";

export { command } from "./command.ts";

export function begin(input: Beginning): Decision {
  const hosts = tracksFor(input);
  const rollout: Rollout = {
    id: input.id,
    service: input.service,
    from: input.from?.revision ?? 0,
    to: input.to.revision,
    strategy: input.to.spec.strategy,
    stage: { kind: "pending" },
    pause: null,
    hosts,
    startedAtMs: input.now,
    endedAtMs: 0,
    progressAtMs: input.now,
    change: 1,
    epoch: input.epoch,
    acknowledgedLoss: 0,
    without: [],
    skipBakes: false,
    step: { index: 0, sinceMs: 0, confirmedAtMs: 0, promoted: false },
    split: { weight: 0, routes: [], mirrors: [] },
    analyses: [],
    accepted: [],
    lastBegunAtMs: 0,
    fastTrack: input.fastTrack ?? false,
    judgedFrom: {},
    actor: input.actor,
  };
  const over = input.over === undefined ? "" : `, in place of the one to revision ${input.over.to}`;
  const message = `${input.service} from ${versionName(input, rollout.from)} to ${input.to.version} on ${hosts.length} hosts${over}`;
  const journal = [
    {
      rollout: input.id,
      change: 1,
      atMs: input.now,
      epoch: input.epoch,
      actor: input.actor,
      stage: "Pending",
      reason: "Begun",
      message,
    },
  ];
  return { rollout, journal, wakeAtMs: input.now };
}

export function desires(rollout: Rollout): readonly HostDesire[] {
  const { split, strategy, to } = rollout;
  return rollout.hosts.map(({ host, revisions, routed }) => ({
    host,
    revisions,
    routed,
    // Not by stage: on the way back, a host that has yet to take its first rung must not share equally meanwhile.
    split: servesBeside(revisions, to) ? { ...split, target: to, sticky: stickyOf(strategy) } : null,
  }));
}

function servesBeside(revisions: HostDesire["revisions"], target: number): boolean {
  const serving = revisions.filter((asked) => asked.mode === "serving");
  return serving.length > 1 && serving.some((asked) => asked.revision === target);
}

export function step(rollout: Rollout, context: Context): Decision {
  // I4: a controller that another has followed decides nothing any more.
  if (ended(rollout) || context.epoch < rollout.epoch) return { rollout, journal: [], wakeAtMs: null };
  const draft = new Draft(rollout, context);
  if (context.epoch > rollout.epoch) takeOver(draft);
  else decide(draft);
  return settle(draft);
}

function decide(draft: Draft): void {
  observe(draft);
  const { stage, hosts } = draft.rollout;
  switch (stage.kind) {
    case "blocked":
      return;
    case "pending": {
      draft.stage({ kind: "preparing" });
      return;
    }
    case "preparing":
      // Placed nowhere, it begins when a host connects that it is placed on; until then what serves goes on serving.
      if (hosts.some(({ goal, routed }) => goal !== 0 || !routed))
        draft.stage({ kind: "step", step: 0, of: "applying" });
      return;
    case "step": {
      rollOn(draft);
      return;
    }
    case "promoting":
    case "draining":
    case "finalizing": {
      finish(draft);
      return;
    }
    case "aborting": {
      turnBack(draft, stage.why);
      return;
    }
    case "rolling-back":
      if (draft.rollout.pause?.reason === "InvariantViolation") return;
      halt(draft);
      {
        rollBack(draft, stage.why);
        return;
      }
    case "succeeded":
    case "rolled-back":
    case "failed":
    case "superseded":
      return;
  }
}
