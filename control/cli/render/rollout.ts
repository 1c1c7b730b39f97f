/** A rollout as people read it: the headline, hosts × versions, the shares asked and applied, the ledger. */
import pc from "picocolors";
import type { InstanceView, RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import { table } from "../output.ts";
import { ledgerBlock } from "./ledger.ts";
import { programBlock, stepNow, unconfirmedLines } from "./program.ts";
import { count, micros, percent, span } from "./units.ts";

function phase(view: RolloutView): string {
  switch (view.phase) {
    case "Healthy":
      return pc.green(view.phase);
    case "Degraded":
      return pc.red(view.phase);
    case "Paused":
      return pc.yellow(view.phase);
    default:
      return pc.cyan(view.phase);
  }
}

const fromTo = (view: RolloutView): string =>
  view.fromRevision === 0
    ? `${view.toVersion} (r${String(view.toRevision)}, the first)`
    : `${view.fromVersion} (r${String(view.fromRevision)}) → ${view.toVersion} (r${String(view.toRevision)})`;

export function headline(view: RolloutView, now: number): string {
  const lasted = span((view.ended ? Number(view.endedAtMs) : now) - Number(view.startedAtMs));
  const reason = view.reason === "" ? "" : ` (${view.reason})`;
  return `${pc.bold(view.service)}  ${fromTo(view)}  ${view.strategy}  ${phase(view)}: ${view.stage}${reason}  ${lasted}`;
}

function cell(instances: readonly InstanceView[]): string {
  const shown = instances.map((one) => {
    const busy = one.inFlight > 0n ? ` ${count(one.inFlight)}` : "";
    const text = `${one.state}${busy}`;
    if (one.state === "failed") return pc.red(text);
    return one.state === "serving" ? pc.green(text) : text;
  });
  return shown.length === 0 ? pc.dim("–") : shown.join(", ");
}

function hostsTable(view: RolloutView): string {
  const rows = view.hosts.map((host) => [
    host.live ? host.host : pc.red(`${host.host} (no news)`),
    host.stage,
    ...view.versions.map((version) => cell(host.instances.filter((one) => one.revision === version.revision))),
    host.applied ? "yes" : "not yet",
    host.message,
  ]);
  const versions = view.versions.map((version) => version.version);
  return table(["HOST", "STAGE", ...versions, "APPLIED", "WAITING FOR"], rows);
}

function versionsTable(view: RolloutView): string {
  const rows = view.versions.map((one) => [
    one.version,
    percent(one.weightAsked),
    percent(one.weightApplied),
    `${String(one.ready)}/${String(one.wanted)}`,
    count(one.inFlight),
    count(one.requests),
    one.errors > 0n ? pc.yellow(count(one.errors)) : "0",
    one.lost > 0n ? pc.red(count(one.lost)) : "0",
    micros(one.p50Us),
    micros(one.p90Us),
    micros(one.p99Us),
  ]);
  return table(
    ["VERSION", "ASKED", "APPLIED", "READY", "IN FLIGHT", "REQUESTS", "5XX", "LOST", "P50", "P90", "P99"],
    rows,
  );
}

const OUTPUT_LINES = 8;

/** What this rollout is to bring up: hosts may still hold what failed under another one. */
function ownRevisions(view: RolloutView): readonly number[] {
  const back = view.stage === "RollingBack" || view.stage === "RolledBack";
  return back ? [view.toRevision, view.fromRevision] : [view.toRevision];
}

/** Exit and last words of what does not run as it should; what was asked to stop is none of that. */
function failures(view: RolloutView): readonly string[] {
  const lines: string[] = [];
  const own = ownRevisions(view);
  for (const host of view.hosts) {
    for (const one of host.instances) {
      if (!own.includes(one.revision)) continue;
      const asAsked = one.state === "stopped" && (one.reason === "stopped" || one.exit === "exit code 0");
      // An image that is pulled, or can't be, has no exit and no output. A probe's answer is waited for, and said above.
      const told = one.reason !== "" && !one.reason.startsWith("readiness: ");
      const waits = told && ["starting", "failed"].includes(one.state);
      if (asAsked || (one.exit === "" && one.output.length === 0 && !waits)) continue;
      // "exited with 7 after 0.2 s" says more than "exit code 7".
      const why = /^(exited|killed) /.test(one.reason) ? one.reason : [one.exit, one.reason].filter(Boolean).join(", ");
      lines.push(`${host.host} ${one.id} ${one.version}: ${one.state}, ${why}`);
      for (const text of one.output.slice(-OUTPUT_LINES)) lines.push(pc.dim(`  | ${text}`));
    }
  }
  return lines;
}

export function rolloutBlock(view: RolloutView, now: number): string {
  const lines = [headline(view, now)];
  if (view.message !== "") lines.push(view.message);
  if (view.next !== "") {
    lines.push(`${view.next} begins when it is over; \`baton rollout abort ${view.service}\` gives that one up`);
  }
  const program = programBlock(view, now);
  if (program.length > 0) lines.push("", ...program);
  if (view.hosts.length > 0) lines.push("", hostsTable(view));
  if (view.versions.length > 0) lines.push("", versionsTable(view));
  if (view.unconfirmed.length > 0) lines.push("", ...unconfirmedLines(view));
  lines.push("", ...ledgerBlock(view.ledger));
  const failed = failures(view);
  if (failed.length > 0) lines.push("", ...failed);
  return lines.join("\n");
}

/** One plain line for logs and pipes. While all goes well the hosts' stages say it; else the controller's sentence does. */
export function plainLine(view: RolloutView): string {
  const reason = view.reason === "" ? "" : ` (${view.reason})`;
  const hosts = view.hosts.map((host) => `${host.host} ${host.stage}`).join(", ");
  const lost = count(view.ledger?.lostTotal ?? 0n);
  const step = stepNow(view);
  const done = `${step === "" ? "" : `${step}  `}${String(view.step)}/${String(view.steps)} hosts`;
  const head = `${view.service} ${view.fromVersion || "none"} → ${view.toVersion}  ${done}  ${view.phase}: ${view.stage}${reason}`;
  return `${head}  [${hosts}]  lost ${lost}${view.phase === "Progressing" ? "" : `  ${view.message}`}`;
}
