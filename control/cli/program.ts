/** The whole command line, as commander sees it. `--help` of each verb is made from what stands here. */
import { Command } from "commander";
import { EXIT } from "../../proto/contract/limits.ts";
import { addApplyCommands } from "./commands/apply.ts";
import { addEventCommands } from "./commands/events.ts";
import { addGetCommands } from "./commands/get.ts";
import { addHostStatus } from "./commands/host-status.ts";
import { addHostCommands } from "./commands/hosts.ts";
import { addJudgeCommand } from "./commands/judge.ts";
import { addPlanCommand } from "./commands/plan.ts";
import { addProcessCommands } from "./commands/processes.ts";
import { addRolloutCommands } from "./commands/rollout.ts";
import { addUpCommand } from "./commands/up.ts";
import { SOFTWARE } from "./software.ts";

const EXIT_CODES = `
Exit codes: 0 done, 1 failed or rolled back, 2 usage, 3 paused or awaiting approval, 4 timeout, 5 inconclusive,
6 superseded, 7 controller unreachable.`;

/** commander puts its suggestion on a line of its own. */
const oneLine = (text: string): string =>
  text
    .trim()
    .replace(/^error: /, "")
    .replace(/\n\(Did you mean (.*)\?\)$/, "; did you mean $1?")
    .replaceAll("\n", " ");

/** `done` is told the exit code of the command that ran. */
export function buildProgram(done: (exitCode: number) => void): Command {
  const program = new Command("baton")
    .description("Moves a fleet from one version of a service to the next without losing a request.")
    .version(SOFTWARE, "-V, --version")
    .showSuggestionAfterError()
    .enablePositionalOptions()
    .addHelpText("after", EXIT_CODES)
    .configureOutput({ outputError: (text, write) => write(`baton: ${oneLine(text)}\n`) })
    .exitOverride((error) => {
      throw Object.assign(error, { exitCode: error.exitCode === 0 ? EXIT.done : EXIT.usage });
    });
  addUpCommand(program, done);
  addProcessCommands(program);
  addApplyCommands(program, done);
  addPlanCommand(program, done);
  addGetCommands(program, done);
  addRolloutCommands(program, done);
  addHostCommands(program, done);
  addHostStatus(program, done);
  addEventCommands(program, done);
  addJudgeCommand(program, done);
  return program;
}
