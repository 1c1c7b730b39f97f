/** A plan as people read it: the headline, warnings, a table of steps, what the whole comes to. */
import pc from "picocolors";
import type { PlanStep, PlanView } from "../../../proto/gen/baton/v1/operator.ts";
import { table } from "../output.ts";
import { count, percent, span } from "./units.ts";

export function planBlock(plan: PlanView): string {
  const lines = [headline(plan)];
  for (const refusal of plan.refusals) lines.push(pc.red(`would be refused: ${refusal}`));
  for (const warning of plan.warnings) lines.push(pc.yellow(`note: ${warning}`));
  if (plan.steps.length > 0) lines.push("", stepsTable(plan), "", summary(plan));
  return lines.join("\n");
}

function headline(plan: PlanView): string {
  const from = plan.fromRevision === 0 ? "nothing" : `${plan.fromVersion} (r${String(plan.fromRevision)})`;
  const to =
    plan.toRevision === 0 ? `${plan.toVersion} (not stored yet)` : `${plan.toVersion} (r${String(plan.toRevision)})`;
  const fast = plan.fastTrack ? ", by the fast track: it was stable lately, so steps and analyses are passed over" : "";
  return `${pc.bold(plan.service)}  ${from} → ${to}  ${plan.strategy}${fast}`;
}

function stepsTable({ steps }: PlanView): string {
  const rows = steps.map((step) => [
    `+${span(Number(step.atMs))}`,
    step.text,
    step.waitsFor === "" ? pc.dim("confirmed by all") : step.waitsFor,
    percent(step.weight),
    `${count(step.oldServing)} + ${count(step.newServing)}`,
    capacity(step),
    count(step.instances),
    out(step),
  ]);
  return table(
    ["AT", "STEP", "OVER WHEN", "NEW", "SERVING OLD + NEW", "CAPACITY", "PROCESSES", "OUT OF ROUTING"],
    rows,
  );
}

const capacity = ({ minCapacityPercent }: PlanStep): string => {
  const text = `${String(minCapacityPercent)} %`;
  return minCapacityPercent < 100 ? pc.yellow(text) : text;
};

/** Names as far as there is room for them. */
function out({ hostsOut }: PlanStep): string {
  if (hostsOut.length === 0) return "–";
  return hostsOut.length <= 3
    ? hostsOut.join(", ")
    : `${hostsOut.slice(0, 2).join(", ")} and ${String(hostsOut.length - 2)} more`;
}

function summary(plan: PlanView): string {
  const { minCapacityPercent, maxInstances, maxHostsOut, lastsMs, outcome } = plan;
  const hosts = `at most ${String(maxHostsOut)} ${maxHostsOut === 1 ? "host" : "hosts"} out of routing at once`;
  const end = outcome === "Succeeded" ? "" : `; ${outcome}`;
  return (
    `at least ${span(Number(lastsMs))}; capacity never below ${String(minCapacityPercent)} %, ` +
    `at most ${count(maxInstances)} processes at once, ${hosts}${end}`
  );
}
