/** baton plan: what a rollout would do, step by step, without doing it. */
import type { Command } from "commander";
import { EXIT } from "../../../proto/contract/limits.ts";
import type { PlanView } from "../../../proto/gen/baton/v1/operator.ts";
import { Api } from "../client.ts";
import type { CommonOptions } from "../context.ts";
import { connect, revision as revisionNumber, withController } from "../context.ts";
import { CliError } from "../errors.ts";
import { readDocuments } from "../files.ts";
import { print } from "../output.ts";
import { planBlock } from "../render/plan.ts";

type PlanOptions = CommonOptions & { file?: string[]; to?: string; version?: string; revision?: number };

/** A large fleet's plan takes its time, in between the controller's own work. */
const PATIENCE_MS = 60_000;

export function addPlanCommand(program: Command, done: (exitCode: number) => void): void {
  withController(
    program
      .command("plan")
      .description("show a rollout's steps and what each does to capacity, without doing it")
      .argument("[service]", "its name; not needed with --file")
      .option("-f, --file <path...>", "plan these documents: YAML files, folders of them, or - for stdin")
      .option("--to <version>", "a stored version, for example v2 (default: the newest revision)")
      .option("--version <version>", "the same as --to")
      .option("--revision <number>", "a stored revision, by its number", revisionNumber)
      .addHelpText("after", HELP),
  ).action(async (service: string | undefined, options: PlanOptions) => done(await plan(service, options)));
}

const HELP = `
Nothing is stored and nothing is asked of any host. The rollout engine itself is run against the fleet as it is now, in
which every host confirms at once and every instance is ready as soon as it starts: so the times are the earliest that
there can be. Steps that wait for an operator are taken as promoted, analyses as successful.

Exit code: 0 it can begin, 1 it would be refused.`;

async function plan(service: string | undefined, options: PlanOptions): Promise<number> {
  const version = options.to ?? options.version ?? "";
  const revision = options.revision ?? 0;
  if (options.file !== undefined && (service !== undefined || version !== "" || revision !== 0)) {
    throw new CliError("--file names its services itself: leave out the service, --to and --revision", EXIT.usage);
  }
  if (options.file === undefined && service === undefined) {
    throw new CliError("name a service, or pass --file", EXIT.usage);
  }
  const documents = options.file === undefined ? [] : [...readDocuments(options.file)];
  using controller = connect(options, PATIENCE_MS);
  const { plans } = await controller.call(Api.plan, { documents, service: service ?? "", version, revision });
  print(options.output, plans, () => plans.map((one: PlanView) => planBlock(one)).join("\n\n"));
  return plans.some((one) => one.refusals.length > 0) ? EXIT.failed : EXIT.done;
}
