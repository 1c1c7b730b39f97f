/** baton rollout …: look at a rollout, or move it. */
import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { EXIT } from "../../../proto/contract/limits.ts";
import type { RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import type { Controller } from "../client.ts";
import { Api, actor } from "../client.ts";
import type { CommonOptions, WaitOptions } from "../context.ts";
import { connect, duration, revision, withController, withWait } from "../context.ts";
import { print, table } from "../output.ts";
import { rolloutBlock } from "../render/rollout.ts";
import { ago, count, span } from "../render/units.ts";
import { finish } from "../wait.ts";

type Done = (exitCode: number) => void;
type Move = (controller: Controller, service: string, options: MoveOptions) => Promise<RolloutView>;
type MoveOptions = CommonOptions & WaitOptions & { reason?: string; full?: boolean; to?: number; weight?: number };

export function addRolloutCommands(program: Command, done: Done): void {
  const rollout = program.command("rollout").description("look at a rollout, or move it");

  withController(
    rollout
      .command("status")
      .description("where a service's rollout stands, with its ledger; the exit code says how")
      .argument("<service>")
      .option("--rollout <id>", "this one, not the newest"),
  ).action(async (service: string, options: CommonOptions & { rollout?: string }) => {
    using controller = connect(options);
    const view = await controller.call(Api.getRollout, { service, rollout: options.rollout ?? "" });
    print(options.output, view, () => `${rolloutBlock(view, Date.now())}\n\n${transitions(view)}`);
    done(view.ended || view.phase === "Paused" ? view.exitCode : EXIT.done);
  });

  withController(
    rollout
      .command("watch")
      .description("follow a service's newest rollout to its end; the exit code says how")
      .argument("<service>")
      .option("--timeout <duration>", "give up after this long (exit 4)", duration),
  ).action(async (service: string, options: CommonOptions & WaitOptions) => {
    using controller = connect(options);
    const view = await controller.call(Api.getRollout, { service, rollout: "" });
    done(await finish(controller, view, { ...options, wait: true, watch: true }));
  });

  withController(
    rollout.command("history").description("a service's rollouts, the newest first").argument("<service>"),
  ).action(async (service: string, options: CommonOptions) => {
    using controller = connect(options);
    const { rollouts } = await controller.call(Api.listRollouts, { service });
    print(options.output, rollouts, () => rolloutsTable(rollouts));
    done(EXIT.done);
  });

  const command = (service: string, options: MoveOptions): { service: string; reason: string; actor: string } => ({
    service,
    reason: options.reason ?? "",
    actor: actor(),
  });
  const reason = (c: Command): Command => c.option("--reason <text>", "why, for the journal");
  move(rollout, done, "pause", "begin nothing new; what has begun stays safe", reason, (controller, service, options) =>
    controller.call(Api.pause, command(service, options)),
  );
  move(rollout, done, "resume", "go on after a pause", reason, (controller, service, options) =>
    controller.call(Api.resume, command(service, options)),
  );
  move(
    rollout,
    done,
    "promote",
    "go on to the next step without waiting, or to the end with --full",
    (c) => c.option("--full", "pass over every step, analysis and bake that is left"),
    (controller, service, options) =>
      controller.call(Api.promote, { service, full: options.full ?? false, actor: actor() }),
  );
  move(rollout, done, "abort", "take everything back to the version before", reason, (controller, service, options) =>
    controller.call(Api.abort, command(service, options)),
  );
  move(rollout, done, "retry", "roll out again what was rolled back", reason, (controller, service, options) =>
    controller.call(Api.retry, command(service, options)),
  );
  move(
    rollout,
    done,
    "undo",
    "roll out the stable revision before this one, or the one named",
    (c) => c.option("--to <revision>", "a stored revision, by its number", revision),
    (controller, service, options) =>
      controller.call(Api.undo, { service, toRevision: options.to ?? 0, actor: actor() }),
  );

  const route = program.command("route").description("the share of traffic that a canary takes");
  move(
    route,
    done,
    "set",
    "give the canary this share while its rollout is at a pause or an analysis",
    (c) => c.requiredOption("--weight <percent>", "of the traffic, 0 to 100, for example 30 or 2.5", weight),
    (controller, service, options) =>
      controller.call(Api.setWeight, { service, weight: options.weight ?? 0, actor: actor() }),
  );
}

/** What each word does depends on where the rollout is: the page that `--help` shows. */
const HELP: Readonly<Record<string, string>> = {
  pause: `
No host begins any more and no step is asked for; both versions stay up where both are up, and a failure of the new one
is still acted on. A rollback can't be paused.`,
  resume: `
What it does depends on why the rollout is paused (\`baton rollout status\` says why):
  Manual                  goes on where it was
  Step, AwaitingApproval  goes on to the next step, as \`promote\` does
  Inconclusive            measures again from now on
  FleetPartitioned        goes on without the hosts that are lost
  DrainTimeout            waits for what is in flight as long again
  UnexplainedLoss         accepts what was lost so far; more of it halts again
  Unhealthy               gives the new version another chance, judged from now on
  Rejected                asks the hosts again`,
  promote: `
  rolling     ends the bake that it is in; --full: no bake any more
  canary      goes on to the next step, whatever this one waits for; --full: all of the traffic now
  blueGreen   approves the switch; --full: the switch now, without what is left of the analyses
Paused for DrainTimeout, it ends what is in flight there. That the new version is ready is never passed over.`,
  abort: `
  rolling     every host goes back: capacity first, then traffic, then the new version drains
  canary      the old version never left: it takes all of the traffic in one change, then the new one drains
  blueGreen   the same, after the switch too, for scaleDownDelay
A rollout that waits for another one to go back first is given up. With --wait the exit code is 1 once it is back: what
was rolled out did not become stable.`,
  retry: `
A new rollout of the same revision, through every step again. For what failed, was aborted or superseded.`,
  undo: `
A new rollout to the revision before, by the strategy of that revision: its steps, its analyses. Within rollbackWindow
they are passed over. To undo a rollout that is still under way, use \`baton rollout abort\`.`,
  set: `
Until the next setWeight of its program. \`baton rollout promote\` goes on from there, \`baton rollout abort\` goes back.`,
};

/** Percent, as people say it, to basis points. */
function weight(text: string): number {
  const percent = /^\d{1,3}(\.\d{1,2})?%?$/.test(text) ? Number(text.replace("%", "")) : Number.NaN;
  if (!(percent <= 100)) throw new InvalidArgumentError("Expected a share from 0 to 100, for example 30 or 2.5.");
  return Math.round(percent * 100);
}

function move(
  parent: Command,
  done: Done,
  name: string,
  summary: string,
  widen: (command: Command) => Command,
  act: Move,
): void {
  const command = parent.command(name).description(summary).argument("<service>");
  withWait(withController(widen(command.addHelpText("after", HELP[name] ?? "")))).action(
    async (service: string, options: MoveOptions) => {
      using controller = connect(options);
      done(await finish(controller, await act(controller, service, options), options));
    },
  );
}

export function rolloutsTable(rollouts: readonly RolloutView[]): string {
  const now = Date.now();
  return table(
    ["ROLLOUT", "SERVICE", "FROM", "TO", "PHASE", "STAGE", "STARTED", "LASTED", "REQUESTS", "LOST"],
    rollouts.map((view) => [
      view.id,
      view.service,
      view.fromRevision === 0 ? "–" : `${view.fromVersion} (r${String(view.fromRevision)})`,
      `${view.toVersion} (r${String(view.toRevision)})`,
      view.phase,
      view.reason === "" ? view.stage : `${view.stage} (${view.reason})`,
      ago(view.startedAtMs, now),
      span((view.ended ? Number(view.endedAtMs) : now) - Number(view.startedAtMs)),
      count(view.ledger?.requests ?? 0n),
      count(view.ledger?.lostTotal ?? 0n),
    ]),
  );
}

function transitions(view: RolloutView): string {
  return table(
    ["AT", "STAGE", "REASON", "BY", "WHAT"],
    view.transitions.map((one) => [
      new Date(Number(one.atMs)).toISOString().slice(11, 23),
      one.stage,
      one.reason,
      one.actor,
      one.message,
    ]),
  );
}
