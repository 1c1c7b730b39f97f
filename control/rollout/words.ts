/** The engine's names for things, as people read them: stages as the operators' API says them, revisions by version. */
import type { Rollout, Stage } from "../model/rollout.ts";
import type { Context } from "./types.ts";

const STAGES: Readonly<Record<Stage["kind"], string>> = {
  pending: "Pending",
  blocked: "Blocked",
  preparing: "Preparing",
  step: "Step",
  promoting: "Promoting",
  draining: "Draining",
  finalizing: "Finalizing",
  succeeded: "Succeeded",
  aborting: "Aborting",
  "rolling-back": "RollingBack",
  "rolled-back": "RolledBack",
  failed: "Failed",
  superseded: "Superseded",
};

export function stageName(stage: Stage): string {
  return STAGES[stage.kind];
}

export function ended(rollout: Rollout): boolean {
  const { kind } = rollout.stage;
  return kind === "succeeded" || kind === "rolled-back" || kind === "failed" || kind === "superseded";
}

/** `v2`, or `revision 2` when neither side of the rollout knows its label. */
export function versionName(context: Pick<Context, "from" | "to">, revision: number): string {
  if (revision === 0) return "nothing";
  if (context.to.revision === revision) return context.to.version;
  if (context.from?.revision === revision) return context.from.version;
  return `revision ${revision}`;
}

export function list(names: readonly string[]): string {
  if (names.length <= 1) return names.join("");
  if (names.length > 5) return `${names.slice(0, 4).join(", ")} and ${names.length - 4} more`;
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1) ?? ""}`;
}
