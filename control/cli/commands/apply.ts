/** baton check, apply, deploy, delete: documents in, revisions and rollouts out. */
import type { Command } from "commander";
import { EXIT } from "../../../proto/contract/limits.ts";
import { formatProblem, parseFiles } from "../../../proto/contract/spec/parse.ts";
import { Api, actor } from "../client.ts";
import type { RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import type { CommonOptions, WaitOptions } from "../context.ts";
import { connect, revision, withController, withWait } from "../context.ts";
import { CliError } from "../errors.ts";
import { readDocuments } from "../files.ts";
import { print, remark, table } from "../output.ts";
import { finish, waitFor } from "../wait.ts";

export function addApplyCommands(program: Command, done: (exitCode: number) => void): void {
  program
    .command("check")
    .description("validate service documents, without a controller")
    .argument("<file...>", "YAML files, folders of them, or - for stdin")
    .action((files: string[]) => done(check(files)));

  withWait(
    withController(
      program
        .command("apply")
        .description("store service documents, and roll out what changed")
        .requiredOption("-f, --file <path...>", "YAML files, folders of them, or - for stdin")
        .option("--no-deploy", "only store the new revisions; roll them out later with `baton deploy`")
        .option("--dry-run", "say what would happen, change nothing"),
    ),
  ).action(async (options: ApplyOptions) => done(await apply(options)));

  withWait(
    withController(
      program
        .command("deploy")
        .description("roll a service to a version")
        .argument("[service]", "its name; not needed with --file")
        .option("--to <version>", "a stored version, for example v2 (default: the newest revision)")
        .option("--revision <number>", "a stored revision, by its number", revision)
        .option("-f, --file <path...>", "store these documents first, then roll them out"),
    ),
  ).action(async (service: string | undefined, options: DeployOptions) => done(await deploy(service, options)));

  withController(
    program.command("delete").description("drain and stop a service everywhere, then forget it").argument("<service>"),
  ).action(async (service: string, options: CommonOptions) => {
    using controller = connect(options);
    await controller.call(Api.deleteService, { name: service });
    remark(`${service}: taken out of traffic now; then its instances are drained and stopped, and it is forgotten`);
    done(EXIT.done);
  });
}

type ApplyOptions = CommonOptions & WaitOptions & { file: string[]; deploy: boolean; dryRun?: boolean };
type DeployOptions = CommonOptions & WaitOptions & { to?: string; revision?: number; file?: string[] };

function check(files: readonly string[]): number {
  const parsed = parseFiles(readDocuments(files));
  if (parsed.kind === "invalid") {
    for (const problem of parsed.problems) remark(formatProblem(problem));
    return EXIT.usage;
  }
  for (const { spec, file } of parsed.services) {
    process.stdout.write(`${file}: service ${spec.name} ${spec.version} is valid\n`);
  }
  return EXIT.done;
}

async function apply(options: ApplyOptions): Promise<number> {
  const documents = readDocuments(options.file);
  using controller = connect(options);
  const request = { documents: [...documents], deploy: options.deploy, dryRun: options.dryRun ?? false };
  const { results } = await controller.call(Api.apply, request);
  const started = results.filter((one) => one.rollout !== "");
  print(options.output, results, () =>
    table(
      ["SERVICE", "OUTCOME", "VERSION", "REVISION", "ROLLOUT"],
      results.map((one) => [one.service, one.outcome, one.version, String(one.revision), one.rollout || "–"]),
    ),
  );
  if (started.length === 0 && options.dryRun !== true && options.deploy)
    remark("nothing to roll out: it is served already");
  if (options.dryRun === true || (options.wait !== true && options.watch !== true)) return EXIT.done;
  let worst: number = EXIT.done;
  for (const one of started) {
    const exitCode = await waitFor(controller, { id: one.rollout, service: one.service }, options);
    if (worst === EXIT.done) worst = exitCode;
  }
  return worst;
}

async function deploy(service: string | undefined, options: DeployOptions): Promise<number> {
  if (options.file !== undefined) {
    if (service !== undefined || options.to !== undefined || options.revision !== undefined) {
      throw new CliError("--file names its services itself: leave out the service, --to and --revision", EXIT.usage);
    }
    return await apply({ ...options, file: options.file, deploy: true });
  }
  if (service === undefined) throw new CliError("name a service, or pass --file", EXIT.usage);
  using controller = connect(options);
  const request = { service, version: options.to ?? "", revision: options.revision ?? 0, actor: actor() };
  let view: RolloutView;
  try {
    view = await controller.call(Api.deploy, request);
  } catch (error) {
    // A pipeline that runs twice has nothing to do the second time, and that is well.
    const { stableVersion, stableRevision } = await controller.call(Api.getService, { name: service });
    const served = options.to === undefined ? stableRevision === options.revision : stableVersion === options.to;
    if (!(error instanceof CliError) || error.exitCode !== EXIT.failed || !served) throw error;
    remark(error.message);
    return EXIT.done;
  }
  return await finish(controller, view, options);
}
