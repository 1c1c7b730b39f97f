/** baton up: a whole local cluster, a demo rollout under traffic, and both ledgers. */
import type { Command } from "commander";
import { Option } from "commander";
import { positiveNumber } from "../context.ts";
import { runDemo } from "../up/demo.ts";
import { DEMO_VERSIONS } from "../up/service.ts";

interface UpOptions {
  readonly once?: boolean;
  readonly to: string;
  readonly hosts: number;
  readonly workers: number;
  readonly rate: number;
  readonly rollouts: number;
  readonly state?: string;
}

export function addUpCommand(program: Command, done: (exitCode: number) => void): void {
  program
    .command("up")
    .description("a whole cluster on loopback: controller, gateway, hosts, demo app, traffic; rolls v1 to v2")
    .option("--once", "end after the rollout; exit 0 only if it succeeded and both ledgers say nothing was lost")
    .addOption(
      new Option("--to <version>", "which version to roll to (v3 never gets ready, v3b crashes, v3c answers 500)")
        .choices(DEMO_VERSIONS)
        .default("v2"),
    )
    .option("--hosts <number>", "host agents", positiveNumber, 3)
    .option("--workers <number>", "workers an agent", positiveNumber, 1)
    .option("--rate <number>", "requests a second of mixed traffic", positiveNumber, 100)
    .option("--rollouts <number>", "how many in a row, there and back again", positiveNumber, 1)
    .option("--state <folder>", "keep state and logs here (default: a temporary folder)")
    .action(async (options: UpOptions) => done(await runDemo({ ...options, once: options.once ?? false })));
}
