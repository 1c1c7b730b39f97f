/** baton rollout …: look at a rollout, or move it. */
import type { Command } from "commander";
import { EXIT } from "../../../proto/contract/limits.ts";
import type { RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import type { Controller } from "../client.ts";
import { Api, actor } from "../client.ts";
import type { CommonOptions, WaitOptions } from "../context.ts";
import { connect, duration, wholeNumber, withController, withWait } from "../context.ts";
import { print, table } from "../output.ts";
import { rolloutBlock } from "../render/rollout.ts";
import { ago, count, span } from "../render/units.ts";
import { finish } from "../wait.ts";

type Done = (exitCode: number) => void;
type Move = (controller: Controller, service: string, options: MoveOptions) => Promise<RolloutView>;
type MoveOptions = CommonOptions & WaitOptions & { reason?: string; full?: boolean; to?: number };

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
    (c) => c.option("--full", "skip all that is left to wait for"),
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
    (c) => c.option("--to <revision>", "a stored revision, by its number", wholeNumber),
    (controller, service, options) =>
      controller.call(Api.undo, { service, toRevision: options.to ?? 0, actor: actor() }),
  );
}

function move(
  parent: Command,
  done: Done,
  name: string,
  summary: string,
  widen: (command: Command) => Command,
  act: Move,
): void {
  withWait(withController(widen(parent.command(name).description(summary).argument("<service>")))).action(
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
