/** baton up: a whole local cluster, a demo rollout under traffic, and both ledgers. */
import { resolve } from "node:path";
import type { Command } from "commander";
import { Option } from "commander";
import { EXIT } from "../../../proto/contract/limits.ts";
import { NATS_FLAGS, readNats } from "../../../proto/contract/nats.ts";
import { positiveNumber } from "../context.ts";
import { CliError } from "../errors.ts";
import type { AgentsOver } from "../up/cluster.ts";
import { runDemo } from "../up/demo.ts";
import type { DemoNats } from "../up/demo.ts";
import { DEMO_VERSIONS } from "../up/service.ts";

interface UpOptions {
  readonly once?: boolean;
  readonly to: string;
  readonly hosts: number;
  readonly workers: number;
  readonly rate: number;
  readonly rollouts: number;
  readonly state?: string;
  readonly controllers?: number;
  /** true: of its own. */
  readonly nats?: string | true;
  readonly natsServers?: string;
  readonly agentsOver?: AgentsOver;
  readonly cluster?: string;
  readonly natsCreds?: string;
  readonly natsCa?: string;
  readonly natsCert?: string;
  readonly natsKey?: string;
  readonly trustNetwork?: boolean;
}

const MOST_CONTROLLERS = 9;
const CONTROLLERS_ON_NATS = 2;

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
    .option("--nats [url,...]", "controllers stand on these NATS servers; without a URL, on servers of its own")
    .option("--controllers <number>", "so many of them, with --nats (default 2)", positiveNumber)
    .addOption(new Option("--nats-servers <number>", "so many servers of its own (default 1)").choices(["1", "3"]))
    .addOption(new Option("--agents-over <way>", "how agents are connected (default nats)").choices(["nats", "grpc"]))
    .option(
      "--cluster <name>",
      "the fleet's name on servers that are given (default: a new one, taken away at the end)",
    )
    .option("--nats-creds <file>", "for servers that are given: as `baton control --help` says")
    .option("--nats-ca <file>", "the same")
    .option("--nats-cert <file>", "the same")
    .option("--nats-key <file>", "the same")
    .option("--trust-network", "the network between here and given servers is encrypted otherwise")
    .action(async (options: UpOptions) => {
      const onNats = readOnNats(options);
      done(await runDemo({ ...options, once: options.once ?? false, ...(onNats === null ? {} : { onNats }) }));
    });
}

function readOnNats(options: UpOptions): DemoNats | null {
  const { nats, controllers = CONTROLLERS_ON_NATS, agentsOver = "nats" } = options;
  if (nats === undefined) {
    const without = Object.entries(FOR_NATS).find(([name]) => options[name as keyof UpOptions] !== undefined);
    if (without === undefined) return null;
    throw new CliError(`${without[1]} is for --nats: several controllers need a store that they share`, EXIT.usage);
  }
  if (controllers > MOST_CONTROLLERS) {
    throw new CliError(`--controllers: at most ${String(MOST_CONTROLLERS)} on one machine`, EXIT.usage);
  }
  if (nats === true) {
    const given = Object.entries(FOR_GIVEN).find(([name]) => options[name as keyof UpOptions] !== undefined);
    if (given !== undefined) throw new CliError(`${given[1]} is for servers that are given: --nats URL`, EXIT.usage);
    return { controllers, agentsOver, nats: { kind: "own", servers: options.natsServers === "3" ? 3 : 1 } };
  }
  if (options.natsServers !== undefined) {
    throw new CliError("--nats-servers is for servers of its own: leave out the URL of --nats", EXIT.usage);
  }
  const cluster = options.cluster ?? `up-${Math.floor(Math.random() * 36 ** 8).toString(36)}`;
  const words = {
    ...{ nats, cluster, "nats-creds": options.natsCreds, "nats-ca": options.natsCa },
    ...{ "nats-cert": options.natsCert, "nats-key": options.natsKey },
  };
  const read = readNats(words, options.trustNetwork ?? false, (file) => resolve(file));
  if (read.kind !== "ok") throw new CliError(read.kind === "wrong" ? read.why : "--nats: no URL", EXIT.usage);
  const flags = Object.keys(NATS_FLAGS).flatMap((name) => {
    const value = words[name as keyof typeof words];
    if (value === undefined || name === "nats") return [];
    return [`--${name}`, name === "cluster" ? value : resolve(value)];
  });
  if (options.trustNetwork === true) flags.push("--trust-network");
  return {
    ...{ controllers, agentsOver, nats: { kind: "given", urls: read.nats.servers, flags } },
    ...(options.cluster === undefined ? { forget: read.nats } : {}),
  };
}

const FOR_GIVEN = {
  cluster: "--cluster",
  natsCreds: "--nats-creds",
  natsCa: "--nats-ca",
  natsCert: "--nats-cert",
  natsKey: "--nats-key",
  trustNetwork: "--trust-network",
} as const satisfies Partial<Record<keyof UpOptions, string>>;

const FOR_NATS = {
  controllers: "--controllers",
  natsServers: "--nats-servers",
  agentsOver: "--agents-over",
  ...FOR_GIVEN,
} as const satisfies Partial<Record<keyof UpOptions, string>>;
