/** A rollout in words: its phase, the exit code of whoever waits for it, and one sentence that says how it goes on. */
import { EXIT } from "../../proto/contract/limits.ts";
import { formatDuration, WHOLE } from "../../proto/contract/units.ts";
import type { Millis } from "../../proto/kernel/clock.ts";
import type { Pause, Phase, Rollout } from "../model/rollout.ts";
import { shortOfEvidence } from "./analyses.ts";
import { currentStep, programOf, programOver, stepText, warmMs } from "./program.ts";
import { moving } from "./track.ts";
import type { Context } from "./types.ts";
import { ended, list, versionName } from "./words.ts";

export { ended, stageName } from "./words.ts";

export function phaseOf(rollout: Rollout): Phase {
  if (rollout.pause !== null) return "Paused";
  switch (rollout.stage.kind) {
    case "succeeded":
      return "Healthy";
    case "aborting":
    case "rolling-back":
    case "rolled-back":
    case "failed":
    // It ended short of its target. The service goes on under its successor, whose phase is its own.
    case "superseded":
      return "Degraded";
    case "pending":
    case "blocked":
    case "preparing":
    case "step":
    case "promoting":
    case "draining":
    case "finalizing":
      return "Progressing";
  }
}

/** What `--wait` exits with if it stops waiting now: 4 while nothing is settled. */
export function exitCodeOf(rollout: Rollout): number {
  if (rollout.pause !== null) return rollout.pause.reason === "Inconclusive" ? EXIT.inconclusive : EXIT.paused;
  switch (rollout.stage.kind) {
    case "succeeded":
      return EXIT.done;
    case "rolled-back":
    case "failed":
      return EXIT.failed;
    case "superseded":
      return EXIT.superseded;
    case "pending":
    case "blocked":
    case "preparing":
    case "step":
    case "promoting":
    case "draining":
    case "finalizing":
    case "aborting":
    case "rolling-back":
      return EXIT.timeout;
  }
}

type Described = Pick<Context, "from" | "to" | "now">;

export function describe(rollout: Rollout, context: Described): string {
  const { service, stage, hosts } = rollout;
  const to = versionName(context, rollout.to);
  const from = versionName(context, rollout.from);
  if (rollout.pause !== null && !ended(rollout)) return paused(rollout, rollout.pause);
  const done = hosts.filter((track) => track.stage === "done").length;
  switch (stage.kind) {
    case "blocked":
      return `Waits for ${stage.behind} to go back first (${stage.why}); \`baton rollout abort ${service}\` gives it up.`;
    case "pending":
    case "preparing":
      if (hosts.some(({ goal }) => goal !== 0)) return `${service} is about to move from ${from} to ${to}.`;
      return `No host matches the placement of ${service} ${to}: it begins when one connects${rollout.from === 0 ? "" : `, and ${from} serves until then`}; \`baton rollout abort ${service}\` gives it up.`;
    case "step":
      if (programOf(rollout).length > 0 && !programOver(rollout)) return program(rollout, context);
      if (strategyKeepsWarm(rollout)) return warm(rollout, context);
      if (stage.of === "baking") return baking(rollout, to, context.now);
      return `${done} of ${hosts.length} hosts serve ${to}; ${waits(rollout)}; \`baton rollout abort ${service}\` goes back to ${from}.`;
    case "promoting":
    case "draining":
    case "finalizing":
      return `${to} is stable; the last of ${from} is cleared away.`;
    case "succeeded": {
      const behind = hosts.filter((track) => track.stage !== "done").map((track) => track.host);
      const without = behind.length === 0 ? "" : ` ${list(behind)} was lost and is moved when it is back.`;
      return `${service} serves ${to} on ${done} of ${hosts.length} hosts.${without}`;
    }
    case "aborting":
      return `${capital(stage.why)}: it goes back to ${from}.`;
    case "rolling-back":
      return `Goes back to ${from} (${stage.of}): ${stage.why}; ${waits(rollout)}.`;
    case "rolled-back":
      return stage.why.startsWith("aborted")
        ? `Back on ${from}: ${stage.why}; \`baton rollout retry ${service}\` tries it again.`
        : `Back on ${from}: ${stage.why}; \`baton deploy -f\` a mended file, or \`baton rollout retry ${service}\`.`;
    case "failed":
      return `Failed, traffic is left on what is healthy: ${stage.why}; mend the host, then \`baton rollout retry ${service}\`.`;
    case "superseded":
      return `Superseded by ${stage.by}, which took its hosts on.`;
  }
}

function baking(rollout: Rollout, to: string, now: Millis): string {
  const left = bakeLeftMs(rollout, now);
  const short = shortOfEvidence(rollout);
  const until =
    left === 0 && short !== null
      ? `it waits for evidence (${short})`
      : `it is watched for ${formatDuration(Math.ceil(left / 1_000) * 1_000)} more`;
  return `Every host serves ${to}; ${until} before it is stable; \`baton rollout promote ${rollout.service}\` does not wait.`;
}

/** Everything goes to the new version, and the one before is kept to go back to. */
function strategyKeepsWarm({ strategy, hosts, from }: Rollout): boolean {
  return from !== 0 && strategy.kind === "blueGreen" && hosts.some((track) => track.stage === "draining");
}

function warm(rollout: Rollout, { now, ...context }: Described): string {
  const { service, hosts, strategy } = rollout;
  const since = Math.max(
    ...hosts.filter((t) => t.stage === "draining").map((t) => Math.max(t.servesSinceMs, t.healthyAtMs)),
  );
  const left = Math.max(0, since + warmMs(strategy) - now);
  const from = versionName(context, rollout.from);
  const goesOn = `${versionName(context, rollout.to)} takes all of the traffic; ${from} is kept warm`;
  const until =
    left === 0 ? "until nothing is in flight on it" : `for ${formatDuration(Math.ceil(left / 1_000) * 1_000)} more`;
  return `${goesOn} ${until}, and \`baton rollout abort ${service}\` goes back in one change.`;
}

/** Where the program is, what that waits for, and what moves it on. */
function program(rollout: Rollout, context: Described): string {
  const { service, step, strategy } = rollout;
  const at = currentStep(rollout);
  if (at === undefined) return "";
  const where = `Step ${step.index + 1} of ${programOf(rollout).length}, ${stepText(at)}`;
  const on = `\`baton rollout promote ${service}\` does not wait, \`baton rollout abort ${service}\` goes back`;
  if (step.sinceMs === 0) return `${where}: ${before(rollout)} before it begins; ${on}.`;
  if (step.confirmedAtMs === 0) return `${where}: waits for every host to confirm it (${waits(rollout)}); ${on}.`;
  switch (at.kind) {
    case "pause": {
      const left = at.durationMs === null ? 0 : Math.max(0, step.confirmedAtMs + at.durationMs - context.now);
      return `${where}: goes on in ${formatDuration(Math.ceil(left / 1_000) * 1_000)}; ${on}.`;
    }
    case "analysis": {
      const run = rollout.analyses.find((one) => one.id === at.id);
      return `${where}: ${run === undefined || run.message === "" ? "measuring" : run.message}; ${on}.`;
    }
    case "setWeight":
    case "setHeaderRoute":
    case "setMirrorRoute":
      return `${where}: ${strategy.kind === "canary" ? waits(rollout) : "confirmed"}; ${on}.`;
  }
}

/** What a step waits for; when it is no host, the last one waits for the background analysis. */
function before(rollout: Rollout): string {
  const short = shortOfEvidence(rollout);
  const at = currentStep(rollout);
  const last = at?.kind === "setWeight" && at.weight === WHOLE;
  return waits(rollout, last && short !== null ? `waits for evidence (${short})` : UNDER_WAY);
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

const UNDER_WAY = "under way";

/** `nobody`: what is said when it is no host. */
function waits(rollout: Rollout, nobody = UNDER_WAY): string {
  const waiting = rollout.hosts.filter((track) => track.stage !== "done" && track.waitingFor !== "");
  const first = waiting.filter(moving);
  const shown = (first.length > 0 ? first : waiting).map((track) => `${track.host} ${track.waitingFor}`);
  return shown.length === 0 ? nobody : `waits: ${list(shown)}`;
}

/** What is left of the final bake. */
function bakeLeftMs({ hosts, strategy }: Rollout, now: Millis): Millis {
  const lastMoved = Math.max(...hosts.map((track) => track.sinceMs));
  return Math.max(0, lastMoved + strategy.minHealthyMs - now);
}

/** What moves it on, clause by clause; going back is said last, where it is not going back already. */
const WAY_ON: Readonly<Record<Pause["reason"], readonly string[]>> = {
  Manual: ["`resume` goes on"],
  Step: ["`promote` goes on"],
  AwaitingApproval: ["`promote` approves"],
  Inconclusive: ["`promote` goes on all the same", "`resume` measures again"],
  FleetPartitioned: ["it goes on by itself when they report again", "`resume` goes on without them"],
  DrainTimeout: ["`resume` waits as long again", "`promote` ends what is in flight"],
  UnexplainedLoss: ["`resume` goes on all the same"],
  Rejected: ["mend the host and it goes on by itself, or at once with `resume`"],
  Unhealthy: ["`resume` gives it another chance"],
  InvariantViolation: ["a defect of Baton's, nothing was done", "`resume` plans again"],
};

function paused(rollout: Rollout, pause: Pause): string {
  const { service, stage } = rollout;
  const back = stage.kind === "rolling-back";
  const way = [...WAY_ON[pause.reason], ...(back ? [] : ["`abort` rolls back"])].join(", ");
  const commands = way.replaceAll(/`(resume|promote|abort)`/g, `\`baton rollout $1 ${service}\``);
  return `${back ? "Rolling back, held up" : "Paused"} (${pause.reason}): ${pause.message}; ${commands}.`;
}
